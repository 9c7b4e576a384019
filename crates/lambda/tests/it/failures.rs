//! Every way in which a function fails: what the caller reads, what the log says, and that the next call is well.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use gatemill_lambda::Invocation;
use serde_json::{Value, json};

use crate::{Case, world::World};

pub(crate) const CASES: &[Case] = &[
    Case { name: "failures::handler_exceptions", body: exceptions },
    Case { name: "failures::initialisation", body: initialisation },
    Case { name: "failures::time_is_over", body: timeout },
    Case { name: "failures::exits_and_signals", body: exits },
    Case { name: "failures::memory_is_over", body: memory },
    Case { name: "failures::answers_too_large", body: too_large },
    Case { name: "failures::slow_initialisation", body: slow_init },
    Case { name: "failures::broken_protocol", body: broken },
    Case { name: "failures::death_between_calls", body: idle_death },
];

/// A Python function whose event is the code to run.
const EXEC: &str = "import os, sys, time, signal, socket, struct\nn = 0\ndef handler(e, c):\n    global n\n    n += 1\n    if e:\n        exec(e)\n    return n\n";

/// Calls a function: the document, and the log of this call.
fn fail(world: &World, name: &str, event: &Value) -> (Value, String) {
    let call = Invocation { log_tail: true, ..world.invocation(name, &event.to_string()) };
    let id = call.request_id.to_string();
    let outcome = world.run(world.lambda.invoke(call)).unwrap();
    assert_eq!(outcome.function_error, Some("Unhandled"), "{outcome:?}");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().replace(&id, "<id>");
    let document = text(&outcome.payload);
    (serde_json::from_str(&document).unwrap(), text(&outcome.log_tail.unwrap()))
}

fn exceptions(world: &World) {
    world.create("py", "python3.12", &[("app.py", EXEC)]);
    let (document, log) = fail(world, "py", &json!("raise ValueError('no')"));
    assert_eq!(document["errorMessage"], "no");
    assert_eq!(document["errorType"], "ValueError");
    assert_eq!(document["requestId"], "<id>");
    assert!(document["stackTrace"].is_array(), "{document}");
    assert!(log.contains("[ERROR] ValueError: no"), "{log}");
    assert!(!log.contains("Status:"), "{log}");
    assert_eq!(world.json("py", "\"\"").0, 2, "the environment lives on");
    let code = "exports.handler = async () => { throw new TypeError('no'); };";
    world.create("js", "nodejs20.x", &[("app.js", code)]);
    let (document, _) = fail(world, "js", &json!({}));
    assert_eq!(
        (&document["errorType"], &document["errorMessage"]),
        (&json!("TypeError"), &json!("no"))
    );
    assert!(document["trace"].is_array());
}

fn initialisation(world: &World) {
    for (name, handler, code, kind, message) in [
        (
            "import",
            "app.handler",
            "import nothing",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'nothing'",
        ),
        (
            "missing",
            "app.nothing",
            "x = 1",
            "Runtime.HandlerNotFound",
            "Handler 'nothing' missing on module 'app'",
        ),
        (
            "malformed",
            "app",
            "x = 1",
            "Runtime.MalformedHandlerName",
            "Bad handler 'app': not enough values to unpack (expected 2, got 1)",
        ),
        (
            "absent",
            "other.handler",
            "x = 1",
            "Runtime.ImportModuleError",
            "Unable to import module 'other': No module named 'other'",
        ),
    ] {
        world.create_with(name, "python3.12", &[("app.py", code)], &json!({ "Handler": handler }));
        let (document, log) = fail(world, name, &json!({}));
        assert_eq!(
            (&document["errorType"], &document["errorMessage"]),
            (&json!(kind), &json!(message))
        );
        assert!(
            log.contains(&format!("Phase: invoke\tStatus: error\tError Type: {kind}\n")),
            "{log}"
        );
        assert!(log.trim_end().ends_with(&format!("Status: error\tError Type: {kind}")), "{log}");
        let all = world.log(&format!("/aws/lambda/{name}"), |log| log.contains("REPORT R"));
        assert!(
            all.contains(&format!("\tPhase: init\tStatus: error\tError Type: {kind}\n")),
            "{all}"
        );
        assert_eq!(all.matches("INIT_START").count(), 1, "{all}");
    }
    world.create("syntax", "python3.12", &[("app.py", "def handler(:\n")]);
    let (document, _) = fail(world, "syntax", &json!({}));
    assert_eq!(document["errorType"], "Runtime.UserCodeSyntaxError", "{document}");
    world.create("js", "nodejs20.x", &[("app.js", "exports.other = 1;")]);
    let (document, _) = fail(world, "js", &json!({}));
    assert_eq!(document["errorType"], "Runtime.HandlerNotFound", "{document}");
    world.create("exit", "python3.12", &[("app.py", "import os\nos._exit(3)\n")]);
    let (document, _) = fail(world, "exit", &json!({}));
    assert_eq!(
        document["errorMessage"],
        "RequestId: <id> Error: Runtime exited with error: exit status 3"
    );
    assert_eq!(world.lambda.status().idle, 0);
}

