//! Functions and environments over time: pending calls, updates under load, deletion, idling, reset, drain.

use std::time::Duration;

use gatemill_lambda::Error;
use serde_json::{Value, json};

use crate::{
    Case,
    world::{ROLE, World, base64, zip_of},
};

pub(crate) const CASES: &[Case] = &[
    Case { name: "lifecycle::a_call_waits_for_its_function", body: pending },
    Case { name: "lifecycle::updates_while_calls_run", body: update_under_load },
    Case { name: "lifecycle::deletion", body: deletion },
    Case { name: "lifecycle::idle_environments_end", body: idle },
    Case { name: "lifecycle::idle_environments_stand_still", body: frozen },
    Case { name: "lifecycle::memory_of_idle_environments", body: budget },
    Case { name: "lifecycle::packages_are_shared_and_removed", body: packages },
    Case { name: "lifecycle::reset", body: reset },
    Case { name: "lifecycle::drain", body: drain },
];

const FUNCTIONS: &str = "/2015-03-31/functions";
const SLEEPER: &[(&str, &str)] =
    &[("app.py", "import time\ndef handler(e, c):\n    time.sleep(e)\n    return 'old'\n")];
const NEW: &[(&str, &str)] = &[("app.py", "def handler(e, c):\n    return 'new'\n")];

fn pending(world: &World) {
    let request = json!({
        "FunctionName": "f", "Runtime": "python3.12", "Role": ROLE, "Handler": "app.handler",
        "Code": { "ZipFile": base64(&zip_of(NEW)) },
    });
    let (status, created) = world.call("POST", FUNCTIONS, &request);
    assert_eq!((status, &created["State"]), (201, &json!("Pending")));
    let (answer, failed) = world.json("f", "{}");
    assert_eq!((answer, failed), (json!("new"), false), "a call right after the creation works");
}

fn update_under_load(world: &World) {
    world.create("f", "python3.12", SLEEPER);
    world.invoke("f", "0");
    world.run(async {
        let running = world.lambda.invoke(world.invocation("f", "0.5"));
        let update = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let body = json!({ "ZipFile": base64(&zip_of(NEW)) }).to_string();
            let uri = format!("{FUNCTIONS}/f/code");
            assert_eq!(world.send("PUT", &uri, &[], body).await.status(), 200);
            // Until it is settled, calls go on with the old code; afterwards with the new one.
            loop {
                let next = world.lambda.invoke(world.invocation("f", "0")).await.unwrap();
                match &next.payload[..] {
                    b"\"new\"" => return,
                    other => assert_eq!(other, b"\"old\""),
                }
            }
        };
        let (running, ()) = tokio::join!(running, update);
        assert_eq!(&running.unwrap().payload[..], b"\"old\"", "what runs ends with the old code");
    });
    assert_eq!(world.json("f", "0").0, "new");
    gone(world, 1);
}

