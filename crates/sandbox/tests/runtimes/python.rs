//! The Python client.

use gatemill_sandbox::runtime::Family;
use serde_json::json;

use crate::harness::{
    ARN, Client, Code, Frame, Meta, REQUEST_ID, packs, print_warm_cost, without_times,
};

const NBSP: &str = "\u{a0}";

fn app(source: &str, test: impl Fn(&str, Client)) {
    for pack in packs(Family::Python) {
        let files = [("app.py", source)];
        let code = Code { files: &files, handler: "app.handler", ..Code::default() };
        test(&pack.name, Client::ready(&pack, code));
    }
}

/// Runs `source` to an init error and gives its body and the log.
fn failed_init(code: Code<'_>, test: impl Fn(&str, serde_json::Value, String)) {
    for pack in packs(Family::Python) {
        let mut client = Client::start(&pack, code);
        let frame = client.next();
        assert!(matches!(frame, Frame::InitError(_)), "{}: {frame:?}", pack.name);
        let ended = client.wait();
        assert_eq!(ended.status.code(), Some(1));
        test(&pack.name, frame.error(), ended.log);
    }
}

fn keeps_unicode(name: &str) -> bool {
    name.strip_prefix("python3.").unwrap().parse::<u32>().unwrap() >= 12
}

#[test]
fn echoes_text_numbers_and_null() {
    app("def handler(event, context): return event", |name, mut client| {
        for event in
            ["null", "1.5", "0.0", "[]", r#"{"a": [1, {"b": "\\ \" \n"}]}"#, "12345678901234567890"]
        {
            assert_eq!(client.invoke(event), Frame::response(event), "{name}");
        }
        let plain = "\"é \u{1f600} \u{2028}\"";
        let escaped = r#""\u00e9 \ud83d\ude00 \u2028""#;
        let expected = if keeps_unicode(name) { plain } else { escaped };
        assert_eq!(client.invoke(plain), Frame::response(expected), "{name}");
        assert!(client.end().status.success());
    });
}

#[test]
fn results_are_marshalled_as_aws_does() {
    let source = "
import collections, decimal, enum
Point = collections.namedtuple('Point', 'x y')
class Color(enum.Enum):
    RED = 1
class Level(enum.IntEnum):
    LOW = 1
class Bag(dict):
    pass
def cyclic():
    a = []
    a.append(a)
    return a
CASES = {
    'decimal': lambda: {'a': decimal.Decimal('1.50'), 'b': [decimal.Decimal('1E+2')]},
    'nan': lambda: [decimal.Decimal('nan'), float('inf')],
    'point': lambda: [Point(1, [Point(2, 3)])],
    'bytes': lambda: {'body': b'abc', b'key': 1},
    'tuple': lambda: (1, (2, 3)),
    'bag': lambda: Bag(a=Bag(b=Point(1, 2))),
    'raw': lambda: b'not \\xff json',
    'int enum': lambda: Level.LOW,
    'keys': lambda: {1: 1, None: 2, True: 3, 1.5: 4},
    'set': lambda: {1},
    'enum': lambda: Color.RED,
    'cycle': cyclic,
    'tuple key': lambda: {(1, 2): 3},
}
def handler(event, context):
    return CASES[event]()
";
    app(source, |name, mut client| {
        let mut ask = |case: &str| client.invoke(&format!("\"{case}\""));
        let good: [(&str, &[u8]); 9] = [
            ("decimal", br#"{"a": 1.50, "b": [1E+2]}"#),
            ("nan", b"[NaN, Infinity]"),
            ("point", br#"[{"x": 1, "y": [{"x": 2, "y": 3}]}]"#),
            ("bytes", br#"{"body": "abc", "key": 1}"#),
            ("tuple", b"[1, [2, 3]]"),
            ("bag", br#"{"a": {"b": {"x": 1, "y": 2}}}"#),
            ("raw", b"not \xff json"),
            ("int enum", b"1"),
            ("keys", br#"{"1": 3, "null": 2, "1.5": 4}"#),
        ];
        for (case, expected) in good {
            assert_eq!(ask(case), Frame::Response(expected.to_vec()), "{name} {case}");
        }
        let bad = [
            ("set", "Object of type set is not JSON serializable"),
            ("enum", "Object of type Color is not JSON serializable"),
            ("cycle", "Circular reference detected"),
            ("tuple key", "keys must be str, int, float, bool or None, not tuple"),
        ];
        for (case, reason) in bad {
            let expected = json!({
                "errorMessage": format!("Unable to marshal response: {reason}"),
                "errorType": "Runtime.MarshalError", "requestId": REQUEST_ID, "stackTrace": [],
            });
            assert_eq!(ask(case).error(), expected, "{name} {case}");
        }
    });
}

#[test]
fn an_exception_is_answered_and_logged_and_the_process_lives() {
    let source = "class Broken(Exception):
    pass

def handler(event, context):
    print('before')
    inner(event)

def inner(event):
    raise Broken('no \u{e9} way\\nat all')
";
    app(source, |name, mut client| {
        let Frame::Error(body) = client.invoke("{}") else { panic!("{name}") };
        let e = if keeps_unicode(name) { "\u{e9}" } else { "\\u00e9" };
        assert_eq!(
            body,
            format!(
                "{{\"errorMessage\": \"no {e} way\\nat all\", \"errorType\": \"Broken\", \
                 \"requestId\": \"{REQUEST_ID}\", \"stackTrace\": [\
                 \"  File \\\"/var/task/app.py\\\", line 6, in handler\\n    inner(event)\\n\", \
                 \"  File \\\"/var/task/app.py\\\", line 9, in inner\\n    \
                 raise Broken('no {e} way\\\\nat all')\\n\"]}}"
            ),
            "{name}"
        );
        assert!(matches!(client.invoke("{}"), Frame::Error(_)));
        let log = client.end().log;
        let two = format!("{NBSP}{NBSP}");
        let record = format!(
            "before\n[ERROR] Broken: no \u{e9} way\rat all\rTraceback (most recent call last):\r\
             {two}File \"/var/task/app.py\", line 6, in handler\r{two}{two}inner(event)\r\
             {two}File \"/var/task/app.py\", line 9, in inner\r\
             {two}{two}raise Broken('no \u{e9} way\\nat all')\n"
        );
        assert_eq!(log, record.repeat(2), "{name}");
    });
}

#[test]
fn init_failures_have_aws_words() {
    let files = [
        ("app.py", "import absent"),
        ("empty.py", ""),
        ("syntax.py", "x = = 1\n"),
        ("raises.py", "x = {}\nx['a']\n"),
        ("dir/inner.py", ""),
    ];
    let cases = [
        (
            "app.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'absent'",
        ),
        (
            "lost.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'lost': No module named 'lost'",
        ),
        (
            "dir/lost.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'dir/lost': No module named 'dir.lost'",
        ),
        ("empty.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'empty'"),
        ("dir.inner.f", "Runtime.HandlerNotFound", "Handler 'f' missing on module 'dir.inner'"),
        (
            "handler",
            "Runtime.MalformedHandlerName",
            "Bad handler 'handler': not enough values to unpack (expected 2, got 1)",
        ),
        (
            "sys.exit",
            "Runtime.BuiltInModuleConflict",
            "Cannot use built-in module sys as a handler module",
        ),
    ];
    for (handler, kind, message) in cases {
        failed_init(Code { files: &files, handler, env: &[] }, |name, body, log| {
            let expected = json!({
                "errorMessage": message, "errorType": kind, "requestId": "", "stackTrace": [],
            });
            assert_eq!(body, expected, "{name}");
            let line = format!("[ERROR] {kind}: {message}\rTraceback (most recent call last):\n");
            assert_eq!(log, line, "{name}");
        });
    }
    failed_init(Code { files: &files, handler: "syntax.handler", env: &[] }, |name, body, _| {
        assert_eq!(body["errorType"], "Runtime.UserCodeSyntaxError");
        let message = body["errorMessage"].as_str().unwrap();
        assert!(message.starts_with("Syntax error in module 'syntax': "), "{name} {message}");
        assert!(message.ends_with("(syntax.py, line 1)"), "{name} {message}");
        let trace = "  File \"/var/task/syntax.py\" Line 1\n    x = = 1\n";
        assert_eq!(body["stackTrace"], json!([trace]), "{name}");
    });
    failed_init(Code { files: &files, handler: "raises.handler", env: &[] }, |name, body, _| {
        assert_eq!(body["errorType"], "KeyError");
        assert_eq!(body["errorMessage"], "'a'");
        let trace = body["stackTrace"].as_array().unwrap();
        assert!(trace[0].as_str().unwrap().contains("importlib"), "{name} {trace:?}");
        let last = "  File \"/var/task/raises.py\", line 2, in <module>\n    x['a']\n";
        assert_eq!(trace.last().unwrap(), last, "{name}");
    });
}

#[test]
fn exits_end_the_process_with_their_status() {
    let source = "
import os, sys
def handler(event, context):
    sys.stdout.write('last words')
    if event == 'abort':
        os.abort()
    sys.exit(event)
";
    for (event, code) in
        [("3", Some(3)), ("null", Some(0)), ("\"bye\"", Some(1)), ("\"abort\"", None)]
    {
        app(source, |name, mut client| {
            assert_eq!(client.invoke(event), Frame::End, "{name}");
            let ended = client.end();
            assert_eq!(ended.status.code(), code, "{name} {event}");
            let expected = code.map_or("", |_| "last words");
            assert!(ended.log.starts_with(expected), "{name} {:?}", ended.log);
        });
    }
    for pack in packs(Family::Python) {
        let files = [("app.py", "import sys\nsys.exit(4)")];
        let client = Client::start(&pack, Code { files: &files, handler: "app.handler", env: &[] });
        assert_eq!(client.wait().status.code(), Some(4));
    }
}

#[test]
fn the_context_has_every_field() {
    let source = "
import os
def handler(event, context):
    client = context.client_context
    return {
        'plain': [context.aws_request_id, context.invoked_function_arn, context.function_name,
                  context.function_version, context.memory_limit_in_mb, context.log_group_name,
                  context.log_stream_name, context.tenant_id, context.w3c()],
        'late': context.get_remaining_time_in_millis() == 0,
        'identity': [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id],
        'client': client and [client.custom, client.env, client.client and client.client.app_title],
        'trace': os.environ.get('_X_AMZN_TRACE_ID'),
        'logged': context.log('to the log\\n'),
    }
";
    app(source, |name, mut client| {
        let full = Meta {
            deadline_ms: 1,
            trace_id: "Root=1-2-3",
            client_context: r#"{"custom":{"k":"v"},"env":{"l":"de"},"client":{"app_title":"T"},
                "w3c":{"traceparent":"00-1","other":"x"}}"#,
            identity: r#"{"cognitoIdentityId":"i","cognitoIdentityPoolId":"p"}"#,
        };
        let ask = |client: &mut Client, meta: &Meta<'_>| -> serde_json::Value {
            match client.invoke_with("{}", meta) {
                Frame::Response(body) => serde_json::from_slice(&body).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        let plain = |w3c: serde_json::Value| {
            let stream = "2026/01/31/[$LATEST]0123456789abcdef0123456789abcdef";
            json!([
                REQUEST_ID,
                ARN,
                "subject",
                "$LATEST",
                "512",
                "/aws/lambda/subject",
                stream,
                null,
                w3c
            ])
        };
        let expected = json!({
            "plain": plain(json!({"traceparent": "00-1"})), "late": true, "identity": ["i", "p"],
            "client": [{"k": "v"}, {"l": "de"}, "T"], "trace": "Root=1-2-3", "logged": null,
        });
        assert_eq!(ask(&mut client, &full), expected, "{name}");
        let expected = json!({
            "plain": plain(json!({})), "late": false, "identity": [null, null],
            "client": null, "trace": null, "logged": null,
        });
        assert_eq!(ask(&mut client, &Meta::default()), expected, "{name}");
        let broken = Meta { client_context: "{", ..Meta::default() };
        let error = client.invoke_with("{}", &broken).error();
        assert_eq!(error["errorType"], "Runtime.LambdaContextUnmarshalError", "{name}");
        let message = error["errorMessage"].as_str().unwrap();
        assert!(message.starts_with("Unable to parse Client Context JSON: "), "{name} {message}");
        assert!(client.end().log.starts_with("to the log\nto the log\n"));
    });
}

#[test]
fn programs_learn_of_a_sampled_trace_and_traces_take_no_memory() {
    let source = "
import os, resource, subprocess
from gatemill_runtime import trace

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def handler(event, context):
    name = '_X_AMZN_TRACE_ID'
    said = subprocess.run(['sh', '-c', 'echo $' + name], capture_output=True, text=True).stdout
    seen = os.environ.get(name)
    before = peak()
    for n in range(event):
        trace.set('Root=1-2-%024d;Parent=%016d;Sampled=0' % (n, n))
    return [seen, said.strip(), peak() - before]
";
    app(source, |name, mut client| {
        let sampled = "Root=1-2-3;Sampled=1";
        for (trace_id, calls, told) in [
            ("Root=1-2-3;Sampled=0", 0, ""),
            (sampled, 0, sampled),
            ("Root=1;Sampled=0", 60_000, ""),
        ] {
            let meta = Meta { trace_id, ..Meta::default() };
            let answer = match client.invoke_with(&calls.to_string(), &meta) {
                Frame::Response(body) => {
                    serde_json::from_slice::<serde_json::Value>(&body).unwrap()
                }
                other => panic!("{other:?}"),
            };
            assert_eq!((&answer[0], &answer[1]), (&json!(trace_id), &json!(told)), "{name}");
            // The C library's list of past values would have grown by 7 MB.
            assert!(answer[2].as_u64().unwrap() < 2_000, "{name}: {answer}");
        }
    });
}

#[test]
fn logs_have_aws_formats() {
    let source = "
import logging
log = logging.getLogger('mine')
log.error('at init')
def handler(event, context):
    log.info('quiet')
    log.warning('two\\nlines %s', 1, extra={'order': 7})
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception('oh')
";
    let files = [("app.py", source)];
    let run = |env: &[(&str, &str)], test: &dyn Fn(&str, String)| {
        for pack in packs(Family::Python) {
            let code = Code { files: &files, handler: "app.handler", env };
            let mut client = Client::ready(&pack, code);
            assert_eq!(client.invoke("1"), Frame::response("null"));
            test(&pack.name, without_times(&client.end().log));
        }
    };
    run(&[], &|name, log| {
        let lines: Vec<_> = log.lines().map(str::to_owned).collect();
        assert_eq!(lines[0], "[ERROR]\tTIME\t\tat init", "{name}");
        assert_eq!(lines[1], format!("[WARNING]\tTIME\t{REQUEST_ID}\ttwo\rlines 1"), "{name}");
        let start = format!(
            "[ERROR]\tTIME\t{REQUEST_ID}\toh\rTraceback (most recent call last):\r  \
             File \"/var/task/app.py\", line 9, in handler\r    1 / 0\r"
        );
        assert!(lines[2].starts_with(&start), "{name} {:?}", lines[2]);
        assert_eq!(lines.len(), 3, "{name}");
    });
    let level = [("AWS_LAMBDA_LOG_LEVEL", "ERROR")];
    run(&level, &|name, log| assert!(!log.contains("two"), "{name} {log}"));
    let json_info = [("AWS_LAMBDA_LOG_FORMAT", "JSON"), ("AWS_LAMBDA_LOG_LEVEL", "INFO")];
    run(&json_info, &|name, log| {
        let records: Vec<serde_json::Value> =
            log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            records[1],
            json!({
                "timestamp": "TIME", "level": "INFO", "message": "quiet", "logger": "mine",
                "requestId": REQUEST_ID,
            }),
            "{name}"
        );
        assert_eq!(records[2]["message"], "two\nlines 1", "{name}");
        assert_eq!(records[2]["order"], 7, "{name}");
        let failure = &records[3];
        assert_eq!(failure["level"], "ERROR");
        assert_eq!(failure["errorType"], "ZeroDivisionError");
        assert_eq!(failure["errorMessage"], "division by zero");
        assert_eq!(failure["location"], "/var/task/app.py:handler:11");
        assert!(failure["stackTrace"][0].as_str().unwrap().contains("line 9"), "{failure}");
    });
}

#[test]
fn failures_are_logged_as_json_too() {
    for pack in packs(Family::Python) {
        let files = [("app.py", "def handler(e, c): raise ValueError('x')")];
        let env = [("AWS_LAMBDA_LOG_FORMAT", "JSON")];
        let mut client =
            Client::ready(&pack, Code { files: &files, handler: "app.handler", env: &env });
        let error = client.invoke("1").error();
        let log = without_times(&client.end().log);
        let mut record: serde_json::Value = serde_json::from_str(&log).unwrap();
        let fields = record.as_object_mut().unwrap();
        assert_eq!(fields.remove("timestamp"), Some(json!("TIME")));
        assert_eq!(fields.remove("level"), Some(json!("ERROR")));
        assert_eq!(record, error, "{}", pack.name);
    }
}

#[test]
fn all_that_was_printed_is_out_before_the_answer() {
    let source = "
import sys
def handler(event, context):
    sys.stderr.write('err ')
    sys.stdout.write('no line end')
    sys.stdout.buffer.write(b' bytes')
    print('x' * event)
    print('\\ud800 alone')
    sys.stdout = None
";
    app(source, |name, mut client| {
        assert_eq!(client.invoke("300000"), Frame::response("null"), "{name}");
        let log = client.end().log;
        assert!(log.contains("x\n\\ud800 alone\n"), "{name}");
        assert!(log.contains("err ") && log.contains("no line end") && log.contains(" bytes"));
        assert!(log.len() > 300_000);
    });
}

#[test]
fn large_payloads_pass_untouched() {
    app("def handler(event, context): return event", |name, mut client| {
        for size in [65_000, 65_530, 65_536, 6 * 1024 * 1024] {
            let event = format!("\"{}\"", "a".repeat(size));
            assert!(client.invoke(&event) == Frame::response(&event), "{name} {size}");
        }
        assert_eq!(client.invoke("1"), Frame::response("1"));
    });
}

#[test]
fn modules_are_found_where_aws_finds_them() {
    let files = [
        ("pkg/__init__.py", ""),
        ("pkg/mod.py", "from . import near\nimport far\ndef f(e, c): return [near.N, far.N]"),
        ("pkg/near.py", "N = 1"),
        ("far.py", "N = 2"),
        ("plain/mod.py", "import sys\ndef f(e, c): return sys.path"),
        ("extra.pth", "/somewhere/else\n/\n"),
        ("channel.py", "def f(e, c): return 'mine'"),
    ];
    for pack in packs(Family::Python) {
        let ask =
            |handler| Client::ready(&pack, Code { files: &files, handler, env: &[] }).invoke("{}");
        assert_eq!(ask("pkg.mod.f"), Frame::response("[1, 2]"));
        assert_eq!(ask("pkg/mod.f"), Frame::response("[1, 2]"));
        assert_eq!(ask("channel.f"), Frame::response("\"mine\""));
        let Frame::Response(body) = ask("plain/mod.f") else { panic!() };
        let paths: Vec<String> = serde_json::from_slice(&body).unwrap();
        let release = pack.version.release();
        let site =
            format!("/opt/python/lib/python{}.{}/site-packages", release.major, release.minor);
        assert!(
            !paths[0].is_empty() && paths[1..3] == [site, "/opt/python".to_owned()],
            "{paths:?}"
        );
        assert!(paths[3].contains("/runtimes/python-"), "{paths:?}");
        assert!(paths.contains(&"/".to_owned()), "{paths:?}");
    }
}

#[test]
fn a_broken_protocol_ends_the_process() {
    for bytes in
        [&b"\x04\0\0\0\x02\0\0\0\0"[..], b"\xff\xff\xff\xff\x01", b"\x04\0\0\0\x01\x09\0\0\0"]
    {
        app("def handler(event, context): return event", |name, mut client| {
            client.send_raw(bytes);
            let ended = client.wait();
            assert_eq!(ended.status.code(), Some(1), "{name}");
            assert!(ended.log.contains("ProtocolError"), "{name} {}", ended.log);
        });
    }
}

#[test]
fn many_calls_stay_cheap() {
    for pack in packs(Family::Python) {
        let files =
            [("app.py", "def handler(event, context): return {'statusCode': 200, 'body': 'hi'}")];
        print_warm_cost(&pack, Code { files: &files, handler: "app.handler", env: &[] });
    }
}
