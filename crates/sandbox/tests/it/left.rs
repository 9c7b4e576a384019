//! What an ended sandbox leaves for the next one of its kind.

use gatemill_sandbox::{ExitStatus, Sandbox, Spec};

use crate::world::{Outcome, World, cgroups_of, eventually, read_some, sandboxds};
use crate::{Case, root_case};

pub(crate) const CASES: &[Case] = &[
    root_case("tmp_goes_on_after_a_crash", tmp_goes_on_after_a_crash),
    root_case("tmp_goes_on_after_an_end_from_outside", tmp_goes_on_after_an_end_from_outside),
    root_case("tmp_goes_on_after_too_much_memory", tmp_goes_on_after_too_much_memory),
    root_case("an_empty_tmp_is_not_kept", an_empty_tmp_is_not_kept),
    root_case("what_is_killed_leaves_nothing", what_is_killed_leaves_nothing),
    root_case("what_was_left_counts_as_before", what_was_left_counts_as_before),
    root_case("a_tmp_goes_to_its_uid_alone", a_tmp_goes_to_its_uid_alone),
    root_case("what_nobody_wants_is_given_up", what_nobody_wants_is_given_up),
];

const WRITES: &str = r#"
os.mkdir("/tmp/cache", 0o700)
with open("/tmp/cache/model", "w") as f:
    f.write("learnt")
with open("/dev/shm/other", "w") as f:
    f.write("gone")
"#;
const READS: &str = r#"
print("model=" + open("/tmp/cache/model").read())
print("shm=%d" % len(os.listdir("/dev/shm")))
open("/tmp/cache/more", "w").close()
print("free=%d" % (os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_frsize >> 20))
"#;

fn after(world: &World, ended: &Sandbox, spec: Spec) -> Outcome {
    let next = world.runtime.block_on(world.sandboxes.start_after(ended, spec)).unwrap();
    world.finish(&next)
}

fn ended(world: &World, code: &str) -> Sandbox {
    let sandbox = world.start(world.python(code)).unwrap();
    world.wait(&sandbox);
    sandbox
}

fn expect_model(outcome: &Outcome) {
    assert_eq!(outcome.exit.status, ExitStatus::Code(0), "{outcome:?}");
    outcome.expect(&[("model", &["learnt"]), ("shm", &["0"]), ("free", &["16"])]);
}

fn tmp_goes_on_after_a_crash(world: &World) {
    let first = ended(world, &format!("{WRITES}os._exit(7)"));
    let exit = world.wait(&first);
    assert_eq!((exit.status, exit.left_tmp), (ExitStatus::Code(7), true));
    let second = world.python(READS);
    let second = world.runtime.block_on(world.sandboxes.start_after(&first, second)).unwrap();
    expect_model(&world.finish(&second));
    // And on.
    expect_model(&after(world, &second, world.python(READS)));
}

fn tmp_goes_on_after_an_end_from_outside(world: &World) {
    let code = format!("{WRITES}os.write(3, b'x')\ntime.sleep(60)");
    let sandbox = world.start(world.python(&code)).unwrap();
    read_some(&sandbox, 1);
    sandbox.end();
    assert!(world.wait(&sandbox).left_tmp);
    expect_model(&after(world, &sandbox, world.python(READS)));
}

fn tmp_goes_on_after_too_much_memory(world: &World) {
    let code = format!("{WRITES}held = [bytearray(b'x' * (1 << 20)) for _ in range(1000)]");
    let sandbox = ended(world, &code);
    let exit = world.wait(&sandbox);
    assert!(exit.oom_killed && exit.left_tmp, "{exit:?}");
    let outcome = after(world, &sandbox, world.python(READS));
    expect_model(&outcome);
    assert!(!outcome.exit.oom_killed);
}

fn an_empty_tmp_is_not_kept(world: &World) {
    let code = "open('/tmp/a', 'w').close()\nos.remove('/tmp/a')\nos._exit(1)";
    assert!(!world.wait(&ended(world, code)).left_tmp);
}

fn what_is_killed_leaves_nothing(world: &World) {
    let code = format!("{WRITES}os.write(3, b'x')\ntime.sleep(60)");
    let sandbox = world.start(world.python(&code)).unwrap();
    read_some(&sandbox, 1);
    sandbox.kill();
    assert!(!world.wait(&sandbox).left_tmp);
    let next = world.sandboxes.start_after(&sandbox, world.python(READS));
    assert!(world.runtime.block_on(next).is_err());
}

/// Neither is the old `/tmp` taken for memory of the new function, nor does it hide what that uses.
fn what_was_left_counts_as_before(world: &World) {
    let limited = |code: &str| Spec { memory_bytes: 64 << 20, ..world.python(code) };
    let fill = "f = open('/tmp/big', 'wb', buffering=0)\nf.write(b'x' * (14 << 20))\nos._exit(1)";
    let first = world.start(limited(fill)).unwrap();
    assert!(world.wait(&first).left_tmp);
    let fits = "held = bytearray(b'x' * (24 << 20))\ntime.sleep(0.3)\nprint('held=1', flush=True)\nos._exit(1)";
    let next = world.sandboxes.start_after(&first, limited(fits));
    let second = world.runtime.block_on(next).unwrap();
    let outcome = world.finish(&second);
    assert!(outcome.output.contains("held=1") && !outcome.exit.oom_killed, "{outcome:?}");
    let grows = "held = []\nfor i in range(300):\n  held.append(bytearray(b'x' * (1 << 20)))\n  \
        time.sleep(0.002)\nprint('held=1')";
    let outcome = after(world, &second, limited(grows));
    assert!(outcome.exit.oom_killed && !outcome.output.contains("held=1"), "{outcome:?}");
}

fn a_tmp_goes_to_its_uid_alone(world: &World) {
    let first = ended(world, &format!("{WRITES}os._exit(1)"));
    let other = Spec { uid: 5, ..world.python(READS) };
    let refused = world.runtime.block_on(world.sandboxes.start_after(&first, other));
    assert!(refused.is_err());
    // It is lost then, and nobody else's either.
    let late = world.sandboxes.start_after(&first, world.python(READS));
    assert!(world.runtime.block_on(late).is_err());
}

fn what_nobody_wants_is_given_up(world: &World) {
    let [sandboxd] = sandboxds(std::process::id())[..] else { panic!("one sandboxd") };
    let count = || -> usize {
        let dirs = cgroups_of(sandboxd).into_iter();
        dirs.map(|dir| {
            std::fs::read_dir(dir).unwrap().flatten().filter(|e| e.path().is_dir()).count()
        })
        .sum()
    };
    let before = count();
    let first = ended(world, &format!("{WRITES}os._exit(1)"));
    assert!(count() > before, "what is counted for /tmp stays with it");
    drop(first);
    eventually("the cgroups are gone", || count() <= before);
}