fn timeout(world: &World) {
    world.create_with("f", "python3.12", &[("app.py", EXEC)], &json!({ "Timeout": 1 }));
    world.invoke("f", "\"\"");
    let begun = Instant::now();
    let (document, log) = fail(world, "f", &json!("print('in time')\ntime.sleep(30)"));
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(
        document,
        json!({
            "errorType": "Sandbox.Timedout",
            "errorMessage": "RequestId: <id> Error: Task timed out after 1.00 seconds"
        })
    );
    assert!(
        log.contains("in time\n") && log.contains(" <id> Task timed out after 1.00 seconds\n\n"),
        "{log}"
    );
    assert!(log.contains("\tDuration: 1") && log.ends_with("Status: timeout\n"), "{log}");
    assert_eq!(world.json("f", "\"\"").0, 1, "the next call has a fresh environment");
    world.create_with(
        "js",
        "nodejs20.x",
        &[("app.js", "exports.handler = async () => { for (;;); };")],
        &json!({ "Timeout": 1 }),
    );
    let (document, _) = fail(world, "js", &json!({}));
    assert_eq!(document["errorType"], "Sandbox.Timedout");
}

fn exits(world: &World) {
    world.create("f", "python3.12", &[("app.py", EXEC)]);
    for (code, reason) in [
        ("os._exit(0)", "Runtime exited without providing a reason"),
        ("os._exit(1)", "Runtime exited with error: exit status 1"),
        ("sys.exit(7)", "Runtime exited with error: exit status 7"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "Runtime exited with error: signal: killed"),
        (
            "os.kill(os.getpid(), signal.SIGSEGV)",
            "Runtime exited with error: signal: segmentation fault",
        ),
        ("os.abort()", "Runtime exited with error: signal: aborted"),
    ] {
        let (document, log) = fail(world, "f", &json!(format!("print('last words')\n{code}")));
        let message = format!("RequestId: <id> Error: {reason}");
        assert_eq!(
            document,
            json!({ "errorType": "Runtime.ExitError", "errorMessage": message }),
            "{code}"
        );
        assert!(log.contains("last words\n"), "{code}: {log}");
        assert!(log.contains(&format!("{message}\nRuntime.ExitError\n")), "{code}: {log}");
        assert!(log.ends_with("Status: error\tError Type: Runtime.ExitError\n"), "{code}: {log}");
    }
    assert_eq!(world.json("f", "\"\"").0, 1);
}

fn memory(world: &World) {
    world.create("f", "python3.12", &[("app.py", EXEC)]);
    world.create("neighbour", "python3.12", &[("app.py", EXEC)]);
    world.invoke("neighbour", "\"\"");
    let (document, log) =
        fail(world, "f", &json!("x = []\nwhile True:\n    x.append(bytearray(b'x' * 1000000))"));
    assert_eq!(
        document,
        json!({
            "errorType": "Runtime.ExitError",
            "errorMessage": "RequestId: <id> Error: Runtime exited with error: signal: killed"
        })
    );
    assert!(log.ends_with("Status: error\tError Type: Runtime.OutOfMemory\n"), "{log}");
    assert!(log.contains("Max Memory Used: 12"), "nearly all of 128 MB: {log}");
    assert_eq!(world.json("neighbour", "\"\"").0, 2);
    let (answer, _) = world.json("f", &json!("x = bytearray(60 << 20)").to_string());
    assert_eq!(answer, 1);
    let log = world.log("/aws/lambda/f", |log| log.matches("REPORT").count() == 2);
    let used = log.split("Max Memory Used: ").skip(1).map(|rest| rest.split_once(' ').unwrap().0);
    let mut used: Vec<u32> = used.map(|number| number.parse().unwrap()).collect();
    used.sort_unstable();
    assert!((60..120).contains(&used[0]) && (120..=128).contains(&used[1]), "{log}");
}

fn too_large(world: &World) {
    let code = "def handler(e, c):\n    return 'x' * e\n";
    world.create("f", "python3.12", &[("app.py", code)]);
    assert_eq!(world.invoke("f", "6291554").payload.len(), 6_291_556);
    let (document, log) = fail(world, "f", &json!(6_291_555));
    assert_eq!(
        document.to_string(),
        r#"{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}"#
    );
    assert!(log.ends_with("Status: error\tError Type: Function.ResponseSizeTooLarge\n"), "{log}");
    assert_eq!(world.json("f", "1").0, "x", "the environment lives on");
    assert_eq!(world.lambda.status().idle, 1);
}

