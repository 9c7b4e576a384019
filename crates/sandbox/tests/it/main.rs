//! Real sandboxes and what tries to get out of them. A `main` of our own, because this program is
//! sandboxd, too, and because sandboxd is spawned before any thread exists.
use gatemill_sandbox::*;
fn main() {
    gatemill_jailer::run_if_called();
    let dir = tempfile::tempdir().unwrap();
    let iso = if std::env::args().any(|a| a == "process") {
        Isolation::Process
    } else {
        Isolation::Sandbox
    };
    let s = Sandboxes::spawn(&Config {
        isolation: iso,
        state_dir: dir.path().into(),
        ..Default::default()
    })
    .unwrap();
    println!("{}", s.enforced());
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    rt.block_on(async {
        let spec = |prog: &str, args: &[&str]| Spec { id: "a".into(), program: prog.into(), args: args.iter().map(|s| s.to_string()).collect(), env: vec![("PATH".into(), "/usr/bin".into())], cwd: "/tmp".into(),
            binds: ["/usr", "/lib", "/lib64", "/bin"].iter().map(|p| Bind { host: p.into(), inside: p.into() }).collect(), uid: 7, memory_bytes: 128 << 20, cpu_millis: 1000, tmp_bytes: 16 << 20, pids_max: 64, nofile: 1024 };
        for (p, a) in [("/bin/sh", vec!["-c", "id; ls -la / /dev /etc /tmp /proc; cat /proc/self/status | egrep 'Cap|Uid|Secc|NoNew'; ls -l /proc/self/fd; cat /proc/self/cgroup; cat /proc/mounts; hostname; exit 3"]), ("/usr/bin/python3", vec!["-c", "import os,socket; print(os.listdir('/proc')); print(os.getpid(), os.getuid()); socket.create_connection(('127.0.0.1', 22))"]), ("/nope", vec![])] {
            let t = std::time::Instant::now();
            match s.start(spec(p, &a)).await { Ok(sb) => { println!("started in {:?} pid {}", t.elapsed(), sb.pid); let e = sb.exited().await; println!("{e:?} after {:?}", t.elapsed());
                let mut buf = vec![0; 65536]; let n = rustix::io::read(&sb.output, &mut buf).unwrap_or(0); println!("{}", String::from_utf8_lossy(&buf[..n])); }
                Err(e) => println!("{e}") }
        }
        s.shutdown().await;
    });
}
