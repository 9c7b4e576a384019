//! Functions in real sandboxes, through the route table and the second path.
//!
//! A `main` of our own and not libtest's: this program is sandboxd, too, and sandboxd is spawned before any thread
//! exists. Arguments filter by name, as with libtest.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking; without libtest clippy cannot tell"
)]

mod aliases;
mod api;
mod calls;
mod concurrency;
mod failures;
mod lifecycle;
mod load;
mod mappings;
mod packages;
mod permissions;
mod streams;
mod tenants;
mod versions;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::{Duration, Instant},
};

use gatemill_sandbox::Isolation;
use world::World;

/// A test: its name and its body.
struct Case {
    name: &'static str,
    body: fn(&World),
}

fn main() -> ExitCode {
    gatemill_jailer::run_if_called();
    let filters: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let sandboxes = World::sandboxes(Isolation::Sandbox);
    let unwalled = World::sandboxes(Isolation::Process);
    let all = [
        api::CASES,
        packages::CASES,
        permissions::CASES,
        mappings::CASES,
        streams::CASES,
        calls::CASES,
        failures::CASES,
        lifecycle::CASES,
        versions::CASES,
        aliases::CASES,
        tenants::CASES,
        concurrency::CASES,
        load::CASES,
    ];
    let mut failed = 0;
    for case in all.iter().flat_map(|cases| cases.iter()) {
        let wanted =
            filters.is_empty() || filters.iter().any(|filter| case.name.contains(filter.as_str()));
        if wanted {
            let ground = if case.name.starts_with("unwalled") { &unwalled } else { &sandboxes };
            failed += u32::from(!run(case, ground));
        }
    }
    println!("{failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(case: &Case, sandboxes: &world::Ground) -> bool {
    let begun = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let world = World::new(sandboxes, |settings| match case.name {
            "failures::slow_initialisation" => settings.init_timeout = Duration::from_millis(500),
            "load::the_account_limit" | "tenants::have_a_limit_of_environments" => {
                settings.account_concurrency = 4
            }
            "failures::broken_protocol" | "failures::death_between_calls" => {
                settings.freeze_after = Duration::from_secs(60)
            }
            "lifecycle::memory_of_idle_environments" => settings.idle_memory_max = 70 << 20,
            "concurrency::provisioned_outlives_idleness" | "lifecycle::idle_environments_end" => {
                settings.idle_max = Duration::from_millis(400)
            }
            _ => {}
        });
        (case.body)(&world);
        world.end();
    }));
    let verdict = if result.is_ok() { "ok" } else { "FAILED" };
    println!("{}: {verdict} ({} ms)", case.name, begun.elapsed().as_millis());
    result.is_ok()
}
