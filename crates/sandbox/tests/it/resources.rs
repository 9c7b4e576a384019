//! Taking more than one's share.

use gatemill_sandbox::ExitStatus;

use crate::world::{World, processes_of};
use crate::{Case, case, root_case};

pub(crate) const CASES: &[Case] = &[
    case("forks_only_so_often", forks_only_so_often),
    case("tmp_has_its_size", tmp_has_its_size),
    case("tmp_is_not_memory", tmp_is_not_memory),
    case("memory_of_one_process_is_limited", memory_of_one_process),
    case("memory_of_many_processes_is_limited", memory_of_many_processes),
    case("shared_memory_is_limited", shared_memory_is_limited),
    case("peak_is_true", peak_is_true),
    root_case("cpu_hog_stays_in_its_share", cpu_hog_stays_in_its_share),
    root_case("scarce_cpu_goes_by_share", scarce_cpu_goes_by_share),
    case("fork_bomb_ends_with_its_sandbox", fork_bomb_ends_with_its_sandbox),
];

fn forks_only_so_often(world: &World) {
    let mut spec = world.python(
        r#"
count = 0
try:
    while count < 1000:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        count += 1
except OSError as e:
    print("why=" + errno.errorcode[e.errno])
print("count=%d" % count)
"#,
    );
    spec.pids_max = 20;
    let outcome = world.run(spec);
    outcome.expect(&[("why", &["EAGAIN"])]);
    assert!((10..20).contains(&outcome.number("count")), "{}", outcome.output);
}

fn tmp_has_its_size(world: &World) {
    let mut spec = world.python(
        r#"
def fill(path):
    written = 0
    with open(path, "wb", buffering=0) as f:
        try:
            while written < 1 << 30:
                written += f.write(b"x" * 65536)
        except OSError as e:
            print("why=" + errno.errorcode[e.errno])
    return written
print("written=%d" % fill("/tmp/big"))
os.remove("/tmp/big")
made = 0
try:
    while made < 1000000:
        open("/tmp/%d" % made, "w").close()
        made += 1
except OSError as e:
    print("files_why=" + errno.errorcode[e.errno])
print("files=%d" % made)
print("shm=%d" % fill("/dev/shm/big"))
"#,
    );
    spec.tmp_bytes = 24 << 20;
    let outcome = world.run(spec);
    outcome.expect(&[("why", &["ENOSPC"]), ("files_why", &["ENOSPC"])]);
    let written = outcome.number("written");
    assert!((23 << 20..=24 << 20).contains(&written), "{}", outcome.output);
    assert!(outcome.number("files") <= 6144 && outcome.number("shm") <= 16 << 20);
}

fn tmp_is_not_memory(world: &World) {
    let mut spec = world.python(
        r#"
with open("/tmp/big", "wb", buffering=0) as f:
    for _ in range(100):
        f.write(b"x" * (1 << 20))
held = bytearray(20 << 20)
time.sleep(0.3)
print("size=%d" % os.stat("/tmp/big").st_size)
"#,
    );
    (spec.memory_bytes, spec.tmp_bytes) = (48 << 20, 128 << 20);
    let outcome = world.run(spec);
    assert_eq!(outcome.exit.status, ExitStatus::Code(0), "{outcome:?}");
    assert_eq!(outcome.number("size"), 100 << 20);
    assert!(!outcome.exit.oom_killed && outcome.exit.memory_peak_bytes <= 48 << 20);
}

fn memory_of_one_process(world: &World) {
    let mut spec = world.python(
        r#"
held = []
for i in range(1000):
    held.append(bytearray(b"x" * (1 << 20)))
    os.write(3, b"m")
"#,
    );
    spec.memory_bytes = 64 << 20;
    let outcome = world.run(spec);
    assert_eq!(outcome.exit.status, ExitStatus::Signal(9), "{outcome:?}");
    assert!(outcome.exit.oom_killed);
    assert!(outcome.exit.memory_peak_bytes <= 64 << 20);
    assert!(outcome.exit.memory_peak_bytes >= 32 << 20, "{outcome:?}");
}

