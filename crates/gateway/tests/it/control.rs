//! The operations: what they answer, what they refuse, and in which words.

use gatemill_store::Store;
use serde_json::{Value, json};

use crate::world::{ACCOUNT, REGION, World, arn};

fn not_found(message: &str) -> (u16, &str, &str) {
    (404, "NotFoundException", message)
}

fn bad(message: &str) -> (u16, &str, &str) {
    (400, "BadRequestException", message)
}

async fn check_error(world: &World, call: (&str, &str, Value), expected: (u16, &str, &str)) {
    let (method, path, body) = call;
    let (status, answer) = world.call(method, path, body.clone()).await;
    let (code, message) = (answer["code"].as_str(), answer["message"].as_str());
    let (expected_status, expected_code, expected_message) = expected;
    assert_eq!(
        (status, code, message),
        (expected_status, Some(expected_code), Some(expected_message)),
        "{method} {path} {body}"
    );
}

#[tokio::test]
async fn an_api_has_every_default() {
    let world = World::new();
    let made = world.ok("POST", "/v2/apis", json!({"name": "n", "protocolType": "HTTP"})).await;
    let id = made["apiId"].as_str().unwrap();
    let expected = json!({
        "apiEndpoint": format!("http://{id}.execute-api.localhost:4566"),
        "apiId": id,
        "apiKeySelectionExpression": "$request.header.x-api-key",
        "createdDate": "2026-11-22T20:26:54Z",
        "disableExecuteApiEndpoint": false,
        "ipAddressType": "ipv4",
        "name": "n",
        "protocolType": "HTTP",
        "routeSelectionExpression": "$request.method $request.path",
        "tags": {},
    });
    assert_eq!(id.len(), 10);
    assert_eq!(made, expected);
    assert_eq!(world.ok("GET", &format!("/v2/apis/{id}"), Value::Null).await, expected);
    let list = world.ok("GET", "/v2/apis", Value::Null).await;
    assert_eq!(list, json!({"items": [expected]}));
    let (status, _) = world.call("DELETE", &format!("/v2/apis/{id}"), Value::Null).await;
    assert_eq!(status, 204);
    assert_eq!(world.ok("GET", "/v2/apis", Value::Null).await, json!({"items": []}));
}

#[tokio::test]
async fn an_api_is_updated_member_by_member() {
    let world = World::new();
    let cors = json!({"allowOrigins": ["*"], "maxAge": 5});
    let made = json!({"name": "n", "protocolType": "HTTP", "description": "d", "version": "1", "tags": {"a": "b"},
        "corsConfiguration": cors, "routeSelectionExpression": "${request.method} ${request.path}"});
    let made = world.ok("POST", "/v2/apis", made).await;
    let path = format!("/v2/apis/{}", made["apiId"].as_str().unwrap());
    let updated = world.ok("PATCH", &path, json!({"name": "m", "description": ""})).await;
    assert_eq!(updated["name"], "m");
    assert_eq!(updated["description"], Value::Null);
    assert_eq!((&updated["version"], &updated["corsConfiguration"]), (&json!("1"), &cors));
    let (status, _) = world.call("DELETE", &format!("{path}/cors"), Value::Null).await;
    assert_eq!(status, 204);
    let got = world.ok("GET", &path, Value::Null).await;
    assert_eq!(got["corsConfiguration"], Value::Null);
    assert_eq!(got["tags"], json!({"a": "b"}));
}

