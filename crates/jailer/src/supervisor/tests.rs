//! The translation of paths, which stands in for binds.

use super::*;
use crate::spec::Bind;

#[test]
fn inside_paths_become_host_paths() {
    let bind = |host: &str, inside: &str| Bind { host: host.into(), inside: inside.into() };
    let spec = Spec {
        id: "a".into(),
        program: "/var/lang/bin/python3".into(),
        args: vec!["/var/runtime/client.py".into(), "--flag".into(), "a:b".into()],
        env: vec![
            ("LAMBDA_TASK_ROOT".into(), "/var/task".into()),
            ("PYTHONPATH".into(), "/var/task/lib:/opt/python:/elsewhere:".into()),
            ("_HANDLER".into(), "app.handler".into()),
            ("URL".into(), "http://host/var/task".into()),
        ],
        cwd: "/var/task".into(),
        root: None,
        binds: vec![
            bind("/srv/code", "/var/task"),
            bind("/srv/layer", "/opt"),
            bind("/usr", "/var/lang"),
            bind("/srv/client", "/var/runtime"),
            bind("/srv/code/special", "/var/task/lib"),
        ],
        uid: 0,
        memory_bytes: 1 << 26,
        cpu_millis: 1,
        cpu_share_millis: 1,
        tmp_bytes: 1,
        pids_max: 1,
        nofile: 64,
        companions: None,
    };
    let host = on_host(&spec);
    assert_eq!(host.program, Path::new("/usr/bin/python3"));
    assert_eq!(host.cwd, Path::new("/srv/code"));
    assert_eq!(host.args, ["/srv/client/client.py", "--flag", "a:b"]);
    let values: Vec<_> = host.env.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(
        values,
        [
            "/srv/code",
            "/srv/code/special:/srv/layer/python:/elsewhere:",
            "app.handler",
            "http://host/var/task",
        ]
    );
}
