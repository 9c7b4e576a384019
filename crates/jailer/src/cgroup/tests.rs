//! What is written into the files of a cgroup, on plain directories: the version that a machine does
//! not have is covered, too. That the kernel enforces it is shown by the escape tests.

use super::hierarchy::Parent;
use super::*;

fn spec() -> Spec {
    Spec {
        id: "a".into(),
        program: "/a".into(),
        args: Vec::new(),
        env: Vec::new(),
        cwd: "/".into(),
        root: None,
        binds: Vec::new(),
        uid: 0,
        memory_bytes: 128 << 20,
        cpu_millis: 72,
        cpu_share_millis: 500,
        tmp_bytes: 512 << 20,
        pids_max: 100,
        nofile: 64,
        companions: None,
    }
}

/// A cgroup of this version below a directory that plays the hierarchy, with the files that the
/// kernel would have made.
fn create(dir: &Path, version: u8) -> Cgroup {
    let controllers = vec![Controller::Memory, Controller::Cpu, Controller::Pids];
    let parent = Parent { path: dir.to_path_buf(), version, controllers };
    Cgroup::create(&Hierarchies::of(vec![parent]), "a.1", &spec()).unwrap()
}

fn content(dir: &Path, file: &str) -> String {
    fs::read_to_string(dir.join("a.1").join(file)).unwrap()
}

#[test]
fn version_2_has_its_limits() {
    let dir = tempfile::tempdir().unwrap();
    let cgroup = create(dir.path(), 2);
    let content = |file| content(dir.path(), file);
    assert_eq!(content("memory.max"), (640_u64 << 20).to_string());
    assert_eq!(content("memory.high"), (128_u64 << 20).to_string());
    assert_eq!(content("memory.swap.max"), "0");
    assert_eq!(content("memory.oom.group"), "1");
    assert_eq!(content("cpu.max"), "1440 20000");
    assert_eq!(content("cpu.weight"), "50");
    assert_eq!(content("pids.max"), "101");
    assert!(cgroup.tasks_files().is_empty() && cgroup.birthplace().unwrap().is_some());

    cgroup.tolerate(200 << 20);
    assert_eq!(content("memory.high"), (200_u64 << 20).to_string());
    assert!(cgroup.set_frozen(true));
    assert_eq!(content("cgroup.freeze"), "1");
    cgroup.kill();
    assert_eq!(content("cgroup.kill"), "1");
}

#[test]
fn version_2_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let cgroup = create(dir.path(), 2);
    let write =
        |file: &str, text: &str| fs::write(dir.path().join("a.1").join(file), text).unwrap();
    write("memory.current", "1000\n");
    write("memory.peak", "2000\n");
    write("memory.stat", "anon 500\nfile 400\nactive_file 200\ninactive_file 100\nshmem 100\n");
    write("memory.events", "low 0\nhigh 3\nmax 0\noom 1\noom_kill 2\noom_group_kill 1\n");
    assert_eq!(cgroup.memory_used(), Some(Used { total: 1000, page_cache: 300 }));
    assert_eq!(cgroup.peak_bytes(), 2000);
    assert_eq!(cgroup.oom_kills(), 2);
    assert!(cgroup.watch_memory(1).unwrap().is_some_and(|event| event.registration.is_none()));
}

#[test]
fn version_1_has_its_limits() {
    let dir = tempfile::tempdir().unwrap();
    let cgroup = create(dir.path(), 1);
    let content = |file| content(dir.path(), file);
    assert_eq!(content("memory.limit_in_bytes"), (640_u64 << 20).to_string());
    assert_eq!(content("cpu.cfs_period_us"), "20000");
    assert_eq!(content("cpu.cfs_quota_us"), "1440");
    assert_eq!(content("cpu.shares"), "512");
    assert_eq!(content("pids.max"), "101");
    assert_eq!(cgroup.tasks_files(), [dir.path().join("a.1/tasks")]);
    assert!(cgroup.birthplace().unwrap().is_none());
}

#[test]
fn nothing_is_left_of_a_cgroup_that_cannot_be_limited() {
    let dir = tempfile::tempdir().unwrap();
    // The name is taken: by a directory, which does not count as ours.
    let parent = |path: &Path| Parent {
        path: path.to_path_buf(),
        version: 2,
        controllers: vec![Controller::Freezer],
    };
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    fs::create_dir_all(&first).unwrap();
    fs::create_dir_all(second.join("a.1")).unwrap();
    let parents = Hierarchies::of(vec![parent(&first), parent(&second)]);
    assert!(Cgroup::create(&parents, "a.1", &spec()).is_err());
    assert!(!first.join("a.1").exists() && second.join("a.1").exists());
}

#[test]
fn the_smallest_share_is_one_that_the_kernel_accepts() {
    assert_eq!(cpu_quota_us(&Spec { cpu_millis: 1, ..spec() }), 1000);
    assert_eq!(cpu_quota_us(&Spec { cpu_millis: 6000, ..spec() }), 120_000);
    let tiny = Spec { cpu_share_millis: 1, ..spec() };
    assert_eq!((cpu_shares(&tiny), cpu_weight(&tiny)), (2, 1));
}
