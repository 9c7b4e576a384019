//! The system call filter: a list of what is refused, compiled into a balanced tree.
//!
//! A deny list, because runtimes and their native libraries use most of the kernel's interface and
//! a missed call would break a function in a way that its author could not find; what is refused is
//! what has a history of kernel holes, or no sense in a function. System calls newer than those
//! reviewed here get `ENOSYS`.
//!
//! A tree of ranges and not a list: when a filter is installed the kernel runs it for every system
//! call number, so a list of 80 costs a fifth of a millisecond a start, and the tree 35 µs.

use libc::sock_filter;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
const NO_ACCESS: u32 = libc::SECCOMP_RET_ERRNO | libc::EACCES.cast_unsigned();
const NO_FAMILY: u32 = libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT.cast_unsigned();
const NO_PROTOCOL: u32 = libc::SECCOMP_RET_ERRNO | libc::EPROTONOSUPPORT.cast_unsigned();
/// sandboxd decides.
const ASK: u32 = libc::SECCOMP_RET_USER_NOTIF;
/// The call returns 0 and does nothing.
const IGNORE: u32 = libc::SECCOMP_RET_ERRNO;

/// The last system call that was reviewed for the list below (`file_setattr`, Linux 6.17).
const LAST_REVIEWED: u32 = 469;

const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET)
    .cast_unsigned();
/// `unshare` takes this one too; in `clone` the bit belongs to the exit signal.
const NEW_TIME: u32 = 0x80;

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xC000_00B7;

const OFFSET_NR: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGS: u32 = 16;

const LOAD: u16 = code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
const JUMP: u16 = code(libc::BPF_JMP | libc::BPF_JA);
const IF_EQUAL: u16 = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
const IF_AT_LEAST: u16 = code(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K);
const IF_ANY_BIT: u16 = code(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K);
const RETURN: u16 = code(libc::BPF_RET | libc::BPF_K);

/// What happens to a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Return(u32),
    /// Refused when one of these bits is set in the first argument.
    NotWithBits(u32),
    /// Unix, routing netlink, and of IPv4 and IPv6 only TCP, UDP and ICMP: the other protocols have
    /// a history of holes, and asking for one loads its module.
    SocketFamilies,
    /// Not `F_NOTIFY`.
    FileControl,
    /// `SO_LINGER` of a socket is taken and not heeded.
    NoLinger,
}

/// The calls that are refused always: mounts and roots, namespaces, kernel programs and modules,
/// other processes' memory, keys, clocks, quotas, handles past the mount namespace, and what has
/// no use but attack.
const REFUSED: &[i64] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    457, // statmount
    458, // listmount
    467, // open_tree_attr
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_vhangup,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
];

#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
    174, // create_module
    177, // get_kernel_syms
    178, // query_module
    335, // uretprobe: only the kernel's own trampoline calls it
    336, // uprobe: likewise
];
#[cfg(target_arch = "aarch64")]
const REFUSED_HERE: &[i64] = &[];

/// The filter's program, for this machine's architecture. Pure; made once by sandboxd.
///
/// With `lingering`, sockets may linger at their last close. That is open only where the server's
/// sockets refuse descriptors (see [`crate::socket::refuse_descriptors`]): elsewhere a function
/// could pass a lingering socket to the server, whose thread would then do the last close, and wait.
pub(crate) fn program(lingering: bool) -> Vec<sock_filter> {
    compiled(&ranges(lingering))
}

/// The filter of a snapshot, and so of every environment forked from it: entering a namespace is refused or allowed by
/// sandboxd, call by call.
pub(crate) fn snapshot_program(lingering: bool) -> Vec<sock_filter> {
    let setns = number(libc::SYS_setns);
    let mut ranges = ranges(lingering);
    // A refused call may share its range with its neighbours.
    let after = ranges.partition_point(|(first, _)| *first <= setns);
    let rule = ranges[after - 1].1;
    let next = ranges.get(after).map_or(u32::MAX, |(first, _)| *first);
    if next > setns + 1 {
        ranges.insert(after, (setns + 1, rule));
    }
    if ranges[after - 1].0 == setns {
        ranges[after - 1].1 = Rule::Return(ASK);
    } else {
        ranges.insert(after, (setns, Rule::Return(ASK)));
    }
    compiled(&ranges)
}

fn compiled(ranges: &[(u32, Rule)]) -> Vec<sock_filter> {
    let mut out = vec![
        plain(LOAD, OFFSET_ARCH),
        branch(IF_EQUAL, ARCH, 1, 0),
        plain(RETURN, KILL),
        plain(LOAD, OFFSET_NR),
    ];
    out.extend(tree(ranges));
    out
}