#[tokio::test]
async fn quick_create_makes_everything_and_marks_it() {
    let world = World::new();
    let made = json!({"name": "q", "protocolType": "HTTP", "target": arn("f")});
    let api = world.ok("POST", "/v2/apis", made).await["apiId"].as_str().unwrap().to_owned();
    let path = format!("/v2/apis/{api}");
    let routes = world.ok("GET", &format!("{path}/routes"), Value::Null).await;
    let integrations = world.ok("GET", &format!("{path}/integrations"), Value::Null).await;
    let stages = world.ok("GET", &format!("{path}/stages"), Value::Null).await;
    let deployments = world.ok("GET", &format!("{path}/deployments"), Value::Null).await;
    let integration = &integrations["items"][0];
    let id = integration["integrationId"].as_str().unwrap();
    assert_eq!(
        *integration,
        json!({"apiGatewayManaged": true, "connectionType": "INTERNET", "integrationId": id,
            "integrationMethod": "POST", "integrationType": "AWS_PROXY", "integrationUri": arn("f"),
            "payloadFormatVersion": "2.0", "timeoutInMillis": 30000})
    );
    let route = &routes["items"][0];
    assert_eq!(
        *route,
        json!({"apiGatewayManaged": true, "apiKeyRequired": false, "authorizationType": "NONE",
            "routeId": route["routeId"], "routeKey": "$default", "target": format!("integrations/{id}")})
    );
    let deployment = deployments["items"][0]["deploymentId"].as_str().unwrap();
    assert_eq!(
        stages["items"][0],
        json!({"apiGatewayManaged": true, "autoDeploy": true, "createdDate": "2026-11-22T20:26:54Z",
            "defaultRouteSettings": {"detailedMetricsEnabled": false}, "deploymentId": deployment,
            "lastDeploymentStatusMessage": format!("Successfully deployed stage with deployment ID '{deployment}'"),
            "lastUpdatedDate": "2026-11-22T20:26:54Z", "routeSettings": {}, "stageName": "$default",
            "stageVariables": {}, "tags": {}})
    );
    assert_eq!(
        deployments["items"][0],
        json!({"autoDeployed": true, "createdDate": "2026-11-22T20:26:54Z", "deploymentId": deployment,
            "deploymentStatus": "DEPLOYED"})
    );
    let refused =
        (400, "BadRequestException", "An integration managed by API Gateway cannot be deleted.");
    check_error(&world, ("DELETE", &format!("{path}/integrations/{id}"), Value::Null), refused)
        .await;

    let update = json!({"target": "https://example.com", "routeKey": "GET /x"});
    world.ok("PATCH", &path, update).await;
    let integration = world.ok("GET", &format!("{path}/integrations/{id}"), Value::Null).await;
    assert_eq!(
        (
            &integration["integrationType"],
            &integration["integrationMethod"],
            &integration["payloadFormatVersion"]
        ),
        (&json!("HTTP_PROXY"), &json!("ANY"), &json!("1.0"))
    );
    let routes = world.ok("GET", &format!("{path}/routes"), Value::Null).await;
    assert_eq!(routes["items"][0]["routeKey"], "GET /x");
}

#[tokio::test]
async fn routes_and_integrations_hold_together() {
    let world = World::new();
    let api = world.api().await;
    let path = format!("/v2/apis/{api}");
    let members = json!({"integrationType": "AWS_PROXY", "integrationUri": arn("f"), "payloadFormatVersion": "1.0",
        "timeoutInMillis": 50, "description": "d", "connectionType": "INTERNET", "passthroughBehavior": "WHEN_NO_MATCH"});
    let integration = world.integration(&api, members).await;
    let route = world.route(&api, "GET /pets", &integration).await;
    let got = world.ok("GET", &format!("{path}/routes/{route}"), Value::Null).await;
    let target = format!("integrations/{integration}");
    assert_eq!(
        got,
        json!({"apiKeyRequired": false, "authorizationType": "NONE", "routeId": route, "routeKey": "GET /pets",
            "target": target})
    );
    let in_use = format!(
        "Cannot delete Integration because it is referenced by the following Routes with Ids: [{route}]"
    );
    let delete = format!("{path}/integrations/{integration}");
    check_error(&world, ("DELETE", &delete, Value::Null), (409, "ConflictException", &in_use))
        .await;
    let exists = "Route with key GET /pets already exists for this API";
    let again = json!({"routeKey": "GET /pets"});
    check_error(
        &world,
        ("POST", &format!("{path}/routes"), again.clone()),
        (409, "ConflictException", exists),
    )
    .await;
    let other = world.route(&api, "POST /pets", &integration).await;
    check_error(
        &world,
        ("PATCH", &format!("{path}/routes/{other}"), again),
        (409, "ConflictException", exists),
    )
    .await;

    let update = json!({"routeKey": "GET /cats", "operationName": "cats", "target": ""});
    let updated = world.ok("PATCH", &format!("{path}/routes/{route}"), update).await;
    assert_eq!((&updated["routeKey"], &updated["target"]), (&json!("GET /cats"), &Value::Null));
    world.route(&api, "GET /pets", &integration).await;
    for (method, path) in
        [("DELETE", format!("{path}/routes/{route}")), ("DELETE", format!("{path}/routes/{other}"))]
    {
        assert_eq!(world.call(method, &path, Value::Null).await.0, 204);
    }
    let update = json!({"integrationType": "HTTP_PROXY", "integrationUri": "http://h/", "integrationMethod": "GET"});
    let updated = world.ok("PATCH", &delete, update).await;
    assert_eq!(
        (&updated["integrationType"], &updated["timeoutInMillis"]),
        (&json!("HTTP_PROXY"), &json!(50))
    );
}