/// Initialisation over its limit is done again inside the call, with the function's timeout as its limit.
fn slow_init(world: &World) {
    let code = "import time, os\ntime.sleep(0.6 if 'AWS_X' not in os.environ else 0)\ndef handler(e, c):\n    return c.get_remaining_time_in_millis()\n";
    world.create("f", "python3.12", &[("app.py", code)]);
    let (answer, failed) = world.json("f", "{}");
    assert!(!failed && answer.as_i64().unwrap() < 9_500, "the second time counts: {answer}");
    let log = world.log("/aws/lambda/f", |log| log.contains("REPORT R"));
    assert!(log.contains("\tPhase: init\tStatus: timeout\n"), "{log}");
    assert!(!log.contains("\tInit Duration"), "it is part of the duration: {log}");
    let never = "import time\ntime.sleep(60)\n";
    world.create_with("g", "python3.12", &[("app.py", never)], &json!({ "Timeout": 1 }));
    let (document, log) = fail(world, "g", &json!({}));
    assert_eq!(
        document["errorMessage"],
        "RequestId: <id> Error: Task timed out after 1.00 seconds"
    );
    assert!(
        log.contains("\tPhase: invoke\tStatus: timeout\n") && log.ends_with("Status: timeout\n"),
        "{log}"
    );
}

/// Functions that write to the channel themselves: the environment is killed, the caller gets an answer at once.
fn broken(world: &World) {
    world.create_with("f", "python3.12", &[("app.py", EXEC)], &json!({ "Timeout": 20 }));
    let frame = "def frame(kind, body): return struct.pack('<IB', len(body), kind) + body\n";
    for code in [
        "os.write(3, b'garbage garbage')",
        "os.write(3, frame(0x81, b''))",
        "os.write(3, frame(0x82, b'{}'))",
        "os.write(3, frame(0x01, b''))",
        "os.write(3, struct.pack('<IB', 0xffffffff, 0x83))",
        "os.write(3, frame(0x83, b'1') + frame(0x83, b'2'))",
        "os.close(3)\nos.close(1)\nos.close(2)\ntime.sleep(60)",
        "socket.socket(fileno=3).shutdown(socket.SHUT_RDWR)\ntime.sleep(60)",
        "os.write(3, b'\\x05')\nos.kill(os.getpid(), 9)",
    ] {
        let begun = Instant::now();
        let (document, log) = fail(world, "f", &json!(format!("{frame}{code}\ntime.sleep(60)")));
        assert!(begun.elapsed() < Duration::from_secs(5), "{code}");
        assert_eq!(document["errorType"], "Runtime.ExitError", "{code}");
        assert!(log.ends_with("Status: error\tError Type: Runtime.ExitError\n"), "{code}: {log}");
        assert_eq!(world.json("f", "\"\"").0, 1, "{code}: the next call has a fresh environment");
    }
    // A forged answer is the function's own affair; what follows it is not taken for the next call's, unless it comes so
    // late that the environment was frozen before.
    let forged = format!("{frame}os.write(3, frame(0x83, b'\"forged\"'))\ntime.sleep(0.1)");
    assert_eq!(world.json("f", &json!(forged).to_string()).0, "forged");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(world.json("f", "\"\"").0, 1, "the forger's own answer is nobody's");
}

fn idle_death(world: &World) {
    world.create("f", "python3.12", &[("app.py", EXEC)]);
    // The name by which it is found from outside.
    let code = "import ctypes\nctypes.CDLL(None).prctl(15, b'dies-idle', 0, 0, 0)";
    assert_eq!(world.json("f", &json!(code).to_string()), (json!(1), false));
    let process = process_named("dies-idle").expect("the environment waits for a call");
    let pid = process.file_name().unwrap().to_owned();
    assert!(Command::new("kill").arg("-KILL").arg(pid).status().unwrap().success());
    let deadline = Instant::now() + Duration::from_secs(10);
    while process.exists() {
        assert!(Instant::now() < deadline, "a killed process is there for ever");
        std::thread::sleep(Duration::from_millis(5));
    }
    let (answer, failed) = world.json("f", "\"\"");
    assert_eq!((answer, failed), (json!(1), false), "another environment takes the call");
}

/// The directory below `/proc` of a process with this name.
fn process_named(name: &str) -> Option<PathBuf> {
    let mut processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let is_it = |process: &PathBuf| {
        std::fs::read_to_string(process.join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    processes.find(is_it)
}
