//! Real sandboxes, and what tries to get out of them.
//!
//! A `main` of our own and not libtest's, because this program is sandboxd, too, and because
//! sandboxd is spawned before any thread exists. Arguments filter by name, as with libtest.
//! What tries to get out does so a second time from a container image.
//! As root, the core of the suite runs a second time as an unprivileged user, and a third time
//! without isolation.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking; without libtest clippy cannot tell"
)]

mod companions;
mod escapes;
mod figures;
mod images;
mod kernel;
mod left;
mod lifecycle;
mod network;
mod parked;
mod resources;
mod role;
mod shared;
mod snapshots;
mod survival;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use world::{Class, World};

/// A test: its name, whether it also has to hold without root, and its body.
struct Case {
    name: &'static str,
    without_root: bool,
    body: fn(&World),
}

const fn case(name: &'static str, body: fn(&World)) -> Case {
    Case { name, without_root: true, body }
}

const fn root_case(name: &'static str, body: fn(&World)) -> Case {
    Case { name, without_root: false, body }
}

fn main() -> ExitCode {
    gatemill_jailer::run_if_called();
    if let Some(code) = role::play() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filter: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let world = World::new(gatemill_sandbox::Isolation::Sandbox);
    println!("{}", world.sandboxes.enforced());
    let is_root = rustix::process::geteuid().is_root();
    let cases = [
        escapes::CASES,
        kernel::CASES,
        shared::CASES,
        resources::CASES,
        lifecycle::CASES,
        left::CASES,
        companions::CASES,
        parked::CASES,
    ];
    let alone = [snapshots::CASES, survival::CASES, figures::CASES];
    let mut failed = 0;
    for case in cases.iter().chain(&alone).flat_map(|cases| cases.iter()) {
        let wanted = filter.is_empty() || filter.iter().any(|f| case.name.contains(f.as_str()));
        if !wanted || (!is_root && !case.without_root) {
            continue;
        }
        failed += u32::from(!run(case, &world));
    }
    if is_root {
        for class in [Class::Parked, Class::Forked, Class::Vacant] {
            world.use_class(class);
            println!("{class:?}:");
            let again =
                [escapes::CASES, kernel::CASES, shared::CASES, resources::CASES, left::CASES];
            for case in again.iter().flat_map(|cases| cases.iter()) {
                if filter.is_empty() || filter.iter().any(|f| case.name.contains(f.as_str())) {
                    failed += u32::from(!run(case, &world));
                }
            }
        }
        world.use_class(Class::Executed);
    }
    world.use_image();
    let again = [images::CASES, escapes::CASES];
    for case in again.iter().flat_map(|cases| cases.iter()) {
        let wanted = filter.is_empty() || filter.iter().any(|f| case.name.contains(f.as_str()));
        if wanted && (is_root || case.without_root) {
            println!("from an image:");
            failed += u32::from(!run(case, &world));
        }
    }
    world.end();
    if is_root && (filter.is_empty() || filter.iter().any(|f| f.contains("network"))) {
        failed += role::run_with_network();
    }
    if is_root && filter.is_empty() {
        failed += role::run_as_nobody() + role::run_without_isolation();
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(case: &Case, world: &World) -> bool {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        (case.body)(world);
        // Whatever was tried: the neighbour, the handle and sandboxd go on.
        world.check_neighbour();
    }));
    println!("test {} ... {}", case.name, if outcome.is_ok() { "ok" } else { "FAILED" });
    outcome.is_ok()
}