#[tokio::test]
async fn errors_are_those_of_aws() {
    let world = World::new();
    let api = world.api().await;
    let (apis, path) = ("/v2/apis", format!("/v2/apis/{api}"));
    let no_api = format!("Invalid API identifier specified {ACCOUNT}:abcdefghij");
    check_error(&world, ("GET", "/v2/apis/abcdefghij", Value::Null), not_found(&no_api)).await;
    check_error(
        &world,
        ("POST", "/v2/apis/abcdefghij/routes", json!({"routeKey": "$default"})),
        not_found(&no_api),
    )
    .await;
    for (kind, message) in [
        ("routes", "Invalid Route identifier specified x"),
        ("integrations", "Invalid Integration identifier specified x"),
        ("deployments", "Invalid Deployment identifier specified x"),
        ("stages", "Invalid stage identifier specified"),
    ] {
        for method in ["GET", "PATCH", "DELETE"] {
            let body = if method == "PATCH" { json!({}) } else { Value::Null };
            check_error(&world, (method, &format!("{path}/{kind}/x"), body), not_found(message))
                .await;
        }
    }
    let route_key = "The provided route key is not formatted properly for HTTP protocol. Format should be \"<HTTP METHOD> \
                     /<RESOURCE PATH>\" or \"$default\"";
    check_error(
        &world,
        ("POST", &format!("{path}/routes"), json!({"routeKey": "pets"})),
        bad(route_key),
    )
    .await;
    let target = json!({"routeKey": "GET /", "target": "integrations/none"});
    let none = "Invalid Integration identifier specified none";
    check_error(&world, ("POST", &format!("{path}/routes"), target), not_found(none)).await;
    let unnamed = json!({"routeKey": "GET /named", "operationName": "x".repeat(65)});
    let text = "The length of operationName must be between 0 and 64 characters.";
    check_error(&world, ("POST", &format!("{path}/routes"), unnamed), bad(text)).await;
    let stages = format!("{path}/stages");
    check_error(
        &world,
        ("POST", &stages, json!({"stageName": "$default"})),
        (409, "ConflictException", "Stage already exists"),
    )
    .await;
    let logs = json!({"stageName": "s", "defaultRouteSettings": {"loggingLevel": "INFO"}});
    check_error(
        &world,
        ("POST", &stages, logs),
        bad("Execution logs are not supported on protocolType HTTP"),
    )
    .await;
    let settings =
        json!({"stageName": "s", "routeSettings": {"GET /none": {"throttlingBurstLimit": 1}}});
    let no_route = "Unable to find Route by key GET /none within the provided RouteSettings";
    check_error(&world, ("POST", &stages, settings), not_found(no_route)).await;
    let credentials = json!({"name": "n", "protocolType": "HTTP",
        "corsConfiguration": {"allowCredentials": true, "allowOrigins": ["*"]}});
    check_error(
        &world,
        ("POST", apis, credentials),
        bad("allow-credentials is not supported if 'allow-origin' is *"),
    )
    .await;
    for origin in ["one.example", "capacitor://localhost", "https://*.example", "http://", "**"] {
        let cors = json!({"allowOrigins": ["https://*", "http://a:1", origin]});
        let members = json!({"name": "n", "protocolType": "HTTP", "corsConfiguration": cors});
        let text = format!("Invalid format for origin {origin}");
        check_error(&world, ("POST", apis, members), bad(&text)).await;
    }
    let empty = "At least one route is required before deploying the Api.";
    check_error(&world, ("POST", &format!("{path}/deployments"), json!({})), bad(empty)).await;
    let integrations = format!("{path}/integrations");
    let plain = json!({"integrationType": "AWS", "integrationUri": arn("f"), "payloadFormatVersion": "1.0"});
    let proxies = "Currently, an API with a protocol type of HTTP may only be associated with proxy integrations \
                   (AWS_PROXY, HTTP_PROXY)";
    check_error(&world, ("POST", &integrations, plain), bad(proxies)).await;
    let format = "PayloadFormatVersion is a required parameter for integration";
    let unformatted = json!({"integrationType": "AWS_PROXY", "integrationUri": arn("f")});
    check_error(&world, ("POST", &integrations, unformatted), bad(format)).await;
    for token in ["maxResults=x", "maxResults=0"] {
        check_error(
            &world,
            ("GET", &format!("/v2/apis?{token}"), Value::Null),
            bad("Invalid value for maxResults"),
        )
        .await;
    }
    check_error(
        &world,
        ("GET", "/v2/apis?nextToken=x", Value::Null),
        bad("Invalid value for nextToken"),
    )
    .await;
}

