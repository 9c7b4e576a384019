//! Runtimes that wait, booted, for a function: what they become when it comes, and what the function then may not do.
//!
//! The intruder is a Python program that each runtime's function starts, so that all are asked the same. It looks at the
//! runtime's own process, too.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use gatemill_sandbox::runtime::{Family, Pack, Parkable};
use gatemill_sandbox::{Assignment, Bind, Sandbox, Sandboxes, Spec};
use serde_json::Value;

use crate::{PATIENCE, receive, size};

const INTRUDER: &str = include_str!("intruder.py");
const JAVA: &str = include_str!("App.java");
const CSHARP: &str = include_str!("App.cs");

const PYTHON: &str = "
import os, subprocess
def handler(event, context):
    said = subprocess.check_output(['/usr/bin/python3', '-I', '-S', '/var/task/intruder.py'], text=True)
    return {'directory': os.getcwd(), 'opens': os.path.isfile('app.py'), 'variable': os.environ['COLOUR'], 'intruder': said}
";

const NODEJS: &str = "
const { execFileSync } = require('child_process');
const fs = require('fs');
exports.handler = async () => ({
  directory: process.cwd(),
  opens: fs.existsSync('app.js'),
  variable: process.env.COLOUR,
  intruder: execFileSync('/usr/bin/python3', ['-I', '-S', '/var/task/intruder.py'], { encoding: 'utf8' }),
});
";

/// Assigned, and different from what was parked.
const TMP_BYTES: u64 = 32 << 20;

/// Parks the runtime, makes it a function's, and lets the intruder in.
pub(crate) fn check(
    tokio: &tokio::runtime::Runtime,
    sandboxes: &Sandboxes,
    pack: &Pack,
    data: &Path,
) {
    let Some(parkable) = pack.parkable(256) else { return };
    let Some((code, handler)) = function(pack, data) else {
        println!("test {} {} parked ... no compiler here", pack.name, pack.version);
        return;
    };
    tokio.block_on(pack.prepared()).unwrap();
    let begin = Instant::now();
    let spec = waiting(pack, &parkable);
    let mut sandbox = tokio.block_on(sandboxes.park(spec, None)).unwrap();
    sandbox.channel.set_nonblocking(false).unwrap();
    sandbox.channel.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(receive(&mut &sandbox.channel), (0x89, Vec::new()), "{}: PARKED", pack.name);
    let boot = begin.elapsed();
    let begin = Instant::now();
    let assignment = Assignment {
        binds: vec![Bind { host: code, inside: "/var/task".into() }],
        memory_bytes: 256 << 20,
        cpu_millis: 2000,
        cpu_share_millis: 1000,
        tmp_bytes: TMP_BYTES,
    };
    tokio.block_on(sandbox.assign(assignment)).unwrap();
    let seen = call(pack, &sandbox, handler);
    println!(
        "test {} {} parked ... ok (booted in {boot:.0?}, then answered in {:.0?})",
        pack.name,
        pack.version,
        begin.elapsed()
    );
    expect(pack, &seen);
    sandbox.kill();
    tokio.block_on(async { tokio::time::timeout(PATIENCE, sandbox.exited()).await }).unwrap();
}

