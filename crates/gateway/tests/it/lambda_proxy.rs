//! Functions behind routes: the events that they get and what becomes of their answers.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gatemill_gateway::functions::{Answer, CallError};
use http::Request;
use serde_json::{Value, json};

use crate::world::{ACCOUNT, NOW, REGION, World};

#[tokio::test]
async fn the_event_of_format_2_0() {
    let world = World::new();
    world.functions.answers("f", "1");
    let api = world.function_api("POST /pets/{id}", "f", "2.0").await;
    let request = Request::post("/pets/a%20b?x=1&y=%C3%A4&x=2")
        .header("Content-Type", "application/json")
        .header("Cookie", "a=1; b=2")
        .header("X-Many", "1")
        .header("X-Many", "2")
        .header("Connection", "close, X-Private")
        .header("X-Private", "p")
        .header("User-Agent", "ua/1")
        .header("X-Forwarded-For", "198.51.100.7")
        .header("X-Amzn-Trace-Id", "Root=1-67891233-abcdef012345678912345678");
    let got = world.send(&api, request, r#"{"k":"ä"}"#).await;
    assert_eq!(got.status, 200);
    let event = world.functions.last_event();
    let host = format!("{api}.execute-api.localhost");
    let id = got.header("apigw-requestid")[0].to_owned();
    let expected = json!({
        "version": "2.0",
        "routeKey": "POST /pets/{id}",
        "rawPath": "/pets/a b",
        "rawQueryString": "x=1&y=%C3%A4&x=2",
        "cookies": ["a=1", "b=2"],
        "headers": {
            "content-length": "10",
            "content-type": "application/json",
            "host": format!("{host}:4566"),
            "user-agent": "ua/1",
            "x-amzn-trace-id": "Root=1-67891233-abcdef012345678912345678",
            "x-forwarded-for": "198.51.100.7, 192.0.2.1",
            "x-forwarded-port": "4566",
            "x-forwarded-proto": "http",
            "x-many": "1,2",
        },
        "queryStringParameters": {"x": "1,2", "y": "ä"},
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": api,
            "domainName": host,
            "domainPrefix": api,
            "http": {"method": "POST", "path": "/pets/a b", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                "userAgent": "ua/1"},
            "requestId": id,
            "routeKey": "POST /pets/{id}",
            "stage": "$default",
            "time": "22/Nov/2026:20:26:54 +0000",
            "timeEpoch": NOW.millis(),
        },
        "pathParameters": {"id": "a b"},
        "body": "{\"k\":\"ä\"}",
        "isBase64Encoded": false,
    });
    // The order is part of it.
    assert_eq!(event.to_string(), expected.to_string());
    assert_eq!((id.len(), id.ends_with('=')), (16, true));
}

#[tokio::test]
async fn a_bare_event_of_format_2_0_leaves_out_what_is_absent() {
    let world = World::new();
    world.functions.answers("f", "1");
    let api = world.function_api("$default", "f", "2.0").await;
    world.get(&api, "/").await;
    let event = world.functions.last_event();
    let keys: Vec<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "version",
        "routeKey",
        "rawPath",
        "rawQueryString",
        "headers",
        "requestContext",
        "isBase64Encoded",
    ];
    assert_eq!(keys, expected);
    let trace = event["headers"]["x-amzn-trace-id"].as_str().unwrap();
    assert_eq!((trace.len(), &trace[..7]), (40, "Root=1-"));
    assert_eq!(event["headers"]["content-length"], "0");
}

