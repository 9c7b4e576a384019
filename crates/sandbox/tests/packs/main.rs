//! Every runtime of this machine, started in real sandboxes as the server does it.
//!
//! A `main` of our own and not libtest's, because this program is sandboxd, too, and because
//! sandboxd is spawned before any thread exists. A machine without any interpreter fails.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod parked;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use gatemill_sandbox::runtime::{Family, Pack, Runtimes, Search};
use gatemill_sandbox::{Bind, Config, Isolation, Sandbox, Sandboxes, Spec};

/// No start or answer takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

const PYTHON: &str = "
import json, os, sqlite3, ssl, subprocess, sys, zlib
def handler(event, context):
    version = '%d.%d.%d' % sys.version_info[:3]
    child = subprocess.check_output([sys.executable, '-c', 'print(6 * 7)'], text=True)
    return [version, sys.executable, child.strip(), sys.path[0], __file__, os.getcwd(), event]
";

const NODEJS: &str = "
const { execFileSync } = require('child_process');
exports.handler = async (event) => {
  const child = execFileSync(process.execPath, ['-p', '6 * 7'], { encoding: 'utf8' });
  return [process.versions.node, process.execPath, child.trim(), process.env.LAMBDA_TASK_ROOT,
    __filename, process.cwd(), event];
};
";

fn main() -> ExitCode {
    gatemill_jailer::run_if_called();
    let data = tempfile::tempdir().unwrap();
    let isolation = match std::env::args().nth(1).as_deref() {
        Some("process") => Isolation::Process,
        _ => Isolation::Sandbox,
    };
    let config = Config { isolation, state_dir: data.path().join("state"), ..Config::default() };
    let sandboxes = Sandboxes::spawn(&config).unwrap();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let runtimes = Runtimes::discover(&search(data.path())).unwrap();
    let task = data.path().join("task");
    fs::create_dir(&task).unwrap();
    fs::write(task.join("app.py"), PYTHON).unwrap();
    fs::write(task.join("app.js"), NODEJS).unwrap();
    for directory in [data.path(), &task] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut packs = runtimes.list();
    packs.retain(|pack| matches!(pack.family, Family::Nodejs | Family::Python));
    assert!(packs.iter().any(|pack| pack.family == Family::Python), "no Python here");
    assert!(packs.iter().any(|pack| pack.family == Family::Nodejs), "no Node.js here");
    if isolation == Isolation::Sandbox && rustix::process::geteuid().is_root() {
        for pack in runtimes.list() {
            parked::check(&tokio, &sandboxes, &pack, data.path());
        }
    }
    for pack in &packs {
        // A function may replace the variable by which AWS's interpreters find their libraries.
        for libraries in [None, Some("/opt/lib")] {
            let spec = spec(pack, &task, libraries);
            let started = tokio
                .block_on(async { tokio::time::timeout(PATIENCE, sandboxes.start(spec)).await });
            let sandbox = started.unwrap().unwrap();
            check(pack, &sandbox, isolation == Isolation::Sandbox);
        }
        println!("test {} {} ... ok", pack.name, pack.version);
    }
    tokio.block_on(sandboxes.shutdown());
    ExitCode::SUCCESS
}

fn search(data: &Path) -> Search {
    let split = |name| std::env::split_paths(&std::env::var_os(name).unwrap_or_default()).collect();
    Search {
        extra: split("GATEMILL_TEST_RUNTIMES"),
        path: split("PATH"),
        home: std::env::var_os("HOME").map(Into::into),
        data_dir: data.to_owned(),
        ..Search::default()
    }
}

fn spec(pack: &Pack, task: &Path, libraries: Option<&str>) -> Spec {
    let mut env = pack.env.clone();
    if let Some(libraries) = libraries {
        env.retain(|(name, _)| name != "LD_LIBRARY_PATH");
        env.push(("LD_LIBRARY_PATH".to_owned(), libraries.to_owned()));
    }
    env.push(("_HANDLER".to_owned(), "app.handler".to_owned()));
    env.push(("AWS_EXECUTION_ENV".to_owned(), pack.execution_env.clone()));
    let binds = pack.binds.iter().cloned().chain([(task.to_owned(), "/var/task".into())]);
    Spec {
        id: "pack".to_owned(),
        program: pack.program.clone(),
        args: pack.args_for(256),
        env,
        cwd: "/var/task".into(),
        root: None,
        binds: binds.map(|(host, inside)| Bind { host, inside }).collect(),
        uid: 7,
        memory_bytes: 256 << 20,
        cpu_millis: 2000,
        cpu_share_millis: 1000,
        tmp_bytes: 16 << 20,
        pids_max: 64,
        nofile: 1024,
        companions: None,
    }
}

fn check(pack: &Pack, sandbox: &Sandbox, confined: bool) {
    sandbox.channel.set_nonblocking(false).unwrap();
    sandbox.channel.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut channel = &sandbox.channel;
    let (kind, body) = receive(&mut channel);
    assert_eq!(kind, 0x81, "{}: {}", pack.name, String::from_utf8_lossy(&body));
    let meta = b"id\x004102444800000\0arn\0\0\0";
    let event = b"{\"n\":1.50}";
    let mut frame = size(4 + meta.len() + event.len()).to_vec();
    frame.push(0x01);
    frame.extend(size(meta.len()));
    frame.extend([&meta[..], &event[..]].concat());
    channel.write_all(&frame).unwrap();
    let (kind, body) = receive(&mut channel);
    assert_eq!(kind, 0x83, "{}: {}", pack.name, String::from_utf8_lossy(&body));
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer[0], pack.version.to_string());
    assert_eq!(answer[2], "42");
    assert_eq!(answer[6]["n"], 1.5);
    if confined {
        assert_eq!(answer[1], pack.program.to_str().unwrap());
        assert_eq!((&answer[3], &answer[5]), (&"/var/task".into(), &"/var/task".into()));
        assert!(answer[4].as_str().unwrap().starts_with("/var/task/app."));
    }
}

/// A length as frames have it.
fn size(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap().to_le_bytes()
}

fn receive(channel: &mut impl Read) -> (u8, Vec<u8>) {
    let mut header = [0; 5];
    channel.read_exact(&mut header).unwrap();
    let length = u32::from_le_bytes(header[..4].try_into().unwrap());
    let mut body = vec![0; length.try_into().unwrap()];
    channel.read_exact(&mut body).unwrap();
    (header[4], body)
}
