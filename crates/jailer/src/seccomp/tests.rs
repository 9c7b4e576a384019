//! The program is run here by a small interpreter, for every system call number: that the kernel
//! accepts it and refuses is shown by the escape tests of `gatemill-sandbox`.

use super::*;

/// Runs the filter as the kernel would. `args` are the low halves.
fn run(program: &[sock_filter], arch: u32, nr: u32, args: [u32; 3]) -> u32 {
    let (mut at, mut value) = (0, 0);
    for _ in 0..program.len() {
        let i = program[at];
        at += 1;
        match i.code {
            LOAD => {
                value = match i.k {
                    OFFSET_NR => nr,
                    OFFSET_ARCH => arch,
                    offset => args[((offset - OFFSET_ARGS) / 8) as usize],
                };
            }
            JUMP => at += i.k as usize,
            IF_EQUAL => at += usize::from(if value == i.k { i.jt } else { i.jf }),
            IF_AT_LEAST => at += usize::from(if value >= i.k { i.jt } else { i.jf }),
            IF_ANY_BIT => at += usize::from(if value & i.k != 0 { i.jt } else { i.jf }),
            RETURN => return i.k,
            other => panic!("unknown instruction {other:x}"),
        }
    }
    panic!("no answer after {} instructions", program.len());
}

fn verdict(nr: i64, args: [u32; 3]) -> u32 {
    run(&program(true), ARCH, number(nr), args)
}

#[test]
fn every_call_is_judged_as_listed() {
    let program = program(false);
    // As the first argument: a family that is open, and no flag of a namespace.
    let unix = libc::AF_UNIX.cast_unsigned();
    for nr in 0..=600 {
        let got = run(&program, ARCH, number(nr), [unix, 0, 0]);
        let wanted = if REFUSED.contains(&nr) || REFUSED_HERE.contains(&nr) {
            REFUSE
        } else if nr == libc::SYS_inotify_add_watch {
            NO_ACCESS
        } else if [libc::SYS_clone3, libc::SYS_io_setup].contains(&nr) || nr > LAST_REVIEWED.into()
        {
            UNKNOWN
        } else {
            ALLOW
        };
        assert_eq!(got, wanted, "system call {nr}");
    }
}

#[test]
fn another_architecture_is_killed() {
    assert_eq!(run(&program(true), 0x4000_0003, 1, [0; 3]), KILL);
}

#[test]
fn numbers_of_the_x32_interface_are_unknown() {
    assert_eq!(run(&program(true), ARCH, 0x4000_0000 + 165, [0; 3]), UNKNOWN);
}

#[test]
fn namespaces_are_refused_flag_by_flag() {
    for bit in 0..32 {
        let flag = 1_u32 << bit;
        let refused = NEW_NAMESPACES & flag != 0;
        let wanted = if refused { REFUSE } else { ALLOW };
        assert_eq!(verdict(libc::SYS_clone, [flag, 0, 0]), wanted, "clone {flag:x}");
        let wanted = if refused || flag == NEW_TIME { REFUSE } else { ALLOW };
        assert_eq!(verdict(libc::SYS_unshare, [flag, 0, 0]), wanted, "unshare {flag:x}");
    }
    // A thread, as libc makes it.
    assert_eq!(verdict(libc::SYS_clone, [0x3d_0f00, 0, 0]), ALLOW);
}

#[test]
fn only_four_socket_families_exist() {
    for family in 0..64_i32 {
        let open = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
        let wanted = if open.contains(&family) { ALLOW } else { NO_FAMILY };
        let args = [family.cast_unsigned(), 1, 0];
        assert_eq!(verdict(libc::SYS_socket, args), wanted, "family {family}");
    }
    for protocol in 1..32 {
        let args = [libc::AF_NETLINK.cast_unsigned(), 3, protocol];
        assert_eq!(verdict(libc::SYS_socket, args), NO_FAMILY, "netlink {protocol}");
    }
}

#[test]
fn of_the_internet_only_common_protocols_exist() {
    for family in [libc::AF_INET, libc::AF_INET6].map(i32::cast_unsigned) {
        for protocol in 0..300 {
            let wanted = if [0, 1, 6, 17, 58].contains(&protocol) { ALLOW } else { NO_PROTOCOL };
            assert_eq!(verdict(libc::SYS_socket, [family, 1, protocol]), wanted, "{protocol}");
        }
    }
}

#[test]
fn directories_cannot_be_watched_by_signal() {
    for command in 0..2000 {
        let wanted = if command == 1026 { REFUSE } else { ALLOW };
        assert_eq!(verdict(libc::SYS_fcntl, [0, command, 0]), wanted, "fcntl {command}");
    }
}

#[test]
fn lingering_is_ignored_where_descriptors_reach_the_server() {
    let without = program(false);
    for (level, option) in (0..20).flat_map(|level| (0..100).map(move |option| (level, option))) {
        let got = run(&without, ARCH, number(libc::SYS_setsockopt), [3, level, option]);
        let wanted = if (level, option) == (1, 13) { IGNORE } else { ALLOW };
        assert_eq!(got, wanted, "setsockopt {level} {option}");
        assert_eq!(verdict(libc::SYS_setsockopt, [3, level, option]), ALLOW);
    }
}

#[test]
fn it_stays_small_and_shallow() {
    let program = program(false);
    assert!(program.len() < 256, "{} instructions", program.len());
    assert!(ranges(false).len().ilog2() < 8);
}