fn memory_of_many_processes(world: &World) {
    let mut spec = world.python(
        r#"
for _ in range(8):
    if os.fork() == 0:
        held = bytearray(b"x" * (16 << 20))
        time.sleep(60)
        os._exit(0)
time.sleep(60)
"#,
    );
    spec.memory_bytes = 64 << 20;
    let outcome = world.run(spec);
    assert_eq!(outcome.exit.status, ExitStatus::Signal(9), "{outcome:?}");
    assert!(outcome.exit.oom_killed);
}

fn shared_memory_is_limited(world: &World) {
    let mut spec = world.python(
        r#"
import mmap
m = mmap.mmap(-1, 512 << 20)
for i in range(0, 512 << 20, 4096):
    m[i] = 1
time.sleep(60)
"#,
    );
    (spec.memory_bytes, spec.tmp_bytes) = (64 << 20, 256 << 20);
    let outcome = world.run(spec);
    assert_eq!(outcome.exit.status, ExitStatus::Signal(9), "{outcome:?}");
    assert!(outcome.exit.oom_killed);
}

fn peak_is_true(world: &World) {
    let code = "held = bytearray(b'x' * (40 << 20)); os.write(3, b'r'); os.read(3, 1)";
    let mut spec = world.python(code);
    spec.memory_bytes = 256 << 20;
    let sandbox = world.start(spec).unwrap();
    crate::world::read_some(&sandbox, 1);
    let peak = sandbox.memory_peak_bytes();
    assert!((40 << 20..128 << 20).contains(&peak), "{peak}");
    sandbox.kill();
    let end = world.wait(&sandbox).memory_peak_bytes;
    assert!(end >= peak, "{end} < {peak}");
}

fn cpu_hog_stays_in_its_share(world: &World) {
    let mut spec = world.python(
        r#"
for _ in range(3):
    if os.fork() == 0:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            pass
        os._exit(0)
for _ in range(3):
    os.wait()
times = os.times()
print("cpu_ms=%d" % ((times.children_user + times.children_system) * 1000))
"#,
    );
    spec.cpu_millis = 200;
    let outcome = world.run(spec);
    let used = outcome.number("cpu_ms");
    assert!((1..=700).contains(&used), "{used} ms of CPU in 2 s with a share of 0.2");
}

/// Two that both want all CPUs get them in proportion, on a machine however busy.
fn scarce_cpu_goes_by_share(world: &World) {
    let hog = r#"
for _ in range(os.cpu_count()):
    if os.fork() == 0:
        while True:
            pass
os.write(3, b"go")
os.read(3, 1)
"#;
    let start = |share| {
        let mut spec = world.python(hog);
        (spec.cpu_millis, spec.cpu_share_millis) = (64_000, share);
        world.start(spec).unwrap()
    };
    let (large, small) = (start(800), start(100));
    for hog in [&large, &small] {
        assert_eq!(crate::world::read_some(hog, 2), b"go");
    }
    let enough = crate::world::cpu_ms(&large) + 1500;
    crate::world::eventually("CPU is used", || crate::world::cpu_ms(&large) >= enough);
    let (much, little) = (crate::world::cpu_ms(&large), crate::world::cpu_ms(&small));
    for hog in [&large, &small] {
        hog.kill();
        world.wait(hog);
    }
    assert!(much > 3 * little, "{much} ms and {little} ms of CPU at shares of 8 to 1");
}

fn fork_bomb_ends_with_its_sandbox(world: &World) {
    let mut spec = world.python(
        r#"
os.write(3, b"b")
while True:
    try:
        os.fork()
    except OSError:
        pass
"#,
    );
    (spec.pids_max, spec.cpu_millis) = (40, 500);
    let sandbox = world.start(spec).unwrap();
    crate::world::eventually("the bomb goes off", || processes_of(&sandbox).len() >= 30);
    world.check_neighbour();
    sandbox.kill();
    assert_eq!(world.wait(&sandbox).status, ExitStatus::Signal(9));
    assert_eq!(processes_of(&sandbox), [0; 0]);
}
