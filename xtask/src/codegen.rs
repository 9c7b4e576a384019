//! `cargo xtask codegen`: writes the shapes and operation constants of `gatemill-api`.
//!
//! It reads the public service models that the `botocore` package carries, at a pinned version, and writes what
//! is fact in them: names, types, bindings, constraints. Documentation text is not copied. The result is
//! committed, and `--check` proves that regenerating changes nothing; so nobody edits it, and it cannot rot.
//! What differs from the models on purpose stands in [`config`], each with its reason.

mod config;
mod emit;
mod model;
mod names;
mod reach;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::Result;

/// Files by their path under [`OUTPUT`].
pub(crate) type Files = BTreeMap<PathBuf, String>;

const OUTPUT: &str = "crates/api/src/generated";

/// Runs the command.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let mut check = false;
    let mut models = None;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--check" => check = true,
            "--models" => models = arguments.next().map(PathBuf::from),
            other => return Err(format!("unknown argument `{other}`").into()),
        }
    }
    let models = match models {
        Some(directory) => directory,
        None => install_models(root)?,
    };
    let files = generate(root, &models)?;
    if check { compare(root, &files) } else { write(root, &files) }
}

/// All generated files, formatted.
fn generate(root: &Path, models: &Path) -> Result<Files> {
    let mut files = Files::new();
    for service in config::SERVICES {
        let path = models.join(service.name).join(service.version).join("service-2.json.gz");
        let mut model = model::read(&path)?;
        for entry in config::OVERRIDES.iter().filter(|entry| entry.service == service.name) {
            if matches!(entry.change, config::Change::OptionalMembers)
                && let Some(shape) = model.shapes.get_mut(entry.shape)
            {
                shape.required.clear();
            }
        }
        for (name, text) in emit::service(service, &model)? {
            let path = Path::new(service.name).join(name);
            files.insert(
                path.clone(),
                format(root, &text).map_err(|e| format!("{}: {e}", path.display()))?,
            );
        }
    }
    files.insert("mod.rs".into(), format(root, &emit::index(config::SERVICES))?);
    Ok(files)
}

/// The directory of the pinned models, installed under `target` when it is not there yet.
fn install_models(root: &Path) -> Result<PathBuf> {
    let target = root.join("target/botocore");
    let installed = target.join(format!("botocore-{}.dist-info", config::BOTOCORE));
    if !installed.is_dir() {
        if target.is_dir() {
            fs::remove_dir_all(&target)?;
        }
        let status = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
            .arg(&target)
            .arg(format!("botocore=={}", config::BOTOCORE))
            .status()
            .map_err(|e| {
                format!("python3 does not start ({e}); give the models with --models DIR")
            })?;
        if !status.success() {
            return Err("pip could not install botocore; give the models with --models DIR".into());
        }
    }
    Ok(target.join("botocore/data"))
}

/// The text as rustfmt would have it, so that `cargo fmt --check` holds for generated files, too.
fn format(root: &Path, text: &str) -> Result<String> {
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = rustfmt.stdin.take().expect("stdin was asked for");
    let bytes = text.as_bytes().to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = rustfmt.wait_with_output()?;
    writer.join().map_err(|_| "the writer to rustfmt panicked")??;
    if !output.status.success() {
        return Err("rustfmt refused the generated text".into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn write(root: &Path, files: &Files) -> Result<()> {
    let output = root.join(OUTPUT);
    for stale in stale(&output, files)? {
        fs::remove_file(stale)?;
    }
    let mut changed = 0;
    for (path, text) in files {
        let path = output.join(path);
        if fs::read_to_string(&path).is_ok_and(|old| old == *text) {
            continue;
        }
        fs::create_dir_all(path.parent().expect("a file lies in a directory"))?;
        fs::write(path, text)?;
        changed += 1;
    }
    println!("codegen: {} files, {changed} written", files.len());
    Ok(())
}

fn compare(root: &Path, files: &Files) -> Result<()> {
    let output = root.join(OUTPUT);
    let mut differing = stale(&output, files)?;
    for (path, text) in files {
        let path = output.join(path);
        if !fs::read_to_string(&path).is_ok_and(|old| old == *text) {
            differing.push(path);
        }
    }
    if differing.is_empty() {
        println!("codegen: {} files as generated", files.len());
        return Ok(());
    }
    let list: Vec<String> = differing
        .iter()
        .map(|path| path.strip_prefix(root).unwrap_or(path).display().to_string())
        .collect();
    Err(format!("not as generated, run `cargo xtask codegen`:\n{}", list.join("\n")).into())
}

/// Files in the output directory that are no longer generated.
fn stale(output: &Path, files: &Files) -> Result<Vec<PathBuf>> {
    let mut stale = Vec::new();
    let mut directories = vec![output.to_path_buf()];
    while let Some(directory) = directories.pop() {
        if !directory.is_dir() {
            continue;
        }
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let known = path.strip_prefix(output).is_ok_and(|inner| files.contains_key(inner));
            if path.is_dir() {
                directories.push(path);
            } else if !known {
                stale.push(path);
            }
        }
    }
    Ok(stale)
}