#[tokio::test]
async fn what_is_not_enforced_is_refused_and_not_stored() {
    let world = World::new();
    let api = world.api().await;
    let path = format!("/v2/apis/{api}");
    let integration = json!({"integrationType": "HTTP_PROXY", "integrationUri": "http://h", "integrationMethod": "GET",
        "payloadFormatVersion": "1.0"});
    let with = |base: &Value, member: &str, value: Value| {
        let mut base = base.clone();
        base[member] = value;
        base
    };
    let route = json!({"routeKey": "GET /"});
    let stage = json!({"stageName": "s"});
    let named = json!({"name": "n", "protocolType": "HTTP"});
    let cases = [
        ("/v2/apis".to_owned(), with(&named, "ipAddressType", json!("dualstack"))),
        ("/v2/apis".to_owned(), with(&named, "credentialsArn", json!("arn:aws:iam::1:role/r"))),
        (format!("{path}/routes"), with(&route, "apiKeyRequired", json!(true))),
        (
            format!("{path}/routes"),
            with(&route, "requestParameters", json!({"a": {"required": true}})),
        ),
        (
            format!("{path}/integrations"),
            // No service is configured here.
            json!({"integrationType": "AWS_PROXY", "payloadFormatVersion": "1.0",
                "integrationSubtype": "SQS-PurgeQueue", "requestParameters": {"QueueUrl": "http://q"},
                "credentialsArn": "arn:aws:iam::123456789012:role/r"}),
        ),
        (format!("{path}/stages"), with(&stage, "clientCertificateId", json!("c"))),
        (
            format!("{path}/integrations"),
            with(&integration, "contentHandlingStrategy", json!("CONVERT_TO_TEXT")),
        ),
    ];
    for (path, body) in cases {
        let (status, answer) = world.call("POST", &path, body.clone()).await;
        assert_eq!(
            (status, &answer["code"]),
            (501, &json!("NotImplementedException")),
            "{path} {body}"
        );
    }
    for list in ["routes", "integrations"] {
        let found = world.ok("GET", &format!("{path}/{list}"), Value::Null).await;
        assert_eq!(found, json!({"items": []}));
    }
}

#[tokio::test]
async fn lists_come_in_pages() {
    let world = World::new();
    let api = world.api().await;
    let mut made = Vec::new();
    for n in 0..5 {
        let route = json!({"routeKey": format!("GET /{n}")});
        let route = world.ok("POST", &format!("/v2/apis/{api}/routes"), route).await;
        made.push(route["routeId"].as_str().unwrap().to_owned());
    }
    let mut found = Vec::new();
    let mut path = format!("/v2/apis/{api}/routes?maxResults=2");
    for _ in 0..4 {
        let page = world.ok("GET", &path, Value::Null).await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        found.extend(items.iter().map(|route| route["routeId"].as_str().unwrap().to_owned()));
        let Some(token) = page["nextToken"].as_str() else { break };
        path = format!("/v2/apis/{api}/routes?maxResults=2&nextToken={token}");
    }
    made.sort();
    assert_eq!(found, made);
}