/// A folder with the function, and its handler's name; `None` where it cannot be compiled.
fn function(pack: &Pack, data: &Path) -> Option<(PathBuf, &'static str)> {
    let code = data.join(format!("parked-{}", pack.name));
    fs::create_dir_all(&code).unwrap();
    fs::set_permissions(&code, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(code.join("intruder.py"), INTRUDER).unwrap();
    let source = |name: &str, text: &str| fs::write(code.join(name), text).unwrap();
    let handler = match pack.family {
        Family::Python => {
            source("app.py", PYTHON);
            "app.handler"
        }
        Family::Nodejs => {
            source("app.js", NODEJS);
            "app.handler"
        }
        Family::Java => {
            source("App.java", JAVA);
            let mut javac = Command::new(pack.on_host(&pack.program).with_file_name("javac"));
            javac.arg("-d").arg(&code).arg(code.join("App.java"));
            succeeds(&mut javac)?;
            "App::handler"
        }
        Family::Dotnet => {
            source("App.cs", CSHARP);
            let home = pack.on_host(&pack.program);
            let framework = home.parent().unwrap().join("shared/Microsoft.NETCore.App");
            let framework = framework.join(pack.version.to_string());
            let mut mcs = Command::new("mcs");
            mcs.args(["-nostdlib", "-noconfig", "-target:library"]);
            mcs.arg(format!("-out:{}", code.join("App.dll").display()));
            for library in fs::read_dir(framework).unwrap().flatten().map(|file| file.path()) {
                let name = library.file_name().unwrap().to_string_lossy().into_owned();
                let is_library = name.starts_with("System.") && !name.contains("WindowsRuntime");
                if name.ends_with(".dll") && (is_library || name == "netstandard.dll") {
                    mcs.arg(format!("-r:{}", library.display()));
                }
            }
            succeeds(mcs.arg(code.join("App.cs")))?;
            "App::App::Handle"
        }
        Family::Provided | Family::Ruby => return None,
    };
    Some((code, handler))
}

fn succeeds(command: &mut Command) -> Option<()> {
    command.output().is_ok_and(|output| output.status.success()).then_some(())
}

fn waiting(pack: &Pack, parkable: &Parkable) -> Spec {
    let mut env = pack.env.clone();
    env.push(("AWS_EXECUTION_ENV".to_owned(), pack.execution_env.clone()));
    let binds = pack.binds.iter().cloned();
    Spec {
        id: "parked".to_owned(),
        program: pack.program.clone(),
        args: parkable.args.clone(),
        env,
        cwd: "/".into(),
        root: None,
        binds: binds.map(|(host, inside)| Bind { host, inside }).collect(),
        uid: 8,
        memory_bytes: u64::from(parkable.memory_mb) << 20,
        cpu_millis: 2000,
        cpu_share_millis: 100,
        tmp_bytes: 16 << 20,
        pids_max: 128,
        nofile: 1024,
        companions: None,
    }
}

fn call(pack: &Pack, sandbox: &Sandbox, handler: &str) -> Value {
    let mut channel = &sandbox.channel;
    let mut environment: serde_json::Map<_, _> =
        pack.env.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    environment.insert("_HANDLER".to_owned(), handler.into());
    environment.insert("COLOUR".to_owned(), "blue".into());
    let body = serde_json::json!({ "environment": environment }).to_string();
    channel.write_all(&[&size(body.len())[..], &[0x02], body.as_bytes()].concat()).unwrap();
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    let (kind, body) = receive(&mut channel);
    assert_eq!(kind, 0x81, "{}: READY and not {}", pack.name, text(&body));
    let meta = b"id\x004102444800000\0arn\0\0\0";
    let frame = [&size(4 + meta.len() + 2)[..], &[0x01], &size(meta.len()), meta, b"{}"].concat();
    channel.write_all(&frame).unwrap();
    let (kind, body) = receive(&mut channel);
    assert_eq!(kind, 0x83, "{}: {}", pack.name, text(&body));
    serde_json::from_slice(&body).unwrap()
}

fn expect(pack: &Pack, seen: &Value) {
    let name = &pack.name;
    let places: &[&str] = match pack.family {
        Family::Java => &["property", "file", "path", "real"],
        _ => &["directory"],
    };
    for place in places {
        assert_eq!(seen[place], "/var/task", "{name}: {place}");
    }
    assert_eq!(
        (&seen["opens"], &seen["variable"]),
        (&true.into(), &"blue".into()),
        "{name}: {seen}"
    );
    let said = seen["intruder"].as_str().unwrap();
    let found: Value = serde_json::from_str(said).unwrap_or_else(|_| panic!("{name}: {said}"));
    let no_capability = "0000000000000000";
    let equal: &[(&str, &str)] = &[
        ("cwd", "/var/task"),
        ("own_cwd", "/var/task"),
        ("Uid", "993"),
        ("Gid", "993"),
        ("CapInh", no_capability),
        ("CapPrm", no_capability),
        ("CapEff", no_capability),
        ("CapBnd", no_capability),
        ("CapAmb", no_capability),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("shadow", "ENOENT"),
        ("root_home", "ENOENT"),
        ("code", "EROFS"),
        ("client", "EROFS"),
        ("root", "EROFS"),
        ("writable_tmp", "ok"),
    ];
    for (what, value) in equal {
        assert_eq!(found[what], *value, "{name}: {what} in {said}");
    }
    let refused = ["EPERM", "EACCES", "EROFS", "ENOSYS", "ENOENT", "ESRCH", "EINVAL"];
    for what in [
        "init_environ",
        "init_memory",
        "etc",
        "core_pattern",
        "mount",
        "unmount",
        "unshare",
        "setuid",
        "chroot",
        "kill_init",
        "trace_init",
    ] {
        let value = found[what].as_str().unwrap();
        assert!(refused.contains(&value), "{name}: {what} is {value}");
    }
    for what in ["world", "metadata"] {
        let value = found[what].as_str().unwrap();
        assert!(["ENETUNREACH", "EACCES"].contains(&value), "{name}: {what} is {value}");
    }
    assert_eq!(found["tmp"], TMP_BYTES, "{name}: {said}");
    assert_eq!(found["processes"], Value::Array(Vec::new()), "{name}: {said}");
    for descriptor in found["descriptors"].as_array().unwrap() {
        let descriptor = descriptor.as_str().unwrap();
        let allowed = ["/dev/null", "/dev/urandom", "/dev/random", "pipe", "socket", "anon_inode"];
        let is_own = ["/usr/", "/var/", "/proc/", "anon_inode:"];
        let fine =
            allowed.contains(&descriptor) || is_own.iter().any(|it| descriptor.starts_with(it));
        assert!(fine, "{name}: {descriptor} in {said}");
    }
}
