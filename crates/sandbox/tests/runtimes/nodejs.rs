//! The Node.js client.

use gatemill_sandbox::runtime::{Family, Pack};
use serde_json::{Value, json};

use crate::harness::{
    ARN, Client, Code, Frame, Meta, REQUEST_ID, packs, print_warm_cost, without_times,
};

/// Whether this release still has callbacks; from Node.js 24 on there are none.
fn has_callbacks(pack: &Pack) -> bool {
    pack.version.major < 24
}

fn each(files: &[(&str, &str)], handler: &str, test: impl Fn(&Pack, Client)) {
    for pack in packs(Family::Nodejs) {
        test(&pack, Client::ready(&pack, Code { files, handler, env: &[] }));
    }
}

fn app(source: &str, test: impl Fn(&Pack, Client)) {
    each(&[("app.js", source)], "app.handler", test);
}

fn failed_init(code: Code<'_>, test: impl Fn(&Pack, Value, String)) {
    for pack in packs(Family::Nodejs) {
        let mut client = Client::start(&pack, code);
        let frame = client.next();
        assert!(matches!(frame, Frame::InitError(_)), "{} {}: {frame:?}", pack.name, code.handler);
        let ended = client.wait();
        assert_eq!(ended.status.code(), Some(1));
        test(&pack, frame.error(), without_times(&ended.log));
    }
}

#[test]
fn the_trace_is_a_variable_like_others_and_traces_take_no_memory() {
    let source = r#"
const fs = require('fs');
const path = require('path');
const { execSync } = require('child_process');
const { inspect } = require('util');
const { Worker } = require('worker_threads');
const trace = require(path.join(path.dirname(process.argv[1]), 'gatemill/trace.js'));
const NAME = '_X_AMZN_TRACE_ID';

// What the C library has: V8's heap lies elsewhere.
function heapKilobytes() {
  const maps = fs.readFileSync('/proc/self/smaps', 'utf8');
  return Number(/^Rss:\s+(\d+)/m.exec(maps.slice(maps.indexOf('[heap]')))[1]);
}

function inWorker() {
  const source = `require('worker_threads').parentPort.postMessage(process.env.${NAME} || '')`;
  return new Promise((resolve) => new Worker(source, { eval: true }).on('message', resolve));
}

exports.handler = async ({ calls }) => {
  const inherits = Object.create(process.env);
  inherits.OTHER = 'x';
  const seen = [
    process.env[NAME],
    { ...process.env }[NAME],
    Object.fromEntries(Object.entries(process.env))[NAME],
    JSON.parse(JSON.stringify(process.env))[NAME],
    inherits[NAME],
    execSync(`printf %s "$${NAME}"`).toString(),
    execSync(`printf %s "$${NAME}"`, { env: inherits }).toString(),
  ];
  const is = [
    NAME in process.env,
    Object.keys(process.env).filter((name) => name === NAME).length === 1,
    Object.hasOwn(process.env, NAME),
    inspect(process.env).includes(process.env[NAME]),
    !('OTHER' in process.env),
  ];
  const worker = await inWorker();
  const before = heapKilobytes();
  for (let n = 0; n < calls; n++) {
    trace.set(`Root=1-2-${String(n).padStart(24, '0')};Parent=53995c3f42cd8ad8;Sampled=0`);
  }
  const grown = heapKilobytes() - before;
  process.env[NAME] = 7;
  const own = [process.env[NAME], execSync(`printf %s "$${NAME}"`).toString()];
  delete process.env[NAME];
  const gone = !(NAME in process.env) && !Object.keys(process.env).includes(NAME);
  return { seen, is, worker, grown, own, gone };
};"#;
    app(source, |pack, mut client| {
        for (trace_id, calls, told) in [
            ("Root=1-2-3;Sampled=0", 0, ""),
            ("Root=1-2-4;Sampled=1", 0, "Root=1-2-4;Sampled=1"),
            ("Root=1-2-5;Sampled=0", 100_000, ""),
        ] {
            let meta = Meta { trace_id, ..Meta::default() };
            let event = json!({ "calls": calls }).to_string();
            let answer = match client.invoke_with(&event, &meta) {
                Frame::Response(body) => serde_json::from_slice::<Value>(&body).unwrap(),
                other => panic!("{}: {other:?}", pack.name),
            };
            assert_eq!(answer["seen"], json!(vec![trace_id; 7]), "{}", pack.name);
            assert_eq!(answer["is"], json!(vec![true; 5]), "{}", pack.name);
            assert_eq!(answer["worker"], told, "{}", pack.name);
            assert_eq!(answer["own"], json!(["7", "7"]), "{}", pack.name);
            assert_eq!(answer["gone"], true, "{}", pack.name);
            // The C library's list of past values would have grown by 20 MB.
            assert!(answer["grown"].as_i64().unwrap() < 4_000, "{}: {answer}", pack.name);
        }
        assert!(client.end().status.success());
    });
}

