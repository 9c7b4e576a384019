//! What requests leave behind: access logs, usage, counts; and the limits of accounts.

use std::sync::Arc;

use gatemill_gateway::{Settings, UsageRecord};
use gatemill_store::Store;
use http::Request;
use serde_json::{Value, json};

use crate::{
    http_proxy::echo,
    world::{ACCOUNT, REGION, World},
};

fn log(format: &str) -> Value {
    json!({"accessLogSettings": {"destinationArn": format!("arn:aws:logs:{REGION}:{ACCOUNT}:log-group:access"),
        "format": format}})
}

#[tokio::test]
async fn one_line_for_each_request() {
    let world = World::new();
    world.work();
    world.functions.answers("f", r#"{"statusCode": 201, "body": "four"}"#);
    let api = world.function_api("GET /p/{id}", "f", "2.0").await;
    let stage = format!("/v2/apis/{api}/stages/%24default");
    let format = "$context.status $context.httpMethod $context.path $context.routeKey $context.responseLength \
        $context.integrationStatus $context.stage $context.apiId $context.accountId $context.protocol \
        $context.identity.sourceIp \"$context.identity.userAgent\" $context.error.message $context.requestTimeEpoch \
        $context.domainName $context.nothing $context.requestId";
    let set = world.ok("PATCH", &stage, log(format)).await;
    assert_eq!(set["accessLogSettings"]["format"], format);
    let got = world.request(&api, Request::get("/p/7").header("User-Agent", "a\"b")).await;
    assert_eq!(got.status, 201);
    let missing = world.get(&api, "/nowhere").await;
    world.gateway.flush().await.unwrap();
    let lines = world.lines.0.lock().unwrap().clone();
    let (first, second) = (got.header("apigw-requestid")[0], missing.header("apigw-requestid")[0]);
    let to = format!("access {api}/$default/2026-11-22");
    assert_eq!(
        lines,
        [
            (
                to.clone(),
                format!(
                    "201 GET /p/7 GET /p/{{id}} 4 200 $default {api} {ACCOUNT} HTTP/1.1 192.0.2.1 \"a\\\"b\" - \
            1795379214123 {api}.execute-api.localhost - {first}"
                )
            ),
            (
                to,
                format!(
                    "404 GET /nowhere - 23 - $default {api} {ACCOUNT} HTTP/1.1 192.0.2.1 \"-\" Not Found 1795379214123 \
            {api}.execute-api.localhost - {second}"
                )
            ),
        ]
    );
    world.ok("DELETE", &format!("{stage}/accesslogsettings"), Value::Null).await;
    assert_eq!(world.get(&api, "/p/7").await.status, 201);
    world.gateway.flush().await.unwrap();
    assert_eq!(world.lines.0.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn the_length_of_a_streamed_answer_is_known_at_its_end() {
    let world = World::new();
    world.work();
    let address = echo().await;
    let api = world.http_api("GET /x", &format!("http://{address}/y"), "GET").await;
    world
        .ok(
            "PATCH",
            &format!("/v2/apis/{api}/stages/%24default"),
            log("$context.responseLength $context.requestId"),
        )
        .await;
    let got = world.get(&api, "/x").await;
    world.gateway.flush().await.unwrap();
    let lines = world.lines.0.lock().unwrap().clone();
    assert_eq!(lines[0].1, format!("{} {}", got.text().len(), got.header("apigw-requestid")[0]));
}

#[tokio::test]
async fn logs_that_are_none_are_refused() {
    let world = World::new();
    let api = world.api().await;
    let stage = format!("/v2/apis/{api}/stages/%24default");
    let set = |destination: String, format: &'static str| {
        let settings =
            json!({"accessLogSettings": {"destinationArn": destination, "format": format}});
        let (world, stage) = (&world, &stage);
        async move { world.call("PATCH", stage, settings).await.0 }
    };
    let id = "$context.requestId";
    assert_eq!(set(format!("arn:aws:logs:{REGION}:{ACCOUNT}:log-group:g:*"), id).await, 200);
    assert_eq!(
        set(format!("arn:aws:logs:{REGION}:{ACCOUNT}:log-group:g"), "$context.status").await,
        400
    );
    assert_eq!(set(format!("arn:aws:logs:{REGION}:999999999999:log-group:g"), id).await, 400);
    assert_eq!(set("group".to_owned(), id).await, 400);
    assert_eq!(
        set("arn:aws:firehose:r:1:deliverystream/amazon-apigateway-x".to_owned(), id).await,
        501
    );
}

#[tokio::test]
async fn usage_is_counted_and_kept() {
    let store = Store::memory();
    let world = World::over(store.clone(), gatemill_gateway::Egress::default());
    world.work();
    world.functions.answers("f", r#"{"statusCode": 200, "body": "12345"}"#);
    let api = world.function_api("GET /p", "f", "2.0").await;
    for _ in 0..3 {
        world.get(&api, "/p").await;
    }
    world.get(&api, "/none").await;
    world.gateway.flush().await.unwrap();
    world.gateway.flush().await.unwrap();
    let usage = world.gateway.usage(ACCOUNT).unwrap();
    let (metered, _, record) = &usage[0];
    assert_eq!((metered.api.as_str(), metered.stage.as_str()), (api.as_str(), "$default"));
    let bytes_out = 3 * 5 + r#"{"message":"Not Found"}"#.len() as u64;
    assert_eq!(*record, UsageRecord { calls: 4, bytes_out, ..UsageRecord::default() });
    // Another server over the same store adds to it.
    let again = World::over(store, gatemill_gateway::Egress::default());
    again.work();
    again.functions.answers("f", r#"{"statusCode": 200, "body": "12345"}"#);
    again.get(&api, "/p").await;
    again.gateway.flush().await.unwrap();
    assert_eq!(again.gateway.usage(ACCOUNT).unwrap()[0].2.calls, 5);

    let stage = format!("/v2/apis/{api}/stages/%24default");
    let set = world
        .ok("PATCH", &stage, json!({"routeSettings": {"GET /p": {"detailedMetricsEnabled": true}}}))
        .await;
    assert_eq!(set["routeSettings"]["GET /p"]["detailedMetricsEnabled"], true);
    world.get(&api, "/p").await;
    let totals = world.gateway.totals();
    let route = totals.iter().find(|(metered, _)| metered.route.is_some()).unwrap();
    assert_eq!((route.0.route.as_deref(), route.1.calls), (Some("GET /p"), 1));
    let stage = totals.iter().find(|(metered, _)| metered.route.is_none()).unwrap();
    assert_eq!((stage.1.calls, stage.1.client_errors), (5, 1));
}

#[tokio::test]
async fn an_account_has_a_limit_that_its_apis_share() {
    let settings =
        Settings { account_rate: Some(1.0), account_burst: Some(3), ..Settings::default() };
    let functions = Arc::default();
    let world = World::with(Store::memory(), functions, Arc::default(), settings);
    world.functions.answers("f", "1");
    let (one, two) = (
        world.function_api("GET /", "f", "2.0").await,
        world.function_api("GET /", "f", "2.0").await,
    );
    let mut statuses = Vec::new();
    for api in [&one, &two, &one, &two] {
        statuses.push(world.get(api, "/").await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
    // A change of an API does not fill the bucket.
    world
        .ok("PATCH", &format!("/v2/apis/{one}/stages/%24default"), json!({"description": "d"}))
        .await;
    let got = world.get(&one, "/").await;
    assert_eq!((got.status.as_u16(), got.text()), (429, r#"{"message":"Too Many Requests"}"#));
}