#[tokio::test]
async fn the_event_of_format_1_0() {
    let world = World::new();
    world.functions.answers("f", r#"{"statusCode":200}"#);
    let api = world.function_api("ANY /a/{proxy+}", "f", "1.0").await;
    let request = Request::put("/a/b%2Fc/d?x=1&x=2").header("x-many", "1").header("X-Many", "2");
    let got = world.send(&api, request, "").await;
    let (event, id) = (world.functions.last_event(), got.header("apigw-requestid")[0].to_owned());
    let host = format!("{api}.execute-api.localhost");
    let trace = event["headers"]["X-Amzn-Trace-Id"].clone();
    let single = json!({"Content-Length": "0", "Host": format!("{host}:4566"), "X-Amzn-Trace-Id": trace,
        "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Port": "4566", "X-Forwarded-Proto": "http", "x-many": "2"});
    let mut multi: Value = single.clone();
    for value in multi.as_object_mut().unwrap().values_mut() {
        *value = json!([value]);
    }
    multi["x-many"] = json!(["1", "2"]);
    let expected = json!({
        "version": "1.0",
        "resource": "/a/{proxy+}",
        "path": "/a/b/c/d",
        "httpMethod": "PUT",
        "headers": single,
        "multiValueHeaders": multi,
        "queryStringParameters": {"x": "2"},
        "multiValueQueryStringParameters": {"x": ["1", "2"]},
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": api,
            "authorizer": {"claims": null, "scopes": null},
            "domainName": host,
            "domainPrefix": api,
            "extendedRequestId": id,
            "httpMethod": "PUT",
            "identity": {"accessKey": null, "accountId": null, "caller": null, "cognitoAmr": null,
                "cognitoAuthenticationProvider": null, "cognitoAuthenticationType": null, "cognitoIdentityId": null,
                "cognitoIdentityPoolId": null, "principalOrgId": null, "sourceIp": "192.0.2.1", "user": null,
                "userAgent": null, "userArn": null},
            "path": "/a/b/c/d",
            "protocol": "HTTP/1.1",
            "requestId": id,
            "requestTime": "22/Nov/2026:20:26:54 +0000",
            "requestTimeEpoch": NOW.millis(),
            "resourceId": "ANY /a/{proxy+}",
            "resourcePath": "/a/{proxy+}",
            "stage": "$default",
        },
        "pathParameters": {"proxy": "b/c/d"},
        "stageVariables": null,
        "body": null,
        "isBase64Encoded": false,
    });
    assert_eq!(event.to_string(), expected.to_string());
}

#[tokio::test]
async fn a_named_stage_stands_before_the_path() {
    let world = World::new();
    world.functions.answers("f", "1");
    let api = world.function_api("GET /a", "f", "2.0").await;
    let stage = json!({"stageName": "dev", "autoDeploy": true, "stageVariables": {"v": "1"}});
    world.ok("POST", &format!("/v2/apis/{api}/stages"), stage).await;
    assert_eq!(world.get(&api, "/dev/a").await.status, 200);
    let event = world.functions.last_event();
    assert_eq!(event["rawPath"], "/dev/a");
    assert_eq!(event["requestContext"]["http"]["path"], "/dev/a");
    assert_eq!(event["requestContext"]["stage"], "dev");
    assert_eq!(event["stageVariables"], json!({"v": "1"}));

    // By path, the stage is always named, and `$default` does not show.
    for (path, raw) in [
        (format!("/_aws/execute-api/{api}/dev/a"), "/dev/a"),
        (format!("/execute-api/{api}/$default/a"), "/a"),
        (format!("/_aws/execute-api/{}/%24default/a", api.to_uppercase()), "/a"),
    ] {
        let request = Request::get(path).header("host", "box:4566").body("".into()).unwrap();
        assert_eq!(world.pass(request).await.status, 200);
        let event = world.functions.last_event();
        assert_eq!(event["rawPath"], raw);
        assert_eq!(event["requestContext"]["domainName"], format!("{api}.execute-api.localhost"));
    }
    let request = Request::get(format!("/_aws/execute-api/{api}/a")).body("".into()).unwrap();
    assert_eq!(world.pass(request).await.status, 404);
}

#[tokio::test]
async fn a_route_named_like_a_stage_is_hidden_by_it() {
    let world = World::new();
    world.functions.answers("f", "1");
    let api = world.function_api("GET /dev", "f", "2.0").await;
    assert_eq!(world.get(&api, "/dev").await.status, 200);
    world.stage(&api, "dev").await;
    assert_eq!(world.get(&api, "/dev").await.status, 404);
    assert_eq!(world.get(&api, "/dev/dev").await.status, 200);
}

