//! The other parts that this program plays: a server that will be killed, and the suite again
//! without root and without isolation.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use gatemill_sandbox::Isolation;

use crate::world::World;
use crate::{escapes, kernel, lifecycle, network, resources, shared, survival};

pub(crate) const SERVER: &str = "__server";
const NETWORK: &str = "__network";
const NOBODY: &str = "__nobody";
const WITHOUT_ISOLATION: &str = "__without_isolation";
const NOBODY_ID: u32 = 65534;

/// Plays the part that the arguments name, if they name one.
pub(crate) fn play() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1)?.as_str() {
        SERVER => Some(server(arguments.get(2)?)),
        NETWORK => Some(suite("on a host of its own", Isolation::Sandbox, &[network::CASES])),
        NOBODY => Some(suite(
            "without root",
            Isolation::Sandbox,
            &[
                escapes::CASES,
                kernel::CASES,
                shared::CASES,
                resources::CASES,
                lifecycle::CASES,
                survival::CASES,
            ],
        )),
        WITHOUT_ISOLATION => {
            Some(suite("without isolation", Isolation::Process, &[lifecycle::CASES]))
        }
        _ => None,
    }
}

/// Starts a sandbox, says so, and waits to be killed.
fn server(marker: &str) -> ExitCode {
    let world = World::new(Isolation::Sandbox);
    let sandbox = world.start(world.python(&format!("time.sleep(600) # {marker}"))).unwrap();
    std::io::stdout().write_all(b"ready\n").unwrap();
    let _ = std::io::stdin().read(&mut [0]);
    drop(sandbox);
    ExitCode::SUCCESS
}

fn suite(name: &str, isolation: Isolation, groups: &[&[crate::Case]]) -> ExitCode {
    let world = World::new(isolation);
    println!("{name}: {}", world.sandboxes.enforced());
    let cases = groups.iter().flat_map(|cases| cases.iter()).filter(|case| case.without_root);
    let failed = cases.filter(|case| !crate::run(case, &world)).count();
    world.end();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The tests of the network change the host's: they get one of their own, so that several runs on one machine do not
/// meet. The number of failures, 0 or 1.
pub(crate) fn run_with_network() -> u32 {
    let status = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .arg(NETWORK)
        .status()
        .expect("the program unshare is installed");
    u32::from(!status.success())
}

/// The number of failures, 0 or 1.
pub(crate) fn run_as_nobody() -> u32 {
    again(NOBODY)
}

pub(crate) fn run_without_isolation() -> u32 {
    again(WITHOUT_ISOLATION)
}

fn again(role: &str) -> u32 {
    let status = Command::new("/proc/self/exe")
        .arg(role)
        .uid(NOBODY_ID)
        .gid(NOBODY_ID)
        .current_dir("/")
        .status()
        .unwrap();
    u32::from(!status.success())
}