#[test]
fn echoes_text_numbers_and_null() {
    app("exports.handler = async (event) => event;", |pack, mut client| {
        for event in ["null", "1.5", r#"{"a":[1,{"b":"\\ \" \n é 😀"}]}"#, "[]", "\"\u{2028}\""]
        {
            assert_eq!(client.invoke(event), Frame::response(event), "{}", pack.name);
        }
        assert!(client.end().status.success());
    });
}

#[test]
fn handlers_are_found_where_aws_finds_them() {
    let files = [
        ("common.js", "exports.a = { b: { c: async () => 'common' } };"),
        (
            "es.mjs",
            "export const handler = async () => 'es'; export const o = { f: async () => 'o' };",
        ),
        ("explicit.cjs", "exports.handler = async () => 'cjs';"),
        ("bare", "exports.handler = async () => 'bare';"),
        ("folder/index.js", "exports.handler = async () => 'folder';"),
        ("typed/package.json", r#"{"type":"module"}"#),
        ("typed/app.js", "import { x } from './lib/x.js'; export const handler = async () => x;"),
        ("typed/lib/x.js", "export const x = 'typed';"),
        ("typed/old/package.json", "{}"),
        ("typed/old/app.js", "module.exports.handler = async () => require('dep');"),
        ("typed/old/node_modules/dep/index.js", "module.exports = 'dep';"),
        ("node_modules/pkg/index.js", "exports.handler = async () => 'package';"),
        (
            "wait.mjs",
            "await new Promise((r) => setTimeout(r, 5)); export const handler = async () => 'tla';",
        ),
        ("channel.js", "exports.handler = async () => 'mine';"),
    ];
    let cases = [
        ("common.a.b.c", "common"),
        ("es.handler", "es"),
        ("es.o.f", "o"),
        ("explicit.handler", "cjs"),
        ("bare.handler", "bare"),
        ("folder.handler", "folder"),
        ("folder/index.handler", "folder"),
        ("typed/app.handler", "typed"),
        ("typed/old/app.handler", "dep"),
        ("pkg.handler", "package"),
        ("wait.handler", "tla"),
        ("channel.handler", "mine"),
    ];
    for (handler, answer) in cases {
        each(&files, handler, |pack, mut client| {
            let expected = Frame::response(&format!("\"{answer}\""));
            assert_eq!(client.invoke("{}"), expected, "{} {handler}", pack.name);
        });
    }
}

#[test]
fn init_failures_have_aws_words() {
    let files = [
        ("app.js", "require('absent');"),
        ("empty.js", "exports.text = 'text';"),
        ("syntax.js", "exports.handler = async () => {{;"),
        ("raises.js", "throw new RangeError('at init');"),
        ("absent.mjs", "import 'absent';"),
        ("never.mjs", "await new Promise(() => {});"),
        ("reject.js", "Promise.reject(new Error('lost')); exports.handler = async () => 1;"),
        ("string.js", "throw 'a string';"),
    ];
    let cases = [
        ("empty.handler", "Runtime.HandlerNotFound", "empty.handler is undefined or not exported"),
        ("empty.text", "Runtime.HandlerNotFound", "empty.text is not a function"),
        ("handler", "Runtime.MalformedHandlerName", "Bad handler"),
        (
            "../app.handler",
            "Runtime.MalformedHandlerName",
            "'../app.handler' is not a valid handler name. Use absolute paths when specifying root directories in handler names.",
        ),
        ("raises.handler", "RangeError", "at init"),
        ("string.handler", "string", "a string"),
        (
            "absent.handler",
            "Error",
            "Cannot find package 'absent' imported from /var/task/absent.mjs",
        ),
    ];
    for (handler, kind, message) in cases {
        failed_init(Code { files: &files, handler, env: &[] }, |pack, body, log| {
            let said = (&body["errorType"], &body["errorMessage"]);
            assert_eq!(said, (&json!(kind), &json!(message)), "{}", pack.name);
            assert!(body["trace"].is_array());
            let start = "TIME\tundefined\tERROR\tUncaught Exception \t{\"errorType\":";
            assert!(log.starts_with(start), "{} {log}", pack.name);
        });
    }
    failed_init(Code { files: &files, handler: "app.handler", env: &[] }, |pack, body, _| {
        assert_eq!(body["errorType"], "Runtime.ImportModuleError");
        let message = body["errorMessage"].as_str().unwrap();
        let start = "Error: Cannot find module 'absent'\nRequire stack:\n- /var/task/app.js\n- ";
        assert!(
            message.starts_with(start) && message.ends_with("index.mjs"),
            "{} {message}",
            pack.name
        );
        assert_eq!(
            body["trace"][0],
            "Runtime.ImportModuleError: Error: Cannot find module 'absent'"
        );
    });
    failed_init(Code { files: &files, handler: "lost.handler", env: &[] }, |pack, body, _| {
        assert_eq!(body["errorType"], "Runtime.ImportModuleError");
        let message = body["errorMessage"].as_str().unwrap();
        let start = "Error: Cannot find module 'lost'\nRequire stack:\n- ";
        assert!(message.starts_with(start), "{} {message}", pack.name);
    });
    failed_init(Code { files: &files, handler: "syntax.handler", env: &[] }, |pack, body, _| {
        assert_eq!(body["errorType"], "Runtime.UserCodeSyntaxError");
        let message = body["errorMessage"].as_str().unwrap();
        assert!(message.starts_with("SyntaxError: "), "{} {message}", pack.name);
    });
    failed_init(Code { files: &files, handler: "never.handler", env: &[] }, |pack, body, _| {
        assert_eq!(body["errorType"], "Runtime.NodeJsExit", "{}", pack.name);
    });
}

#[test]
fn errors_of_every_kind_are_answered_and_logged() {
    let source = "
class Broken extends Error { constructor(m) { super(m); this.name = 'Broken'; this.code = 'E1'; } }
const cases = {
  error: () => { throw new Broken('no é way'); },
  string: () => { throw 'text'; },
  nothing: () => { throw undefined; },
  odd: () => { throw { get name() { throw 1; } }; },
  cycle: () => { const a = {}; a.a = a; return a; },
  bigint: () => 1n,
  function: () => () => {},
  empty: () => undefined,
};
exports.handler = async (event) => cases[event]();
";
    app(source, |pack, mut client| {
        let mut ask = |case: &str| client.invoke(&format!("\"{case}\""));
        let Frame::Error(body) = ask("error") else { panic!("{}", pack.name) };
        let start = "{\"errorType\":\"Broken\",\"errorMessage\":\"no é way\",\
                     \"trace\":[\"Broken: no é way\",\"    at Object.error (/var/task/app.js:4:24)\"";
        // The engine puts `Object.` or the variable's name before the function's.
        let start = start.replace("Object.error", "error");
        assert!(body.replace("Object.error", "error").starts_with(&start), "{} {body}", pack.name);
        let expected = json!({"errorType": "string", "errorMessage": "text", "trace": []});
        assert_eq!(ask("string").error(), expected, "{}", pack.name);
        let expected = json!({"errorType": "undefined", "errorMessage": "undefined", "trace": []});
        assert_eq!(ask("nothing").error(), expected, "{}", pack.name);
        assert_eq!(ask("odd").error()["errorType"], "handled", "{}", pack.name);
        let kind = if has_callbacks(pack) { "Error" } else { "Runtime.JSONStringifyError" };
        for case in ["cycle", "bigint"] {
            let error = ask(case).error();
            assert_eq!(error["errorType"], kind, "{}", pack.name);
            assert_eq!(error["errorMessage"], "Unable to stringify response body");
        }
        for case in ["function", "empty"] {
            assert_eq!(ask(case), Frame::response("null"), "{} {case}", pack.name);
        }
        let log = without_times(&client.end().log);
        let start = format!(
            "TIME\t{REQUEST_ID}\tERROR\tInvoke Error \t{{\"errorType\":\"Broken\",\
             \"errorMessage\":\"no é way\",\"code\":\"E1\","
        );
        assert!(log.starts_with(&start), "{} {log}", pack.name);
        assert_eq!(log.lines().count(), 6, "{} {log}", pack.name);
    });
}

#[test]
fn callbacks_answer_before_nodejs_24_and_are_refused_from_then_on() {
    let source = "
exports.handler = (event, context, callback) => {
  const later = (f) => setTimeout(() => { console.log('later'); f && f(); }, 20);
  switch (event) {
    case 'callback': later(); callback(null, 'waited'); break;
    case 'at once': context.callbackWaitsForEmptyEventLoop = false; later(); callback(null, 'now'); break;
    case 'error': callback('reason'); break;
    case 'succeed': context.succeed('s'); context.fail('late'); break;
    case 'fail': context.fail(); break;
    case 'done': context.done(null, 'd'); break;
    case 'throw': throw new TypeError('sync');
    case 'nothing': later(); return 'ignored';
    case 'twice': callback(null, 1); callback(null, 2); break;
    case 'late error': setTimeout(() => callback(new Error('late')), 5); break;
  }
};
";
    let files = [("app.js", source)];
    let code = Code { files: &files, handler: "app.handler", env: &[] };
    for pack in packs(Family::Nodejs) {
        if !has_callbacks(&pack) {
            let body = Client::start(&pack, code).next().error();
            assert_eq!(body["errorType"], "Runtime.CallbackHandlerDeprecated");
            let message = body["errorMessage"].as_str().unwrap();
            assert!(
                message.starts_with("ERROR: AWS Lambda has removed support for callback-based")
            );
            continue;
        }
        let mut client = Client::ready(&pack, code);
        let mut ask = |case: &str| client.invoke(&format!("\"{case}\""));
        let good = [
            ("callback", "\"waited\""),
            ("at once", "\"now\""),
            ("succeed", "\"s\""),
            ("done", "\"d\""),
            ("nothing", "null"),
            ("twice", "1"),
        ];
        for (case, answer) in good {
            assert_eq!(ask(case), Frame::response(answer), "{} {case}", pack.name);
        }
        let bad = [
            ("error", "string", "reason"),
            ("fail", "string", "handled"),
            ("throw", "TypeError", "sync"),
            ("late error", "Error", "late"),
        ];
        for (case, kind, message) in bad {
            let error = ask(case).error();
            let said = (&error["errorType"], &error["errorMessage"]);
            assert_eq!(said, (&json!(kind), &json!(message)), "{} {case}", pack.name);
        }
    }
}

#[test]
fn what_nobody_caught_ends_the_process_with_the_right_answer() {
    let source = "
exports.handler = async (event) => {
  if (event === 'reject') Promise.reject(new Error('lost'));
  if (event === 'throw') setTimeout(() => { throw new RangeError('later'); }, 1);
  if (event === 'exit') { process.stdout.write('last words'); process.exit(7); }
  if (event === 'abort') process.abort();
  await new Promise((resolve) => setTimeout(resolve, event === 'never' ? 0 : 5000));
};
";
    app(source, |pack, mut client| {
        let error = client.invoke("\"reject\"").error();
        assert_eq!(error["errorType"], "Runtime.UnhandledPromiseRejection");
        assert_eq!(error["errorMessage"], "Error: lost");
        let ended = client.wait();
        assert_eq!(ended.status.code(), Some(128), "{}", pack.name);
        let log = without_times(&ended.log);
        let start = format!("TIME\t{REQUEST_ID}\tERROR\tUnhandled Promise Rejection \t");
        assert!(log.starts_with(&start), "{log}");
    });
    app(source, |pack, mut client| {
        let error = client.invoke("\"throw\"").error();
        assert_eq!(error["errorType"], "RangeError");
        let ended = client.wait();
        assert_eq!(ended.status.code(), Some(129), "{}", pack.name);
        assert!(ended.log.contains("\tERROR\tUncaught Exception \t{\"errorType\":\"RangeError\""));
    });
    app(source, |pack, mut client| {
        assert_eq!(client.invoke("\"exit\""), Frame::End, "{}", pack.name);
        let ended = client.end();
        assert_eq!((ended.status.code(), ended.log.as_str()), (Some(7), "last words"));
    });
    app(source, |pack, mut client| {
        assert_eq!(client.invoke("\"abort\""), Frame::End, "{}", pack.name);
        assert_eq!(client.end().status.code(), None);
    });
}

#[test]
fn an_event_loop_that_empties_is_an_answer() {
    app("exports.handler = () => new Promise(() => {});", |pack, mut client| {
        let answer = client.invoke("1");
        if has_callbacks(pack) {
            assert_eq!(answer, Frame::response("null"), "{}", pack.name);
            assert_eq!(client.invoke("2"), Frame::response("null"), "{}", pack.name);
            return;
        }
        let error = answer.error();
        assert_eq!(error["errorType"], "Runtime.NodeJsExit", "{}", pack.name);
        let message = error["errorMessage"].as_str().unwrap();
        assert!(
            message
                .starts_with("The Lambda runtime client detected an unexpected Node.js exit code.")
        );
        assert_eq!(client.wait().status.code(), Some(13));
    });
}

#[test]
fn the_context_has_every_field() {
    let source = "exports.handler = async (event, context) => {
  const { getRemainingTimeInMillis, w3c, ...plain } = context;
  return { plain, left: getRemainingTimeInMillis(), w3c: w3c(), trace: process.env._X_AMZN_TRACE_ID };
};";
    app(source, |pack, mut client| {
        let ask = |client: &mut Client, meta: &Meta<'_>| -> Value {
            match client.invoke_with("{}", meta) {
                Frame::Response(body) => serde_json::from_slice(&body).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        let full = Meta {
            deadline_ms: 1,
            trace_id: "Root=1-2-3",
            client_context: r#"{"custom":{"k":"v"},"w3c":{"traceparent":"00-1","other":"x"}}"#,
            identity: r#"{"cognitoIdentityId":"i","cognitoIdentityPoolId":"p"}"#,
        };
        let mut plain = json!({
            "functionVersion": "$LATEST", "functionName": "subject", "memoryLimitInMB": "512",
            "logGroupName": "/aws/lambda/subject",
            "logStreamName": "2026/01/31/[$LATEST]0123456789abcdef0123456789abcdef",
            "invokedFunctionArn": ARN, "awsRequestId": REQUEST_ID,
        });
        if has_callbacks(pack) {
            plain["callbackWaitsForEmptyEventLoop"] = json!(true);
        }
        let mut with_client = plain.clone();
        with_client["clientContext"] = json!({"custom": {"k": "v"}});
        with_client["identity"] = json!({"cognitoIdentityId": "i", "cognitoIdentityPoolId": "p"});
        let answer = ask(&mut client, &full);
        assert_eq!(answer["plain"], with_client, "{}", pack.name);
        assert_eq!(answer["w3c"], json!({"traceparent": "00-1"}));
        assert_eq!(answer["trace"], "Root=1-2-3");
        assert!(answer["left"].as_i64().unwrap() < 0);
        let answer = ask(&mut client, &Meta::default());
        assert_eq!(answer["plain"], plain, "{}", pack.name);
        assert!(answer["left"].as_i64().unwrap() > 0);
        assert_eq!(answer["trace"], Value::Null);
        let broken = Meta { client_context: "{", ..Meta::default() };
        let error = client.invoke_with("{}", &broken).error();
        let message = error["errorMessage"].as_str().unwrap();
        assert!(
            message.starts_with("Cannot parse ClientContext as json: SyntaxError: "),
            "{message}"
        );
    });
}

#[test]
fn logs_have_aws_formats() {
    let source = "
console.log('at init');
exports.handler = async () => {
  console.debug('d %s', 1);
  console.info('two\\nlines', { a: 1 });
  console.warn('w');
  console.error('e', new TypeError('bad'));
  console.log({ a: [1] });
};
";
    let files = [("app.js", source)];
    let run = |env: &[(&str, &str)], test: &dyn Fn(&Pack, Vec<String>)| {
        for pack in packs(Family::Nodejs) {
            let code = Code { files: &files, handler: "app.handler", env };
            let mut client = Client::ready(&pack, code);
            assert_eq!(client.invoke("1"), Frame::response("null"));
            let log = without_times(&client.end().log);
            test(&pack, log.lines().map(str::to_owned).collect());
        }
    };
    run(&[], &|pack, lines| {
        assert_eq!(lines[0], "TIME\tundefined\tINFO\tat init", "{}", pack.name);
        assert_eq!(lines[1], format!("TIME\t{REQUEST_ID}\tDEBUG\td 1"));
        assert_eq!(lines[2], format!("TIME\t{REQUEST_ID}\tINFO\ttwo\rlines {{ a: 1 }}"));
        assert_eq!(lines[3], format!("TIME\t{REQUEST_ID}\tWARN\tw"));
        let start = format!("TIME\t{REQUEST_ID}\tERROR\te TypeError: bad\r    at ");
        assert!(lines[4].starts_with(&start), "{}", lines[4]);
        assert_eq!(lines[5..], [format!("TIME\t{REQUEST_ID}\tINFO\t{{ a: [ 1 ] }}")]);
    });
    run(&[("AWS_LAMBDA_LOG_LEVEL", "WARN")], &|pack, lines| {
        assert_eq!(lines.len(), 2, "{} {lines:?}", pack.name);
    });
    run(&[("AWS_LAMBDA_LOG_FORMAT", "JSON")], &|pack, lines| {
        let records: Vec<Value> =
            lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records[0], json!({"timestamp": "TIME", "level": "INFO", "message": "at init"}));
        let expected = json!({
            "timestamp": "TIME", "level": "INFO", "requestId": REQUEST_ID,
            "message": "two\nlines { a: 1 }",
        });
        assert_eq!(records[2], expected, "{}", pack.name);
        assert_eq!(records[4]["errorType"], "TypeError");
        assert_eq!(records[4]["errorMessage"], "bad");
        assert_eq!(records[4]["stackTrace"][0], "TypeError: bad");
        assert_eq!(records[5]["message"], json!({"a": [1]}));
    });
}

#[test]
fn all_that_was_printed_is_out_before_the_answer() {
    let source = "
exports.handler = async (size) => {
  process.stderr.write('err ');
  process.stdout.write('no line end ');
  process.stdout.write(Buffer.from('bytes\\n'));
  console.table([1]);
  process.stdout.write('x'.repeat(size));
  process.stdout.end();
  require('child_process').execFileSync('/bin/echo', [' child'], { stdio: 'inherit' });
};
";
    app(source, |pack, mut client| {
        assert_eq!(client.invoke("300000"), Frame::response("null"), "{}", pack.name);
        let log = client.end().log;
        assert!(log.starts_with("err no line end bytes\n"), "{}", pack.name);
        assert!(log.len() > 300_000, "{} {}", pack.name, log.len());
        assert!(log.ends_with("x child\n"), "{}", pack.name);
    });
}

#[test]
fn large_payloads_pass_untouched() {
    app("exports.handler = async (event) => event;", |pack, mut client| {
        for size in [65_000, 65_536, 6 * 1024 * 1024] {
            let event = format!("\"é{}\"", "a".repeat(size));
            assert!(client.invoke(&event) == Frame::response(&event), "{} {size}", pack.name);
        }
        assert_eq!(client.invoke("1"), Frame::response("1"));
    });
}

#[test]
fn a_broken_protocol_ends_the_process() {
    for bytes in
        [&b"\x04\0\0\0\x02\0\0\0\0"[..], b"\xff\xff\xff\xff\x01", b"\x04\0\0\0\x01\x09\0\0\0"]
    {
        app("exports.handler = async (event) => event;", |pack, mut client| {
            client.send_raw(bytes);
            let ended = client.wait();
            assert_eq!(ended.status.code(), Some(1), "{}", pack.name);
            assert!(ended.log.contains("ProtocolError"), "{} {}", pack.name, ended.log);
        });
    }
}

#[test]
fn many_calls_stay_cheap() {
    for pack in packs(Family::Nodejs) {
        let files =
            [("app.js", "exports.handler = async () => ({ statusCode: 200, body: 'hi' });")];
        print_warm_cost(&pack, Code { files: &files, handler: "app.handler", env: &[] });
    }
}
