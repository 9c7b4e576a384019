//! A look at a process from the outside: whether a fork of a template is confined as a program that an
//! init started is.
//!
//! A template is an interpreter with a history, so its word is not taken: before anything of a function
//! reaches a fork, sandboxd reads of the kernel what the fork is. It holds no function code then and is
//! not hostile; this is against mistakes, ours and the interpreter's.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::confine::INSIDE_ID;
use crate::step::{Failure, Step};

/// Checks the fork `program` that was made for the sandbox of `init` with this uid on the host.
///
/// # Errors
/// The step that was not taken.
pub(crate) fn fork(program: u32, init: u32, host_uid: u32) -> Result<(), Failure> {
    let refused = |step| Failure { step, errno: libc::EPERM };
    let ensure = |holds: bool, step| if holds { Ok(()) } else { Err(refused(step)) };
    let status = read(program, "status").ok_or(refused(Step::Died))?;
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    let ids =
        [host_uid.to_string(), host_uid.to_string(), host_uid.to_string(), host_uid.to_string()];
    let ids = ids.join("\t");
    ensure(field("Uid") == Some(&ids) && field("Gid") == Some(&ids), Step::Identity)?;
    ensure(field("Groups").is_none_or(|groups| groups.trim().is_empty()), Step::Identity)?;
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        ensure(field(set) == Some("0000000000000000"), Step::Identity)?;
    }
    ensure(field("NoNewPrivs") == Some("1"), Step::Identity)?;
    ensure(field("Seccomp") == Some("2"), Step::Seccomp)?;
    ensure(field("Threads") == Some("1"), Step::Session)?;
    for namespace in ["mnt", "pid", "ipc", "uts", "net", "cgroup"] {
        let of = |pid| fs::read_link(format!("/proc/{pid}/ns/{namespace}")).ok();
        let its = of(program).ok_or(refused(Step::Clone))?;
        ensure(of(init).is_some_and(|inits| inits == its), Step::Clone)?;
    }
    let users = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).ok();
    let own = users(&program.to_string());
    ensure(own.is_some() && own != users("self"), Step::UserNamespace)?;
    let map = read(program, "uid_map").unwrap_or_default();
    let wanted = [INSIDE_ID.to_string(), host_uid.to_string(), "1".to_owned()];
    ensure(map.split_whitespace().eq(wanted), Step::UserNamespace)?;
    let cgroups = read(program, "cgroup").ok_or(refused(Step::JoinCgroup))?;
    ensure(read(init, "cgroup").is_some_and(|inits| inits == cgroups), Step::JoinCgroup)?;
    let root = |pid| fs::metadata(format!("/proc/{pid}/root/")).ok().map(|it| (it.dev(), it.ino()));
    ensure(root(program).is_some() && root(program) == root(init), Step::Root)?;
    // The fifth is the one over which it said that it is confined; it is about to close it.
    let open = descriptors(program);
    ensure(open == [0, 1, 2, 3] || open == [0, 1, 2, 3, 4], Step::Session)
}

/// The open descriptors in order.
fn descriptors(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut found: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    found.sort_unstable();
    found
}

fn read(pid: u32, file: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}")).ok()
}