/// `(first number, rule)`, ascending; each range reaches to the next one's first number.
fn ranges(lingering: bool) -> Vec<(u32, Rule)> {
    let mut special = vec![
        // The arguments of clone3 are behind a pointer that a filter cannot follow; libc falls back
        // to clone when it is told that there is no clone3.
        (number(libc::SYS_clone3), Rule::Return(UNKNOWN)),
        (number(libc::SYS_clone), Rule::NotWithBits(NEW_NAMESPACES)),
        (number(libc::SYS_unshare), Rule::NotWithBits(NEW_NAMESPACES | NEW_TIME)),
        (number(libc::SYS_socket), Rule::SocketFamilies),
        (number(libc::SYS_socketpair), Rule::SocketFamilies),
        // A watch is on the inode: on a bind it would tell what the host and other functions open.
        (number(libc::SYS_inotify_add_watch), Rule::Return(NO_ACCESS)),
        (number(libc::SYS_fcntl), Rule::FileControl),
        // Takes from `fs.aio-max-nr`, one number for the whole machine. Libraries fall back.
        (number(libc::SYS_io_setup), Rule::Return(UNKNOWN)),
    ];
    if !lingering {
        special.push((number(libc::SYS_setsockopt), Rule::NoLinger));
    }
    special
        .extend(REFUSED.iter().chain(REFUSED_HERE).map(|nr| (number(*nr), Rule::Return(REFUSE))));
    special.sort_by_key(|(nr, _)| *nr);
    special.dedup_by_key(|(nr, _)| *nr);

    let mut ranges = vec![(0, Rule::Return(ALLOW))];
    for (nr, rule) in special {
        match ranges.last_mut() {
            Some(last) if last.0 == nr => last.1 = rule,
            _ => ranges.push((nr, rule)),
        }
        ranges.push((nr + 1, Rule::Return(ALLOW)));
    }
    // Everything after the last reviewed call, which on x86-64 includes the x32 interface.
    ranges.push((LAST_REVIEWED + 1, Rule::Return(UNKNOWN)));
    ranges.dedup_by(|next, kept| next.1 == kept.1 && matches!(next.1, Rule::Return(_)));
    ranges
}

fn tree(ranges: &[(u32, Rule)]) -> Vec<sock_filter> {
    if let [(_, rule)] = ranges {
        return leaf(*rule);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let below = tree(low);
    let above = tree(high);
    let first_above = high.first().map_or(u32::MAX, |r| r.0);
    // A conditional jump reaches 255 instructions, the whole of the lower half may be more; the
    // plain jump after it has no such limit.
    let far = u32::try_from(below.len()).unwrap_or(u32::MAX);
    let mut out = vec![branch(IF_AT_LEAST, first_above, 0, 1), plain(JUMP, far)];
    if let Ok(near) = u8::try_from(below.len()) {
        out = vec![branch(IF_AT_LEAST, first_above, near, 0)];
    }
    out.extend(below);
    out.extend(above);
    out
}

fn leaf(rule: Rule) -> Vec<sock_filter> {
    match rule {
        Rule::Return(value) => vec![plain(RETURN, value)],
        Rule::NotWithBits(bits) => vec![
            plain(LOAD, OFFSET_ARGS),
            branch(IF_ANY_BIT, bits, 0, 1),
            plain(RETURN, REFUSE),
            plain(RETURN, ALLOW),
        ],
        Rule::SocketFamilies => vec![
            plain(LOAD, OFFSET_ARGS),
            branch(IF_EQUAL, libc::AF_UNIX.cast_unsigned(), 13, 0),
            branch(IF_EQUAL, libc::AF_NETLINK.cast_unsigned(), 9, 0),
            branch(IF_EQUAL, libc::AF_INET.cast_unsigned(), 1, 0),
            branch(IF_EQUAL, libc::AF_INET6.cast_unsigned(), 0, 9),
            plain(LOAD, OFFSET_ARGS + 16),
            branch(IF_EQUAL, 0, 8, 0),
            branch(IF_EQUAL, libc::IPPROTO_TCP.cast_unsigned(), 7, 0),
            branch(IF_EQUAL, libc::IPPROTO_UDP.cast_unsigned(), 6, 0),
            branch(IF_EQUAL, libc::IPPROTO_ICMP.cast_unsigned(), 5, 0),
            branch(IF_EQUAL, libc::IPPROTO_ICMPV6.cast_unsigned(), 4, 0),
            plain(RETURN, NO_PROTOCOL),
            plain(LOAD, OFFSET_ARGS + 16),
            branch(IF_EQUAL, libc::NETLINK_ROUTE.cast_unsigned(), 1, 0),
            plain(RETURN, NO_FAMILY),
            plain(RETURN, ALLOW),
        ],
        Rule::FileControl => vec![
            plain(LOAD, OFFSET_ARGS + 8),
            branch(IF_EQUAL, libc::F_NOTIFY.cast_unsigned(), 0, 1),
            plain(RETURN, REFUSE),
            plain(RETURN, ALLOW),
        ],
        Rule::NoLinger => vec![
            plain(LOAD, OFFSET_ARGS + 8),
            branch(IF_EQUAL, libc::SOL_SOCKET.cast_unsigned(), 0, 3),
            plain(LOAD, OFFSET_ARGS + 16),
            branch(IF_EQUAL, libc::SO_LINGER.cast_unsigned(), 0, 1),
            plain(RETURN, IGNORE),
            plain(RETURN, ALLOW),
        ],
    }
}

/// libc has the parts of an instruction's code as `u32`; the field is a `u16`.
const fn code(parts: u32) -> u16 {
    (parts & 0xFFFF) as u16
}

fn plain(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

fn branch(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

fn number(nr: i64) -> u32 {
    u32::try_from(nr).expect("a system call number of libc is small and not negative")
}

#[cfg(test)]
mod tests;
