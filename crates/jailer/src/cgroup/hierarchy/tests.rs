//! Reading what `/proc` says of hierarchies, in the three layouts that machines have.

use super::*;

const V1: &str = "\
31 23 0:27 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
34 31 0:30 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
35 31 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

#[test]
fn mixed_hierarchies_are_found() {
    let own = "4:memory:/user/a\n3:cpu,cpuacct:/\n1:name=systemd:/x\n0::/deep/er\n";
    let mount = |own: &str, top: &str, version, controllers: &[Controller]| Mount {
        own: own.into(),
        top: top.into(),
        version,
        controllers: controllers.to_vec(),
    };
    let cpu = "/sys/fs/cgroup/cpu,cpuacct";
    let unified = "/sys/fs/cgroup/unified";
    let memory =
        mount("/sys/fs/cgroup/memory/user/a", "/sys/fs/cgroup/memory", 1, &[Controller::Memory]);
    assert_eq!(
        read_mounts(V1, own),
        [
            mount(cpu, cpu, 1, &[Controller::Cpu]),
            memory,
            mount("/sys/fs/cgroup/unified/deep/er", unified, 2, &[]),
        ]
    );
}

#[test]
fn a_pure_version_2_machine_has_one() {
    let info = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    let found = read_mounts(info, "0::/system.slice/gatemill.service\n");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].own, Path::new("/sys/fs/cgroup/system.slice/gatemill.service"));
}

#[test]
fn a_mount_that_begins_below_the_root_is_followed() {
    // As in a container that shares the host's cgroup namespace.
    let info = "40 23 0:26 /docker/abc /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n";
    let found = read_mounts(info, "0::/docker/abc/inner\n");
    assert_eq!(found[0].own, Path::new("/sys/fs/cgroup/inner"));
    assert_eq!(found[0].top, Path::new("/sys/fs/cgroup"));
}

#[test]
fn nonsense_is_no_hierarchy() {
    for text in ["", "\n\n", "a b c", "1 2 3 4 5 - cgroup2", "- - - - -", "0::"] {
        assert_eq!(read_mounts(text, text), []);
    }
}

#[test]
fn what_the_dead_and_namesakes_left_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let parents = [std::process::id(), 1, u32::MAX].map(|pid| format!("{PREFIX}{pid}"));
    for parent in &parents {
        fs::create_dir(dir.path().join(parent)).unwrap();
    }
    remove_orphans(dir.path());
    let left = parents.map(|parent| dir.path().join(parent).exists());
    assert_eq!(left, [false, true, false]);
}
