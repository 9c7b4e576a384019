//! Packaging the example the way people do: pip into a folder, then a zip.

use std::{
    fs,
    io::{Cursor, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use gatemill_sandbox::runtime::{Family, Pack, Version};
use zip::{ZipWriter, write::SimpleFileOptions};

use super::DemoError;
use crate::limits;

/// The oldest and newest Python that the pinned Pillow has packages for.
pub(super) const PYTHON_MIN: &str = "3.10";
pub(super) const PYTHON_MAX: &str = "3.14";

const FILES: [(&str, &[u8]); 2] = [
    ("app.py", include_bytes!("../../../../examples/watermark/function/app.py")),
    (REQUIREMENTS, include_bytes!("../../../../examples/watermark/function/requirements.txt")),
];
const REQUIREMENTS: &str = "requirements.txt";

/// The newest Python that can run the example.
///
/// # Errors
/// When there is none.
pub(super) fn choose_python(packs: &[Arc<Pack>]) -> Result<Arc<Pack>, DemoError> {
    let fits =
        |pack: &&Arc<Pack>| pack.family == Family::Python && (10..=14).contains(&minor(pack));
    packs.iter().filter(fits).max_by_key(|pack| minor(pack)).cloned().ok_or_else(|| {
        let names: Vec<&str> = packs.iter().map(|pack| pack.name.as_str()).collect();
        let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        DemoError::NoPython { found }
    })
}

fn minor(pack: &Pack) -> u32 {
    let Version { major, minor, .. } = pack.version;
    if major == 3 { minor } else { 0 }
}

/// Makes the package in `dir`.
///
/// # Errors
/// When pip is missing or fails, or a file cannot be written.
pub(super) async fn build(pack: &Pack, dir: &Path) -> Result<Vec<u8>, DemoError> {
    let folder = dir.join("build");
    fs::create_dir_all(&folder).map_err(|source| file("make", &folder, source))?;
    for (name, bytes) in FILES {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(|source| file("write", &path, source))?;
    }
    let python = pack.on_host(&pack.program);
    let said = {
        let (python, folder) = (python.clone(), folder.clone());
        tokio::task::spawn_blocking(move || pip(&python, &folder)).await
    };
    let said = said.map_err(|error| DemoError::Package { reason: error.to_string() })??;
    if said.contains("No module named pip") {
        return Err(DemoError::NoPip { python });
    }
    if !said.is_empty() {
        return Err(DemoError::Pip { said });
    }
    zip(&folder)
}

/// Runs pip; gives what it said when it failed, and nothing when it did not.
fn pip(python: &Path, folder: &Path) -> Result<String, DemoError> {
    let mut child = Command::new(python)
        .args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"])
        // As root, pip warns of what does not concern a folder of its own.
        .args(["--root-user-action", "ignore", "--only-binary", ":all:", "--target"])
        .arg(folder)
        .arg("--requirement")
        .arg(folder.join(REQUIREMENTS))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| file("run", python, source))?;
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        // Whatever is not read makes pip fail to write it; by then its first words are known.
        let _ = stderr.take(limits::DEMO_PIP_SAYS_MAX).read_to_string(&mut said);
    }
    let status = child.wait().map_err(|source| file("wait for", python, source))?;
    if status.success() {
        return Ok(String::new());
    }
    let said = said.trim();
    Ok(if said.is_empty() { status.to_string() } else { said.to_owned() })
}

fn zip(folder: &Path) -> Result<Vec<u8>, DemoError> {
    let broken = |error: zip::result::ZipError| DemoError::Package { reason: error.to_string() };
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for path in files(folder)? {
        let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy();
        // Libraries stay executable for their owner only where they were; 0644 is what Lambda wants at least.
        let options = SimpleFileOptions::default().unix_permissions(0o644);
        let bytes = fs::read(&path).map_err(|source| file("read", &path, source))?;
        zip.start_file(name, options).map_err(broken)?;
        zip.write_all(&bytes).map_err(|source| file("pack", &path, source))?;
    }
    Ok(zip.finish().map_err(broken)?.into_inner())
}

/// All files below a folder but caches, in one order.
fn files(folder: &Path) -> Result<Vec<PathBuf>, DemoError> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let unreadable = |source| file("read", &folder, source);
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.is_file() {
                found.push(path);
            } else if path.is_dir() && !path.ends_with("__pycache__") {
                folders.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn file(doing: &'static str, path: &Path, source: std::io::Error) -> DemoError {
    DemoError::File { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_becomes_a_zip_without_caches() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["app.py", "lib/a.py", "lib/__pycache__/a.pyc"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let bytes = zip(dir.path()).unwrap();
        let archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut names: Vec<_> = archive.file_names().map(Result::unwrap).collect();
        names.sort_unstable();
        assert_eq!(names, ["app.py", "lib/a.py"]);
    }

    #[test]
    fn without_a_python_the_sentence_says_what_to_install() {
        let error = choose_python(&[]).unwrap_err().to_string();
        assert!(error.contains("apt install python3"), "{error}");
    }
}