#[tokio::test]
async fn tags_of_every_kind() {
    let world = World::new();
    let api = world.api().await;
    let link = json!({"name": "l", "subnetIds": ["subnet-1"]});
    let link =
        world.ok("POST", "/v2/vpclinks", link).await["vpcLinkId"].as_str().unwrap().to_owned();
    let certificate = format!("arn:aws:acm:{REGION}:123456789012:certificate/c");
    let domain = json!({"domainName": "tags.example", "domainNameConfigurations": [{"certificateArn": certificate}]});
    world.ok("POST", "/v2/domainnames", domain).await;
    for resource in [
        format!("/apis/{api}"),
        format!("/apis/{api}/stages/$default"),
        format!("/vpclinks/{link}"),
        "/domainnames/tags.example".to_owned(),
    ] {
        let arn = format!("arn:aws:apigateway:{REGION}::{resource}");
        let path = format!("/v2/tags/{}", arn.replace('/', "%2F").replace('$', "%24"));
        let (status, _) = world.call("POST", &path, json!({"tags": {"a": "1", "b": "2"}})).await;
        assert_eq!(status, 201);
        let (status, _) = world.call("DELETE", &format!("{path}?tagKeys=a"), Value::Null).await;
        assert_eq!(status, 204);
        assert_eq!(world.ok("GET", &path, Value::Null).await, json!({"tags": {"b": "2"}}));
        let path = format!("/v2{}", resource.replace('$', "%24"));
        assert_eq!(world.ok("GET", &path, Value::Null).await["tags"], json!({"b": "2"}));
    }
    let strange =
        ["/vpclinks/absent", "/domainnames/absent.example", "/apis/", "/apis", "/other/x"];
    let strange = strange.map(|resource| format!("arn:aws:apigateway:{REGION}::{resource}"));
    for arn in strange.iter().map(String::as_str).chain(["arn:aws:s3:::b"]) {
        let path = format!("/v2/tags/{}", arn.replace('/', "%2F"));
        for (method, body) in [("GET", Value::Null), ("POST", json!({"tags": {"a": "1"}}))] {
            assert_eq!(world.call(method, &path, body).await.0, 404, "{arn}");
        }
    }
}

#[tokio::test]
async fn stages_merge_their_settings() {
    let world = World::new();
    let api = world.function_api("GET /a", "f", "2.0").await;
    let path = format!("/v2/apis/{api}/stages/%24default");
    let update = json!({"stageVariables": {"a": "1", "b": "2"}, "description": "d",
        "defaultRouteSettings": {"throttlingBurstLimit": 5, "throttlingRateLimit": 2.5, "dataTraceEnabled": false},
        "routeSettings": {"GET /a": {"throttlingBurstLimit": 1}}});
    world.ok("PATCH", &path, update).await;
    let update = json!({"stageVariables": {"a": "", "c": "3"}, "defaultRouteSettings": {"throttlingBurstLimit": 6}});
    let stage = world.ok("PATCH", &path, update).await;
    assert_eq!(stage["stageVariables"], json!({"b": "2", "c": "3"}));
    let default = json!({"detailedMetricsEnabled": false, "throttlingBurstLimit": 6, "throttlingRateLimit": 2.5});
    assert_eq!(stage["defaultRouteSettings"], default);
    assert_eq!(stage["routeSettings"]["GET /a"]["throttlingBurstLimit"], 1);
    // Settings outlive their route, and do not stand in the way of others.
    let routes = world.ok("GET", &format!("/v2/apis/{api}/routes"), Value::Null).await;
    let route = routes["items"][0]["routeId"].as_str().unwrap();
    assert_eq!(
        world.call("DELETE", &format!("/v2/apis/{api}/routes/{route}"), Value::Null).await.0,
        204
    );
    world.ok("PATCH", &path, json!({"description": "e"})).await;
    let settings = format!("{path}/routesettings/GET%20%2Fa");
    assert_eq!(world.call("DELETE", &settings, Value::Null).await.0, 204);
    assert_eq!(world.call("DELETE", &settings, Value::Null).await.0, 404);
}

#[tokio::test]
async fn deleting_an_api_leaves_no_row() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::over(Store::open(dir.path()).unwrap(), gatemill_gateway::Egress::default());
    let api = world.function_api("GET /a", "f", "2.0").await;
    world.functions.answers("f", "1");
    assert_eq!(world.get(&api, "/a").await.status, 200);
    world.call("DELETE", &format!("/v2/apis/{api}"), Value::Null).await;
    assert_eq!(world.get(&api, "/a").await.status, 404);
    assert_eq!(rows(&world.store), 0);
}

/// Every row of the gateway's tables.
pub(crate) fn rows(store: &Store) -> usize {
    use gatemill_store::{Key, Record, Table};
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Any;
    impl Record for Any {
        const VERSION: u8 = 1;
    }
    let tables = [
        "gateway-apis",
        "gateway-owners",
        "gateway-routes",
        "gateway-route-keys",
        "gateway-route-targets",
        "gateway-integrations",
        "gateway-stages",
        "gateway-deployments",
        "gateway-deployed",
        "gateway-versions",
    ];
    let count = |name| store.read(|tx| Table::<Any>::new(name).count(tx, &Key::empty())).unwrap();
    tables.map(count).iter().sum()
}
