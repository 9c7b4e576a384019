//! Sandboxes whose root is the tree of a container image: a hostile one, as it could be after unpacking at its worst.
//!
//! [`make`] copies this host's Python into a tree and adds what an image could try. All of `escapes` runs in it, too.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::world::World;
use crate::{Case, case, root_case};

/// What stands at the top of a sandbox that runs from the image.
pub(crate) const AT_THE_TOP: &str = "bin,dev,etc,lib,lib64,proc,tmp,up,usr,var";

pub(crate) const CASES: &[Case] = &[
    case("images_bring_their_own_files", bring_their_own_files),
    case("images_cannot_replace_what_is_ours", cannot_replace_what_is_ours),
    case("images_are_read_only_and_shared", are_read_only_and_shared),
    case("images_that_are_not_there_are_refused", not_there),
    root_case("images_with_nodes_and_setuid_gain_nothing", gain_nothing),
];

/// A tree with Python, and with links, nodes and modes that shall have no effect.
pub(crate) fn make(root: &Path) {
    let python = fs::canonicalize("/usr/bin/python3").unwrap();
    let library = Path::new("/usr/lib").join(python.file_name().unwrap());
    let mut programs = vec![python.clone()];
    programs.extend(["/usr/bin/id", "/bin/sleep", "/bin/true"].map(Into::into));
    for program in &programs {
        copy(program, &root.join("usr/bin"));
    }
    let modules = fs::read_dir(library.join("lib-dynload")).unwrap().flatten();
    programs.extend(
        modules
            .map(|module| module.path())
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("_ctypes")),
    );
    copy_libraries(root, &programs);
    copy(&library, &root.join("usr/lib"));
    symlink(python.file_name().unwrap(), root.join("usr/bin/python3")).unwrap();
    for name in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    fs::create_dir_all(root.join("var/task")).unwrap();
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/passwd"), "image:x:993:993::/:/bin/sh\n").unwrap();
    for name in ["hosts", "resolv.conf", "hostname"] {
        fs::write(root.join("etc").join(name), "the image's\n").unwrap();
    }
    symlink("../../../../..", root.join("up")).unwrap();
    symlink("/etc", root.join("proc")).unwrap();
    symlink("/", root.join("dev")).unwrap();
    fs::write(root.join("tmp"), "a file").unwrap();
    fs::set_permissions(root.join("usr/bin/id"), fs::Permissions::from_mode(0o6755)).unwrap();
    if rustix::process::geteuid().is_root() {
        let kind = rustix::fs::FileType::CharacterDevice;
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        let memory = rustix::fs::makedev(1, 1);
        let node = root.join("var/mem");
        rustix::fs::mknodat(rustix::fs::CWD, &node, kind, mode, memory).unwrap();
        fs::set_permissions(&node, fs::Permissions::from_mode(0o666)).unwrap();
    }
}

/// What programs are linked with, all of it below `/usr`.
fn copy_libraries(root: &Path, programs: &[PathBuf]) {
    let linked = Command::new("ldd").args(programs).output().unwrap();
    let text = String::from_utf8_lossy(&linked.stdout).into_owned();
    let libraries = text
        .lines()
        .filter(|line| !line.ends_with(':'))
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    for library in libraries.collect::<BTreeSet<_>>() {
        let inside = library.trim_start_matches("/usr").trim_start_matches('/');
        let folder = root.join("usr").join(Path::new(inside).parent().unwrap());
        copy(Path::new(library), &folder);
    }
}

fn copy(from: &Path, into: &Path) {
    fs::create_dir_all(into).unwrap();
    let copied = Command::new("cp").args(["-RL"]).arg(from).arg(into).status().unwrap();
    assert!(copied.success(), "{} cannot be copied", from.display());
}

fn bring_their_own_files(world: &World) {
    let outcome = world.run_python(
        r#"
print("passwd=" + read("/etc/passwd").decode().strip())
print("hosts=" + str(b"localhost" in read("/etc/hosts")))
print("resolv=" + str(b"image" in read("/etc/resolv.conf")))
print("hostname=" + read("/etc/hostname").decode().strip())
print("certs=" + str(os.path.exists("/etc/ssl")))
print("up=" + ",".join(sorted(os.listdir("/up"))))
print("bin=" + os.readlink("/bin"))
"#,
    );
    outcome.expect(&[
        ("passwd", &["image:x:993:993::/:/bin/sh"]),
        ("hosts", &["True"]),
        ("resolv", &["False"]),
        ("hostname", &["sandbox"]),
        ("certs", &["False"]),
        ("up", &[AT_THE_TOP]),
        ("bin", &["usr/bin"]),
    ]);
}

fn cannot_replace_what_is_ours(world: &World) {
    let outcome = world.run_python(
        r#"
print("proc=" + str(os.path.islink("/proc")) + str(os.path.exists("/proc/self/status")))
print("dev=" + str(os.path.islink("/dev")) + ",".join(sorted(os.listdir("/dev"))))
print("tmp=" + ",".join(os.listdir("/tmp")))
attempt("tmp_write", write, "/tmp/x")
"#,
    );
    outcome.expect(&[
        ("proc", &["FalseTrue"]),
        ("dev", &["Falsefd,full,null,random,shm,stderr,stdin,stdout,urandom,zero"]),
        ("tmp", &[""]),
        ("tmp_write", &["ok"]),
    ]);
}

fn are_read_only_and_shared(world: &World) {
    let other = world.start(world.python("os.write(3, b'r'); os.read(3, 1)")).unwrap();
    crate::world::read_some(&other, 1);
    let outcome = world.run_python(
        r#"
attempt("file", write, "/usr/bin/python3")
attempt("new", write, "/usr/new")
attempt("var", os.mkdir, "/var/new")
attempt("etc", write, "/etc/passwd")
attempt("hosts", write, "/etc/hosts")
attempt("mode", os.chmod, "/etc/passwd", 0o777)
attempt("link", os.link, "/etc/passwd", "/var/passwd")
attempt("remove", os.remove, "/etc/passwd")
attempt("top", os.symlink, "/", "/new")
"#,
    );
    let refused: &[&str] = &["EROFS", "EACCES", "EPERM"];
    for name in ["file", "new", "var", "etc", "hosts", "mode", "link", "remove", "top"] {
        outcome.expect(&[(name, refused)]);
    }
    drop(other);
}

fn not_there(world: &World) {
    let mut spec = world.python("print('x')");
    spec.root = Some(world.folder("none").join("no-image"));
    let refused = format!("{:?}", world.start(spec).unwrap_err());
    assert!(refused.contains("Root"), "{refused}");
}

fn gain_nothing(world: &World) {
    let outcome = world.run(world.program("/usr/bin/id", &["-u"]));
    assert_eq!(outcome.output, "993\n");
    let outcome = world.run_python(r#"attempt("memory", read, "/var/mem")"#);
    outcome.expect(&[("memory", &["EACCES"])]);
}
