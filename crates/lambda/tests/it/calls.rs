//! Calls that go well: what functions are given and what callers get.

use std::time::Duration;

use bytes::Bytes;
use gatemill_lambda::Invocation;
use gatemill_wire::Qualifier;
use serde_json::{Value, json};

use crate::{
    Case,
    world::{World, base64, error_of},
};

pub(crate) const CASES: &[Case] = &[
    Case { name: "calls::python_and_node_answer", body: both_answer },
    Case { name: "calls::bytes_pass_untouched", body: untouched },
    Case { name: "calls::context_and_environment", body: context },
    Case { name: "calls::log_lines", body: log_lines },
    Case { name: "calls::json_log_lines", body: json_log_lines },
    Case { name: "calls::the_api_operation", body: operation },
    Case { name: "calls::an_environment_is_used_again", body: again },
    Case { name: "calls::much_output_in_order", body: much_output },
    Case { name: "calls::dropped_calls_run_to_their_end", body: dropped },
    Case { name: "unwalled::both_runtimes_answer", body: both_answer },
    Case { name: "calls::isolation_between_functions", body: isolation },
];

const ECHO: &str = "def handler(event, context):\n    return event\n";

fn both_answer(world: &World) {
    world.create("py", "python3.12", &[("app.py", ECHO)]);
    world.create("js", "nodejs20.x", &[("app.js", "exports.handler = async (event) => event;")]);
    world.create("mjs", "nodejs20.x", &[("app.mjs", "export const handler = async (e) => e;")]);
    for name in ["py", "js", "mjs"] {
        let (answer, failed) = world.json(name, r#"{"a":[1,2.5,"ü"]}"#);
        assert_eq!((answer, failed), (json!({"a": [1, 2.5, "ü"]}), false), "{name}");
        assert_eq!(world.json(name, ""), (json!({}), false), "an absent event is an empty object");
    }
}

fn untouched(world: &World) {
    // The runtime decodes and encodes JSON; what the server hands over is seen by its length and by what it answers.
    world.create("f", "python3.12", &[("app.py", "def handler(e, c):\n    return None\n")]);
    assert_eq!(world.invoke("f", "0.0").payload, Bytes::from_static(b"null"));
    world.create("e", "python3.12", &[("app.py", ECHO)]);
    let large = format!("\"{}\"", "x".repeat(6_291_454));
    assert_eq!(world.invoke("e", &large).payload.len(), 6_291_456);
}

const CONTEXT: &str = r#"
import os
def handler(event, context):
    return {
        "arn": context.invoked_function_arn, "id": context.aws_request_id, "name": context.function_name,
        "version": context.function_version, "memory": context.memory_limit_in_mb,
        "left": context.get_remaining_time_in_millis(), "group": context.log_group_name,
        "custom": context.client_context.custom if context.client_context else None,
        "trace": os.environ.get("_X_AMZN_TRACE_ID"), "cwd": os.getcwd(), "env": dict(os.environ),
        "uid": os.getuid(), "mode": oct(os.stat("/var/task/app.py").st_mode), "owner": os.stat("/var/task").st_uid,
    }
"#;

fn context(world: &World) {
    let more =
        json!({ "Environment": { "Variables": { "MINE": "1", "TZ": "UTC" } }, "MemorySize": 256 });
    world.create_with("f", "python3.12", &[("app.py", CONTEXT)], &more);
    let mut call = Invocation {
        trace_id: Some("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1".into()),
        client_context: Some(r#"{"custom":{"k":"v"}}"#.into()),
        ..world.invocation("f", "{}")
    };
    call.target.qualifier = Some(Qualifier::Latest);
    let outcome = world.run(world.lambda.invoke(call.clone())).unwrap();
    assert_eq!(outcome.function_error, None, "{outcome:?}");
    let seen: Value = serde_json::from_slice(&outcome.payload).unwrap();
    assert_eq!(seen["arn"], "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST");
    assert_eq!(seen["id"], call.request_id.to_string());
    assert_eq!(seen["custom"], json!({"k": "v"}));
    assert_eq!(seen["trace"], "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1");
    assert!((8_000..=10_000).contains(&seen["left"].as_i64().unwrap()), "{seen}");
    assert_eq!(seen["cwd"], "/var/task");
    assert_ne!(seen["uid"], 0);
    assert_eq!(seen["mode"], "0o100644");
    let env = seen["env"].as_object().unwrap();
    for (name, value) in [
        ("MINE", "1"),
        ("TZ", "UTC"),
        ("AWS_LAMBDA_FUNCTION_NAME", "f"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/f"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_python3.12"),
        ("AWS_REGION", "us-east-1"),
        ("_HANDLER", "app.handler"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
    ] {
        assert_eq!(env.get(name).and_then(Value::as_str), Some(value), "{name}");
    }
    for absent in ["AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"] {
        assert_eq!(env.get(absent), None);
    }
    let (unqualified, _) = world.json("f", "{}");
    let own = unqualified["trace"].as_str().unwrap();
    assert!(own.starts_with("Root=1-6") && own.ends_with(";Sampled=0") && own.len() == 74, "{own}");
    assert_eq!(unqualified["arn"], "arn:aws:lambda:us-east-1:000000000000:function:f");
}

fn log_lines(world: &World) {
    let code = "print('loading')\ndef handler(e, c):\n    print('one')\n    print('two', end='')\n";
    world.create("f", "python3.12", &[("app.py", code)]);
    let call = Invocation { log_tail: true, ..world.invocation("f", "{}") };
    let id = call.request_id;
    let outcome = world.run(world.lambda.invoke(call)).unwrap();
    let tail = String::from_utf8(outcome.log_tail.unwrap().to_vec()).unwrap();
    let start = format!("START RequestId: {id} Version: $LATEST\none\ntwoEND RequestId: {id}\n");
    assert!(tail.starts_with(&format!("{start}REPORT RequestId: {id}\tDuration: ")), "{tail}");
    assert!(tail.contains("\tMemory Size: 128 MB\tMax Memory Used: "), "{tail}");
    assert!(tail.contains(" MB\tInit Duration: ") && tail.ends_with(" ms\t\n"), "{tail}");
    world.invoke("f", "{}");
    let log = world.log("/aws/lambda/f", |log| log.matches("REPORT").count() == 2);
    assert!(log.starts_with("INIT_START Runtime Version: python:3."), "{log}");
    let head = log.split_once("\nSTART ").unwrap().0;
    assert!(head.contains("\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:"), "{log}");
    assert!(head.ends_with("\nloading"), "{log}");
    assert_eq!(
        log.matches("Init Duration").count(),
        1,
        "only the first call's report has it: {log}"
    );
    let all = world.logs.0.lock().unwrap();
    let (_, stream) = all.keys().next().unwrap();
    let day = stream.split_once("/[").unwrap().0;
    assert!(day.len() == 10 && stream.contains("/[$LATEST]"), "{stream}");
    assert_eq!(stream.len(), "2026/11/22/[$LATEST]".len() + 32);
    let times: Vec<_> = all.values().flatten().map(|event| event.timestamp).collect();
    assert!(times.is_sorted());
}

fn operation(world: &World) {
    world.create("f", "python3.12", &[("app.py", ECHO)]);
    let uri = "/2015-03-31/functions/f/invocations";
    let send = |headers: &[(&str, &str)], body: &str| {
        world.run(world.send("POST", uri, headers, body.to_owned()))
    };
    let context = base64(br#"{"custom":{}}"#);
    let response =
        send(&[("x-amz-log-type", "Tail"), ("x-amz-client-context", &context)], r#"{"a":0.0}"#);
    assert_eq!(
        (response.status(), &response.body()[..]),
        (http::StatusCode::OK, &b"{\"a\": 0.0}"[..])
    );
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap());
    assert_eq!(header("x-amz-executed-version"), Some("$LATEST"));
    assert_eq!(header("x-amz-function-error"), None);
    assert!(header("x-amz-log-result").is_some());
    let dry = send(&[("x-amz-invocation-type", "DryRun")], "");
    assert_eq!((dry.status().as_u16(), dry.body().len()), (204, 0));
    let event = send(&[("x-amz-invocation-type", "Event")], "{}");
    assert_eq!((event.status().as_u16(), event.body().len()), (202, 0));
    for (headers, body, status, code) in [
        (&[][..], "{", 400, "InvalidRequestContentException"),
        (&[("x-amz-invocation-type", "Event")][..], "{", 400, "InvalidRequestContentException"),
        (&[("x-amz-invocation-type", "Odd")][..], "{}", 400, "ValidationException"),
        (&[("x-amz-client-context", "%%")][..], "{}", 400, "InvalidRequestContentException"),
        (&[("x-amz-tenant-id", "t")][..], "{}", 400, "InvalidParameterValueException"),
    ] {
        let (got, named, text) = error_of(&send(headers, body));
        assert_eq!((got, named.as_str()), (status, code), "{text}");
    }
    let large = world.run(world.send("POST", uri, &[], "x".repeat(7_000_000)));
    assert_eq!(error_of(&large).0, 413);
    let missing = world.run(world.send("POST", "/2015-03-31/functions/no/invocations", &[], "{}"));
    assert_eq!(
        error_of(&missing),
        (
            404,
            "ResourceNotFoundException".to_owned(),
            "Function not found: arn:aws:lambda:us-east-1:000000000000:function:no:$LATEST"
                .to_owned()
        )
    );
}

fn again(world: &World) {
    let code = "import os\nn = 0\ndef handler(e, c):\n    global n\n    n += 1\n    return [n, open('/tmp/x', 'a').write('x'), os.stat('/tmp/x').st_size]\n";
    world.create("f", "python3.12", &[("app.py", code)]);
    for n in 1..=5 {
        let (answer, _) = world.json("f", "{}");
        assert_eq!(answer[0], n);
    }
    assert_eq!(world.lambda.status().idle, 1);
    let log = world.log("/aws/lambda/f", |log| log.matches("REPORT").count() == 5);
    assert_eq!(log.matches("INIT_START").count(), 1);
}

fn much_output(world: &World) {
    let code =
        "def handler(e, c):\n    for i in range(20000):\n        print(f'line {i} ' + 'x' * 80)\n";
    world.create("f", "python3.12", &[("app.py", code)]);
    world.invoke("f", "{}");
    let log = world.log("/aws/lambda/f", |log| log.contains("REPORT"));
    let lines: Vec<_> = log.lines().filter(|line| line.starts_with("line ")).collect();
    assert_eq!(lines.len(), 20_000);
    for (at, line) in lines.iter().enumerate() {
        assert!(line.starts_with(&format!("line {at} ")), "{line}");
    }
}

fn dropped(world: &World) {
    let code = "import time\nn = 0\ndef handler(e, c):\n    global n\n    time.sleep(0.3)\n    n += 1\n    return n\n";
    world.create("f", "python3.12", &[("app.py", code)]);
    world.invoke("f", "{}");
    world.run(async {
        let call = world.lambda.invoke(world.invocation("f", "{}"));
        assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
        assert_eq!(world.lambda.status().busy, 1);
        while world.lambda.status().busy > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let (answer, _) = world.json("f", "{}");
    assert_eq!(answer, 3, "the dropped call ran, and its environment was used again");
}

fn isolation(world: &World) {
    let code = "import os\ndef handler(e, c):\n    seen = []\n    for pid in os.listdir('/proc'):\n        if pid.isdigit():\n            seen.append(int(pid))\n    return [sorted(seen), os.path.exists(e['path'])]\n";
    world.create("a", "python3.12", &[("app.py", code)]);
    world.create("b", "python3.12", &[("app.py", ECHO)]);
    world.invoke("b", "{}");
    let path = world.code_dir();
    let (answer, _) = world.json("a", &json!({ "path": path }).to_string());
    assert_eq!(answer[1], false, "the host's directory of code is not there");
    assert!(answer[0].as_array().unwrap().len() <= 3, "{answer}");
}

fn json_log_lines(world: &World) {
    let code = "import logging, os\nlog = logging.getLogger()\ndef handler(e, c):\n    log.info('no')\n    log.warning('yes')\n    if e:\n        os._exit(1)\n";
    let config =
        json!({ "LogFormat": "JSON", "ApplicationLogLevel": "WARN", "SystemLogLevel": "DEBUG" });
    let files = &[("app.py", code)];
    world.create_with("f", "python3.12", files, &json!({ "LoggingConfig": config }));
    assert_eq!(
        world.settled("f")["LoggingConfig"],
        json!({ "LogFormat": "JSON", "ApplicationLogLevel": "WARN", "SystemLogLevel": "DEBUG", "LogGroup": "/aws/lambda/f" })
    );
    world.invoke("f", "0");
    world.invoke("f", "1");
    let log = world.log("/aws/lambda/f", |log| log.matches("platform.report").count() == 2);
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> =
        lines.iter().map(|line| line["type"].as_str().unwrap_or("function")).collect();
    let call = ["platform.start", "function", "platform.runtimeDone", "platform.report"];
    let init = ["platform.initStart", "platform.initRuntimeDone", "platform.initReport"];
    assert_eq!(kinds, [&init[..], &call, &call].concat());
    assert_eq!(
        (&lines[4]["level"], &lines[4]["message"]),
        (&json!("WARNING"), &json!("yes")),
        "{log}"
    );
    let report = &lines[6]["record"];
    assert_eq!(report["status"], "success");
    assert!(
        report["metrics"]["initDurationMs"].is_f64() && report["metrics"]["memorySizeMB"] == 128
    );
    let failed = &lines[10]["record"];
    assert_eq!(
        (&failed["status"], &failed["errorType"]),
        (&json!("error"), &json!("Runtime.ExitError"))
    );
    let config = json!({ "LogFormat": "JSON", "SystemLogLevel": "WARN" });
    world.create_with("quiet", "python3.12", files, &json!({ "LoggingConfig": config }));
    world.invoke("quiet", "0");
    let log = world.log("/aws/lambda/quiet", |log| log.contains("yes"));
    assert!(log.contains("\"no\"") && !log.contains("platform."), "{log}");
    let text = json!({ "LoggingConfig": { "LogFormat": "Text" } });
    world.call("PUT", "/2015-03-31/functions/quiet/configuration", &text);
    let logging = &world.settled("quiet")["LoggingConfig"];
    assert_eq!(logging, &json!({ "LogFormat": "Text", "LogGroup": "/aws/lambda/quiet" }));
}