#[tokio::test]
async fn bodies_are_text_or_base64() {
    let world = World::new();
    world.functions.answers("f", "1");
    let api = world.function_api("POST /", "f", "2.0").await;
    let check = async |headers: &[(&str, &str)], body: &[u8], text: bool| {
        let request = headers
            .iter()
            .fold(Request::post("/"), |request, (name, value)| request.header(*name, *value));
        assert_eq!(world.send(&api, request, body.to_vec()).await.status, 200);
        let event = world.functions.last_event();
        let (sent, base64) =
            (event["body"].as_str().unwrap(), event["isBase64Encoded"].as_bool().unwrap());
        assert_eq!(base64, !text, "{headers:?}");
        let bytes = if base64 { STANDARD.decode(sent).unwrap() } else { sent.as_bytes().to_vec() };
        assert_eq!(bytes, body);
    };
    check(&[("content-type", "text/html")], b"x", true).await;
    check(&[("content-type", "application/json; charset=utf-8")], "ä".as_bytes(), true).await;
    check(&[("content-type", "application/vnd.api+json")], b"{}", true).await;
    check(&[("content-type", "application/x-www-form-urlencoded")], b"a=b", false).await;
    check(&[("content-type", "application/octet-stream; charset=utf-8")], b"x", true).await;
    check(&[("content-type", "image/png")], b"\x89PNG\0\xff", false).await;
    check(&[("content-type", "text/plain")], b"\xff\xfe", false).await;
    check(&[("content-type", "text/plain"), ("content-encoding", "gzip")], b"x", false).await;
    check(&[], b"x", false).await;
}

struct Case {
    payload: &'static str,
    status: u16,
    content_type: &'static str,
    body: &'static str,
}

