//! Figures, printed and not judged: this runs on whatever machine the tests run on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use gatemill_sandbox::{Bind, Config, Egress, Network, Sandboxes};

use crate::world::{World, read_some};
use crate::{Case, case};

pub(crate) const CASES: &[Case] = &[case("figures", figures)];

const ROUNDS: usize = 100;

/// A whole static program for x86-64 Linux: one segment, `write(3, "x", 1)`, `exit(0)`.
fn smallest_program() -> Vec<u8> {
    let code: &[u8] = &[
        0xB8, 1, 0, 0, 0, // mov eax, 1
        0xBF, 3, 0, 0, 0, // mov edi, 3
        0x48, 0x8D, 0x35, 14, 0, 0, 0, // lea rsi, [rip + 14]
        0xBA, 1, 0, 0, 0, // mov edx, 1
        0x0F, 0x05, // syscall
        0xB8, 60, 0, 0, 0, // mov eax, 60
        0x31, 0xFF, // xor edi, edi
        0x0F, 0x05, // syscall
        b'x',
    ];
    let (base, headers) = (0x40_0000_u64, 64 + 56_u64);
    let size = headers + code.len() as u64;
    let mut file = b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3E\0\x01\0\0\0".to_vec();
    for value in [base + headers, 64, 0] {
        file.extend(value.to_le_bytes());
    }
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for value in [0, base, base, size, size, 4096] {
        file.extend(value.to_le_bytes());
    }
    file.extend(code);
    file
}

fn figures(world: &World) {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let task = world.folder("smallest");
    fs::write(task.join("bootstrap"), smallest_program()).unwrap();
    fs::set_permissions(task.join("bootstrap"), fs::Permissions::from_mode(0o755)).unwrap();
    measure("", world, &world.sandboxes, &task);
    let network = Network { egress: Egress::All, ..Network::default() };
    let config = Config { state_dir: world.folder("figures"), network, ..Config::default() };
    let sandboxes = Sandboxes::spawn(&config).unwrap();
    if sandboxes.no_network().is_none() {
        measure("with the network: ", world, &sandboxes, &task);
    }
    world.runtime.block_on(sandboxes.shutdown());
}

fn measure(what: &str, world: &World, sandboxes: &Sandboxes, task: &Path) {
    let (mut exec, mut first_byte, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut spec = world.program("/var/task/bootstrap", &[]);
        spec.binds = vec![Bind { host: task.into(), inside: "/var/task".into() }];
        let begin = Instant::now();
        let sandbox = world.runtime.block_on(sandboxes.start(spec)).unwrap();
        exec.push(begin.elapsed());
        read_some(&sandbox, 1);
        first_byte.push(begin.elapsed());
        let begin = Instant::now();
        world.wait(&sandbox);
        gone.push(begin.elapsed());
    }
    println!("figures: {what}start to exec'd {}", spread(exec));
    println!("figures: {what}start to first byte {}", spread(first_byte));
    println!("figures: {what}end to gone {}", spread(gone));
}

pub(crate) fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    format!(
        "min {:.1?} p50 {:.1?} max {:.1?}",
        times[0],
        times[times.len() / 2],
        times[times.len() - 1]
    )
}