/// Waits until no more than `idle` environments are left.
fn gone(world: &World, idle: usize) {
    world.run(async {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        let status = || world.lambda.status();
        while (status().idle > idle || status().busy > 0) && tokio::time::Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert_eq!(world.lambda.status().idle, idle);
}

fn deletion(world: &World) {
    world.create("f", "python3.12", SLEEPER);
    world.invoke("f", "0");
    world.run(async {
        let running = world.lambda.invoke(world.invocation("f", "0.4"));
        let delete = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            world.send("DELETE", &format!("{FUNCTIONS}/f"), &[], "").await
        };
        let (running, deleted) = tokio::join!(running, delete);
        assert_eq!(deleted.status(), 204);
        assert_eq!(&running.unwrap().payload[..], b"\"old\"");
        let next = world.lambda.invoke(world.invocation("f", "0")).await;
        assert!(matches!(next, Err(Error::FunctionNotFound(_))), "{next:?}");
    });
    gone(world, 0);
    world.create("f", "python3.12", NEW);
    assert_eq!(world.json("f", "0").0, "new");
    world.log("/aws/lambda/f", |log| log.matches("REPORT").count() == 3);
}

fn idle(world: &World) {
    world.create("f", "python3.12", NEW);
    world.invoke("f", "{}");
    assert_eq!(world.lambda.status().idle, 1);
    gone(world, 0);
    assert_eq!(world.json("f", "{}").0, "new");
}

/// What an environment does without a call is nobody's: it stands still, and goes on with its next call.
fn frozen(world: &World) {
    let code = "import threading, time\ndef spin():\n    while True:\n        pass\ndef handler(e, c):\n    if e:\n        \
                threading.Thread(target=spin, daemon=True).start()\n    return time.process_time()\n";
    world.create("f", "python3.12", &[("app.py", code)]);
    let cpu = |event: &str| world.json("f", event).0.as_f64().unwrap();
    let pause = Duration::from_secs(1);
    // It spins while it idles, until it is frozen, which takes its time on a machine that is busy.
    let mut before = cpu("true");
    for _ in 0..10 {
        std::thread::sleep(pause);
        let now = cpu("false");
        if now - before < pause.as_secs_f64() / 4.0 {
            return;
        }
        before = now;
    }
    panic!("an idle environment used CPU all the time");
}

/// The budget of this case, 70 MiB, holds two environments of this size, 25 MiB and some that Python has for itself, and
/// clearly not three. The one that is made again in no time goes.
fn budget(world: &World) {
    for (name, start) in [("b", "1.0"), ("c", "1.0"), ("a", "0.0")] {
        let code = format!(
            "import time\ntime.sleep({start})\nx = b'x' * (25 << 20)\ndef handler(e, c):\n    return 1\n"
        );
        world.create(name, "python3.12", &[("app.py", &code)]);
        world.invoke(name, "{}");
    }
    gone(world, 2);
    let log =
        |name: &str| world.log_now(&format!("/aws/lambda/{name}")).matches("INIT_START").count();
    for name in ["c", "b"] {
        world.invoke(name, "{}");
    }
    world.log("/aws/lambda/b", |log| log.matches("REPORT").count() == 2);
    assert_eq!(
        (log("b"), log("c")),
        (1, 1),
        "the cheapest went, although it was used last; these are used again"
    );
}

fn packages(world: &World) {
    world.create("f", "python3.12", NEW);
    world.create("g", "python3.12", NEW);
    let unpacked = || {
        let entries = std::fs::read_dir(world.code_dir()).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
    };
    assert_eq!(unpacked(), 1, "one directory for one zip");
    world.create("h", "python3.12", SLEEPER);
    assert_eq!(unpacked(), 2);
    world.invoke("h", "0");
    world.call("DELETE", &format!("{FUNCTIONS}/f"), &Value::Null);
    assert_eq!(world.json("g", "{}").0, "new");
}

fn reset(world: &World) {
    world.create("f", "python3.12", NEW);
    world.invoke("f", "{}");
    world.run(world.store.clear()).unwrap();
    world.run(world.lambda.reset());
    assert_eq!(world.lambda.status().idle, 0);
    assert!(matches!(
        world.run(world.lambda.invoke(world.invocation("f", "{}"))),
        Err(Error::FunctionNotFound(_))
    ));
    let left = std::fs::read_dir(world.code_dir()).unwrap();
    assert_eq!(left.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count(), 0);
    world.create("f", "python3.12", SLEEPER);
    assert_eq!(world.json("f", "0").0, "old");
}

fn drain(world: &World) {
    world.create("f", "python3.12", SLEEPER);
    world.run(async {
        let running = world.lambda.invoke(world.invocation("f", "0.4"));
        let drain = async {
            tokio::time::sleep(Duration::from_millis(250)).await;
            world.lambda.drain(Duration::from_secs(10)).await;
            let late = world.lambda.invoke(world.invocation("f", "0")).await;
            assert!(matches!(late, Err(Error::Draining)), "{late:?}");
        };
        let (running, ()) = tokio::join!(running, drain);
        assert_eq!(&running.unwrap().payload[..], b"\"old\"");
    });
    let log = world.log_now("/aws/lambda/f");
    assert!(log.contains("REPORT"), "logs are passed on before the end: {log}");
}