async fn check_answers(format: &str, cases: &[Case]) {
    let world = World::new();
    let api = world.function_api("$default", "f", format).await;
    for case in cases {
        world.functions.answers("f", case.payload);
        let got = world.get(&api, "/").await;
        let expected = (case.status, vec![case.content_type], case.body);
        let content_type = got.header("content-type");
        assert_eq!(
            (got.status.as_u16(), content_type, got.text()),
            expected,
            "{format} {}",
            case.payload
        );
    }
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain;charset=UTF-8";
const FAILED: &str = r#"{"message":"Internal Server Error"}"#;

#[tokio::test]
async fn answers_of_format_2_0() {
    let case = |payload, status, content_type, body| Case { payload, status, content_type, body };
    check_answers(
        "2.0",
        &[
            case(r#""Hello""#, 200, JSON, "Hello"),
            case(r#"{"body":"data"}"#, 200, JSON, r#"{"body":"data"}"#),
            case("[1, 2]", 200, JSON, "[1, 2]"),
            case("null", 200, JSON, "null"),
            case("3.5", 200, JSON, "3.5"),
            case(r#"{"statusCode":null,"a":1}"#, 200, JSON, r#"{"statusCode":null,"a":1}"#),
            case(r#"{"statusCode":201}"#, 201, TEXT, ""),
            case(r#"{"statusCode":"201","body":"x"}"#, 201, TEXT, "x"),
            case(r#"{"statusCode":200,"body":{"a":1}}"#, 200, TEXT, r#"{"a":1}"#),
            case(r#"{"statusCode":200,"body":null,"headers":null}"#, 200, TEXT, ""),
            case(r#"{"statusCode":200,"wrong":"v","body":"x"}"#, 200, TEXT, "x"),
            case(r#"{"statusCode":200,"body":"eA==","isBase64Encoded":true}"#, 200, TEXT, "x"),
            case(
                r#"{"statusCode":200,"headers":{"Content-Type":"a/b"},"body":"x"}"#,
                200,
                "a/b",
                "x",
            ),
            case(
                r#"{"statusCode":200,"headers":{"n":1,"b":true,"z":null},"body":"x"}"#,
                200,
                TEXT,
                "x",
            ),
            case(r#"{"statusCode":200,"body":"!","isBase64Encoded":true}"#, 500, JSON, FAILED),
            case(r#"{"statusCode":"x"}"#, 500, JSON, FAILED),
            case(r#"{"statusCode":100}"#, 500, JSON, FAILED),
            case(r#"{"statusCode":70000}"#, 500, JSON, FAILED),
            case(r#"{"statusCode":200,"headers":{"a b":"c"}}"#, 500, JSON, FAILED),
            case(r#"{"statusCode":200,"headers":{"a":"b\nc: d"}}"#, 500, JSON, FAILED),
            case(r#"{"statusCode":200,"headers":{"a":["b"]}}"#, 500, JSON, FAILED),
            case(r#"{"statusCode":200,"cookies":"a"}"#, 500, JSON, FAILED),
            case("{\"statusCode\":200", 500, JSON, FAILED),
            case("", 500, JSON, FAILED),
        ],
    )
    .await;
}

#[tokio::test]
async fn answers_of_format_1_0() {
    let case = |payload, status, content_type, body| Case { payload, status, content_type, body };
    check_answers(
        "1.0",
        &[
            case(r#"{"statusCode":200,"body":"x"}"#, 200, TEXT, "x"),
            case(r#"{"headers":{"a":"b"}}"#, 200, TEXT, ""),
            case(r#"{"statusCode":"201"}"#, 201, TEXT, ""),
            case(r#"{"statusCode":200,"headers":null,"body":null}"#, 200, TEXT, ""),
            case(r#"{"statusCode":200,"body":"eA==","isBase64Encoded":true}"#, 200, TEXT, "x"),
            case(r#"{"statusCode":200,"wrongValue":"value"}"#, 500, JSON, FAILED),
            case(r#"{"statusCode":200,"cookies":["a"]}"#, 500, JSON, FAILED),
            case(r#"{"statusCode":"test"}"#, 500, JSON, FAILED),
            case(r#"{"statusCode":200,"multiValueHeaders":{"h":"v"}}"#, 500, JSON, FAILED),
            case(r#"{"statusCode":200,"body":{"a":1}}"#, 500, JSON, FAILED),
            case(r#""justAString""#, 500, JSON, FAILED),
            case("null", 500, JSON, FAILED),
        ],
    )
    .await;
}

#[tokio::test]
async fn headers_and_cookies_of_answers() {
    let world = World::new();
    let api = world.function_api("$default", "f", "2.0").await;
    let payload = r#"{"statusCode":200,"headers":{"X-A":"1","Connection":"x-private","X-Private":"p",
        "Content-Length":"999","Transfer-Encoding":"chunked","bool":true},"cookies":["a=1; Secure","b=2"],"body":"x"}"#;
    world.functions.answers("f", payload);
    let got = world.get(&api, "/").await;
    assert_eq!(got.header("set-cookie"), ["a=1; Secure", "b=2"]);
    assert_eq!((got.header("x-a"), got.header("bool")), (vec!["1"], vec!["true"]));
    for gone in ["connection", "x-private", "content-length", "transfer-encoding"] {
        assert!(got.header(gone).is_empty(), "{gone}");
    }
    let api = world.function_api("$default", "g", "1.0").await;
    let payload = r#"{"headers":{"test-multi":"value-solo"},"multiValueHeaders":{"tesT-Multi":["value-multi"]}}"#;
    world.functions.answers("g", payload);
    assert_eq!(world.get(&api, "/").await.header("test-multi"), ["value-multi", "value-solo"]);
}

#[tokio::test]
async fn an_answer_without_a_body_has_none() {
    let world = World::new();
    let api = world.function_api("$default", "f", "2.0").await;
    for status in [204, 304] {
        world.functions.answers("f", &format!(r#"{{"statusCode":{status},"body":"x"}}"#));
        let got = world.get(&api, "/").await;
        assert_eq!((got.status.as_u16(), got.text()), (status, ""));
    }
}

#[tokio::test]
async fn failures_are_those_of_aws() {
    let world = World::new();
    let unavailable = r#"{"message":"Service Unavailable"}"#;
    let too_large = r#"{"message":"Request Entity Too Large"}"#;
    let cases = [
        (Err(CallError::NotFound), 500, FAILED),
        (Err(CallError::Unavailable("x".to_owned())), 500, FAILED),
        (Err(CallError::Throttled), 503, unavailable),
        (Err(CallError::TooLarge), 413, too_large),
        (Ok(Answer { payload: r#"{"errorMessage":"x"}"#.into(), failed: true }), 500, FAILED),
    ];
    let api = world.function_api("$default", "f", "2.0").await;
    for (answer, status, body) in cases {
        world.functions.define("f", move |_| answer.clone());
        let got = world.get(&api, "/").await;
        assert_eq!((got.status.as_u16(), got.text()), (status, body));
        assert_eq!(got.header("content-type"), [JSON]);
        assert_eq!(got.header("apigw-requestid").len(), 1);
    }
    let counts = world.gateway.counts();
    assert_eq!((counts.requests, counts.client_errors, counts.server_errors), (5, 1, 4));
}

#[tokio::test]
async fn the_permission_is_asked_for_the_route() {
    let world = World::new();
    world.functions.answers("f", "1");
    world.functions.answers("denied", "1");
    for (key, method, path, resource) in [
        ("GET /pets/{id}", "GET", "/pets/1", "$default/GET/pets/{id}"),
        ("ANY /{proxy+}", "PUT", "/a/b", "$default/*/{proxy+}"),
        ("$default", "GET", "/a", "$default/$default"),
        ("GET /", "GET", "/", "$default/GET/"),
    ] {
        let api = world.function_api(key, "f", "2.0").await;
        let got = world.request(&api, Request::builder().method(method).uri(path)).await;
        assert_eq!(got.status, 200);
        let asked = world.functions.asked.lock().unwrap().last().cloned().unwrap();
        assert_eq!(asked, format!("arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}/{resource}"));
    }
    world.functions.deny("denied");
    let api = world.function_api("$default", "denied", "2.0").await;
    let got = world.get(&api, "/").await;
    assert_eq!((got.status.as_u16(), got.text()), (500, FAILED));
    assert_eq!(world.functions.events.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_function_that_takes_too_long_is_unavailable() {
    let world = World::new();
    let api = world.function_api("$default", "never", "2.0").await;
    let started = tokio::time::Instant::now();
    let got = world.get(&api, "/").await;
    assert_eq!((got.status.as_u16(), got.text()), (503, r#"{"message":"Service Unavailable"}"#));
    assert_eq!(started.elapsed().as_secs(), 30);
}

#[tokio::test]
async fn a_stage_variable_names_the_function() {
    let world = World::new();
    world.functions.answers("blue", "1");
    let api = world.function_api("$default", "${stageVariables.fn}", "2.0").await;
    assert_eq!(world.get(&api, "/").await.text(), FAILED);
    let path = format!("/v2/apis/{api}/stages/%24default");
    world.ok("PATCH", &path, json!({"stageVariables": {"fn": "blue"}})).await;
    assert_eq!(world.get(&api, "/").await.text(), "1");
}

#[tokio::test]
async fn throttles_hold_and_survive_a_change() {
    let world = World::new();
    world.functions.answers("f", "1");
    let api = world.function_api("GET /a", "f", "2.0").await;
    let path = format!("/v2/apis/{api}/stages/%24default");
    let limits = json!({"routeSettings": {"GET /a": {"throttlingBurstLimit": 2, "throttlingRateLimit": 1.0}}});
    world.ok("PATCH", &path, limits).await;
    assert_eq!(world.get(&api, "/a").await.status, 200);
    world.ok("PATCH", &path, json!({"description": "changed"})).await;
    assert_eq!(world.get(&api, "/a").await.status, 200);
    let got = world.get(&api, "/a").await;
    assert_eq!((got.status.as_u16(), got.text()), (429, r#"{"message":"Too Many Requests"}"#));
}

#[tokio::test]
async fn a_disabled_endpoint_is_not_found() {
    let world = World::new();
    world.functions.answers("f", "1");
    let api = world.function_api("$default", "f", "2.0").await;
    let path = format!("/v2/apis/{api}");
    world.ok("PATCH", &path, json!({"disableExecuteApiEndpoint": true})).await;
    let got = world.get(&api, "/").await;
    assert_eq!((got.status.as_u16(), got.text()), (404, r#"{"message":"Not Found"}"#));
    world.ok("PATCH", &path, json!({"disableExecuteApiEndpoint": false})).await;
    assert_eq!(world.get(&api, "/").await.status, 200);
}

#[tokio::test]
async fn a_route_without_an_integration_is_an_error() {
    let world = World::new();
    let api = world.api().await;
    world.ok("POST", &format!("/v2/apis/{api}/routes"), json!({"routeKey": "GET /"})).await;
    assert_eq!(world.get(&api, "/").await.text(), FAILED);
}

#[tokio::test]
async fn cors_is_answered_by_the_gateway() {
    let world = World::new();
    let payload = r#"{"statusCode":200,"headers":{"Access-Control-Allow-Origin":"mine","access-control-max-age":"1"}}"#;
    world.functions.answers("f", payload);
    let api = world.function_api("GET /a", "f", "2.0").await;
    let path = format!("/v2/apis/{api}");
    let cors = json!({"allowOrigins": ["https://a.example", "http://*"], "allowMethods": ["GET", "PUT"],
        "allowHeaders": ["x-a", "x-b"], "exposeHeaders": ["x-c"], "maxAge": 60, "allowCredentials": true});
    world.ok("PATCH", &path, json!({"corsConfiguration": cors})).await;
    let ask = async |method: &str, path: &str, origin: Option<&str>, asked: Option<&str>| {
        let mut request = Request::builder().method(method).uri(path);
        request =
            origin.into_iter().fold(request, |request, origin| request.header("Origin", origin));
        request =
            asked.into_iter().fold(request, |r, m| r.header("Access-Control-Request-Method", m));
        world.request(&api, request).await
    };
    let cors_of = |got: &crate::world::Got| {
        let mut found: Vec<_> = got
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        found.retain(|line| line.starts_with("access-control") || line.starts_with("vary"));
        found.sort();
        found
    };
    let allow = "access-control-allow-origin: https://a.example";
    let (credentials, expose, vary) = (
        "access-control-allow-credentials: true",
        "access-control-expose-headers: x-c",
        "vary: Origin",
    );
    // A preflight needs no route.
    let got = ask("OPTIONS", "/none", Some("https://a.example"), Some("GET")).await;
    assert_eq!((got.status.as_u16(), got.text()), (204, ""));
    assert_eq!(got.header("apigw-requestid").len(), 1);
    let preflight = [
        credentials,
        "access-control-allow-headers: x-a,x-b",
        "access-control-allow-methods: GET,PUT",
        allow,
        expose,
        "access-control-max-age: 60",
        vary,
    ];
    assert_eq!(cors_of(&got), preflight);
    // One of a stranger gets no header.
    let got = ask("OPTIONS", "/a", Some("https://b.example"), Some("GET")).await;
    assert_eq!((got.status.as_u16(), cors_of(&got)), (204, vec![]));
    // What is no whole preflight goes to the routes.
    assert_eq!(ask("OPTIONS", "/a", Some("https://a.example"), None).await.status, 404);
    assert_eq!(ask("OPTIONS", "/a", None, Some("GET")).await.status, 404);
    // The function's own headers are replaced.
    assert_eq!(
        cors_of(&ask("GET", "/a", Some("https://a.example"), None).await),
        [credentials, allow, expose, vary]
    );
    assert_eq!(
        cors_of(&ask("GET", "/a", Some("http://any"), None).await)[1],
        "access-control-allow-origin: http://any"
    );
    assert!(cors_of(&ask("GET", "/a", Some("https://b.example"), None).await).is_empty());
    assert!(cors_of(&ask("GET", "/a", None, None).await).is_empty());
    // Without a configuration they pass.
    world.call("DELETE", &format!("{path}/cors"), Value::Null).await;
    let passed = cors_of(&ask("GET", "/a", Some("https://b.example"), None).await);
    assert_eq!(passed, ["access-control-allow-origin: mine", "access-control-max-age: 1"]);
    assert_eq!(ask("OPTIONS", "/a", Some("https://a.example"), Some("GET")).await.status, 404);
    // Any origin.
    world.ok("PATCH", &path, json!({"corsConfiguration": {"allowOrigins": ["*"]}})).await;
    assert_eq!(
        cors_of(&ask("GET", "/a", Some("https://b.example"), None).await),
        ["access-control-allow-origin: *"]
    );
}
