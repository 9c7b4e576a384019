//! What goes through the codec comes out the same; what is not a message is refused, not believed.

use super::*;

fn spec() -> Spec {
    Spec {
        id: "fn-1".into(),
        program: "/usr/bin/python3".into(),
        args: vec!["-c".into(), String::new(), "print('ä')".into()],
        env: vec![("A".into(), "b=c".into()), ("EMPTY".into(), String::new())],
        cwd: "/var/task".into(),
        root: Some("/srv/image".into()),
        binds: vec![Bind { host: "/srv/code".into(), inside: "/var/task".into() }],
        uid: 59_999,
        memory_bytes: 128 << 20,
        cpu_millis: 72,
        cpu_share_millis: 73,
        tmp_bytes: 512 << 20,
        pids_max: 1024,
        nofile: 1024,
        companions: None,
    }
}

fn spec_with_companions() -> Spec {
    let companions = Companions {
        programs: vec!["/opt/extensions/a".into(), "/opt/extensions/b".into()],
        env: vec![("A".into(), "b".into())],
    };
    Spec { companions: Some(companions), ..spec() }
}

fn requests() -> Vec<Request> {
    let isolation = Isolation::Process;
    vec![
        Request::Configure {
            isolation,
            state_dir: "/run/gatemill".into(),
            uid_base: 7,
            network: Network {
                egress: Egress::Internet,
                pool: "192.168.0.0/18".parse().unwrap(),
                resolvers: vec![[192, 0, 2, 53].into(), [8, 8, 8, 8].into()],
            },
        },
        Request::Start { ticket: u64::MAX, start: Start::AtOnce, spec: Box::new(spec()) },
        Request::Start { ticket: 5, start: Start::AtOnce, spec: Box::new(spec_with_companions()) },
        Request::Start { ticket: 1, start: Start::Parked, spec: Box::new(spec()) },
        Request::Start { ticket: 1, start: Start::Forked { template: 7 }, spec: Box::new(spec()) },
        Request::Start { ticket: 1, start: Start::Snapshot, spec: Box::new(spec()) },
        Request::Start {
            ticket: 1,
            start: Start::Restored { snapshot: 7 },
            spec: Box::new(spec()),
        },
        Request::Template { ticket: 7, spec: Box::new(spec()) },
        Request::Assign { ticket: 1, assignment: Box::new(spec().assignment()) },
        Request::Start { ticket: 1, start: Start::After { ended: 8 }, spec: Box::new(spec()) },
        Request::Kill(1),
        Request::End(5),
        Request::Forget(6),
        Request::Freeze(2),
        Request::Thaw(3),
        Request::Socket(4),
        Request::Shutdown,
    ]
}

fn replies() -> Vec<Reply> {
    let failure = Failure { step: Step::Exec, errno: libc::ENOENT };
    let enforced = Enforced { memory: true, landlock: 7, cgroup_version: 2, ..Enforced::default() };
    let ended = |status| Reply::Exited {
        ticket: 9,
        status,
        oom_killed: true,
        memory_peak_bytes: 1 << 40,
        left_tmp: true,
    };
    vec![
        Reply::Ready {
            enforced,
            cgroups: vec!["/sys/fs/cgroup/gatemill.1".into()],
            no_network: "it takes root".into(),
        },
        Reply::Refused(failure),
        Reply::Started { ticket: 9, pid: 4_000_000, program: 17, peak_file: PathBuf::new() },
        Reply::Failed { ticket: 9, failure },
        Reply::Assigned { ticket: 9 },
        ended(ExitStatus::Code(255)),
        ended(ExitStatus::Signal(9)),
    ]
}

#[test]
fn requests_come_out_the_same() {
    for request in requests() {
        assert_eq!(Request::decode(&request.encode().unwrap()), Ok(request));
    }
}

#[test]
fn replies_come_out_the_same() {
    for reply in replies() {
        assert_eq!(Reply::decode(&reply.encode().unwrap()), Ok(reply));
    }
}

#[test]
fn no_part_of_a_message_is_a_message() {
    for request in requests() {
        let mut bytes = request.encode().unwrap();
        for length in 0..bytes.len() {
            assert_eq!(Request::decode(&bytes[..length]), Err(Malformed), "{request:?} {length}");
        }
        bytes.push(0);
        assert_eq!(Request::decode(&bytes), Err(Malformed));
    }
    for reply in replies() {
        let bytes = reply.encode().unwrap();
        for length in 0..bytes.len() {
            assert_eq!(Reply::decode(&bytes[..length]), Err(Malformed), "{reply:?} {length}");
        }
    }
}

#[test]
fn lengths_are_not_believed() {
    let start = requests().swap_remove(1).encode().unwrap();
    // Every four bytes in turn become a huge length: nothing is allocated for it, nothing panics.
    for at in 9..start.len() - 4 {
        let mut bytes = start.clone();
        bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let _ = Request::decode(&bytes);
    }
    let mut many = vec![1; 9];
    many.extend([0; 8]); // empty id and program
    many.extend(u32::try_from(limits::MAX_ARGS + 1).unwrap().to_le_bytes());
    many.extend(vec![0; 4 * (limits::MAX_ARGS + 1)]);
    assert_eq!(Request::decode(&many), Err(Malformed));
}

#[test]
fn a_message_that_is_too_long_is_not_made() {
    let mut long = spec();
    long.env[0].1 = "x".repeat(limits::MAX_MESSAGE_BYTES);
    let request = Request::Start { ticket: 1, start: Start::AtOnce, spec: Box::new(long) };
    assert_eq!(request.encode(), Err(Malformed));
}
