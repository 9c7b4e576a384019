//! Domains: mappings and rules that lead to APIs.

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::world::{Got, World};

async fn ask(world: &World, host: &str, path: &str, headers: &[(&str, &str)]) -> Got {
    let mut request = Request::get(path).header(header::HOST, host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    world.pass(request.body(Full::new(Bytes::new())).unwrap()).await
}

async fn domain(world: &World, name: &str) {
    let arn = "arn:aws:acm:eu-west-1:123456789012:certificate/c";
    let members =
        json!({"domainName": name, "domainNameConfigurations": [{"certificateArn": arn}]});
    let made = world.ok("POST", "/v2/domainnames", members).await;
    assert_eq!(made["domainNameConfigurations"][0]["domainNameStatus"], "AVAILABLE");
    assert_eq!(made["domainNameConfigurations"][0]["certificateArn"], arn);
    assert_eq!(made["apiMappingSelectionExpression"], "$request.basepath");
    assert_eq!(made["routingMode"], "API_MAPPING_ONLY");
}

#[tokio::test]
async fn a_mapping_leads_to_a_stage_and_events_show_the_domain() {
    let world = World::new();
    world.functions.answers("two", "1");
    world.functions.answers("one", r#"{"statusCode": 200}"#);
    let two = world.function_api("GET /pets/{id}", "two", "2.0").await;
    let one = world.function_api("GET /pets/{id}", "one", "1.0").await;
    world.stage(&two, "prod").await;
    domain(&world, "API.example.com").await;
    let at = "/v2/domainnames/api.example.com/apimappings";
    let deep = json!({"apiId": two, "stage": "prod", "apiMappingKey": "v2/shop"});
    let deep = world.ok("POST", at, deep).await;
    let first = world
        .ok("POST", at, json!({"apiId": one, "stage": "$default", "apiMappingKey": "v1"}))
        .await;
    let got = ask(&world, "api.example.com:4566", "/v2/shop/pets/7?a=b", &[]).await;
    assert_eq!(got.status, 200);
    let event = world.functions.last_event();
    assert_eq!(event["rawPath"], "/pets/7");
    let context = &event["requestContext"];
    assert_eq!([&context["domainName"], &context["domainPrefix"]], ["api.example.com", "api"]);
    assert_eq!([&context["stage"], &context["apiId"]], ["prod", two.as_str()]);
    assert_eq!(context["http"]["path"], "/pets/7");
    ask(&world, "api.example.com", "/v1/pets/7", &[]).await;
    let event = world.functions.last_event();
    assert_eq!([&event["path"], &event["requestContext"]["path"]], ["/v1/pets/7", "/v1/pets/7"]);
    // A mapping of several levels makes all names of headers lower case, here the one of `v2/shop`.
    assert_eq!(
        [&event["headers"]["host"], &event["headers"]["Host"]],
        [&json!("api.example.com"), &Value::Null]
    );
    let got = ask(&world, "api.example.com", "/none", &[]).await;
    assert_eq!((got.status.as_u16(), got.text()), (403, r#"{"message":"Forbidden"}"#));

    // The API's own endpoint can be closed, and the domain still leads to it.
    world.ok("PATCH", &format!("/v2/apis/{two}"), json!({"disableExecuteApiEndpoint": true})).await;
    assert_eq!(world.get(&two, "/prod/pets/7").await.status, 404);
    assert_eq!(ask(&world, "api.example.com", "/v2/shop/pets/7", &[]).await.status, 200);

    let id = first["apiMappingId"].as_str().unwrap();
    let changed = world
        .ok("PATCH", &format!("{at}/{id}"), json!({"apiId": one, "apiMappingKey": "old"}))
        .await;
    assert_eq!(changed["apiMappingKey"], "old");
    assert_eq!(world.ok("GET", &format!("{at}/{id}"), Value::Null).await, changed);
    assert_eq!(ask(&world, "api.example.com", "/v1/pets/7", &[]).await.status, 403);
    assert_eq!(ask(&world, "api.example.com", "/old/pets/7", &[]).await.status, 200);
    assert_eq!(world.ok("GET", at, Value::Null).await["items"].as_array().unwrap().len(), 2);
    world.ok("DELETE", &format!("{at}/{id}"), Value::Null).await;
    assert_eq!(ask(&world, "api.example.com", "/old/pets/7", &[]).await.status, 403);
    let id = deep["apiMappingId"].as_str().unwrap();
    world.ok("DELETE", &format!("{at}/{id}"), Value::Null).await;
    world.ok("POST", at, json!({"apiId": one, "stage": "$default"})).await;
    ask(&world, "api.example.com", "/pets/7", &[]).await;
    assert_eq!(world.functions.last_event()["headers"]["Host"], "api.example.com");
    world.ok("DELETE", "/v2/domainnames/api.example.com", Value::Null).await;
    let (head, ()) =
        Request::get("/").header(header::HOST, "api.example.com").body(()).unwrap().into_parts();
    assert_eq!(world.gateway.claims(&head), None);
}

#[tokio::test]
async fn rules_come_first_and_stars_stand_for_a_label() {
    let world = World::new();
    world.functions.answers("f", "1");
    let api = world.function_api("ANY /{proxy+}", "f", "2.0").await;
    let beta = world.function_api("ANY /{proxy+}", "f", "2.0").await;
    let members =
        json!({"domainName": "*.example.com", "routingMode": "ROUTING_RULE_THEN_API_MAPPING"});
    world.ok("POST", "/v2/domainnames", members).await;
    let at = "/v2/domainnames/%2A.example.com";
    world
        .ok("POST", &format!("{at}/apimappings"), json!({"apiId": api, "stage": "$default"}))
        .await;
    let rule = |priority, base: &str| {
        json!({"priority": priority, "conditions": [
        {"matchHeaders": {"anyOf": [{"header": "X-Version", "valueGlob": "beta*"}]}},
        {"matchBasePaths": {"anyOf": [base]}}],
        "actions": [{"invokeApi": {"apiId": beta, "stage": "$default", "stripBasePath": true}}]})
    };
    let made = world.ok("POST", &format!("{at}/routingrules"), rule(10, "shop")).await;
    let id = made["routingRuleId"].as_str().unwrap();
    let served = |path: &'static str, version: &'static str| {
        let world = &world;
        async move {
            assert_eq!(
                ask(world, "any.example.com", path, &[("x-version", version)]).await.status,
                200
            );
            let event = world.functions.last_event();
            (
                event["requestContext"]["apiId"].as_str().unwrap().to_owned(),
                event["rawPath"].as_str().unwrap().to_owned(),
            )
        }
    };
    assert_eq!(served("/shop/x", "beta-2").await, (beta.clone(), "/x".to_owned()));
    assert_eq!(served("/shop/x", "1").await, (api.clone(), "/shop/x".to_owned()));
    assert_eq!(served("/shopping", "beta").await, (api.clone(), "/shopping".to_owned()));
    let (status, error) = world.call("POST", &format!("{at}/routingrules"), rule(10, "a")).await;
    assert_eq!((status, &error["code"]), (409, &json!("ConflictException")));
    let put = world.ok("PUT", &format!("{at}/routingrules/{id}"), rule(20, "other")).await;
    assert_eq!(put["priority"], 20);
    assert_eq!(world.ok("GET", &format!("{at}/routingrules/{id}"), Value::Null).await, put);
    assert_eq!(
        world.ok("GET", &format!("{at}/routingrules"), Value::Null).await["routingRules"],
        json!([put])
    );
    assert_eq!(served("/shop/x", "beta-2").await.0, api);
    world.ok("DELETE", &format!("{at}/routingrules/{id}"), Value::Null).await;
    assert_eq!(served("/other/x", "beta-2").await.0, api);
}

#[tokio::test]
async fn what_domains_refuse() {
    let world = World::new();
    let api = world.api().await;
    domain(&world, "a.example").await;
    let (status, error) =
        world.call("POST", "/v2/domainnames", json!({"domainName": "A.example"})).await;
    assert_eq!(
        (status, error["message"].as_str().unwrap()),
        (400, "The domain name you provided already exists.")
    );
    let members = json!({"domainName": "b.example", "domainNameConfigurations": []});
    let (status, error) = world.call("POST", "/v2/domainnames", members).await;
    assert_eq!(
        (status, error["message"].as_str().unwrap()),
        (400, "Invalid input. Expected one domain name configuration")
    );
    for name in [
        "localhost",
        "a b.example",
        "-a.example",
        "x.execute-api.example",
        "a..example",
        "*.*.example",
    ] {
        assert_eq!(
            world.call("POST", "/v2/domainnames", json!({"domainName": name})).await.0,
            400,
            "{name}"
        );
    }
    let mutual = json!({"domainName": "b.example", "mutualTlsAuthentication": {"truststoreUri": "s3://b/k"}});
    let (status, body) = world.call("POST", "/v2/domainnames", mutual).await;
    // It could not hold where nobody ends TLS.
    assert_eq!(status, 400);
    assert!(body["message"].as_str().unwrap().contains("tls-listen"), "{body}");
    let (status, error) = world.call("GET", "/v2/domainnames/none.example", Value::Null).await;
    let text = "Invalid domain name identifier specified";
    assert_eq!((status, error["message"].as_str().unwrap()), (404, text));
    let at = "/v2/domainnames/a.example/apimappings";
    for (key, text) in [
        ("/a", "start with a '/'"),
        ("a//b", "consecutive '/'s"),
        ("a/", "end with a '/'"),
        ("a b", "only allows"),
    ] {
        let (status, error) = world
            .call("POST", at, json!({"apiId": api, "stage": "$default", "apiMappingKey": key}))
            .await;
        assert_eq!(status, 400);
        assert!(error["message"].as_str().unwrap().contains(text), "{error}");
    }
    let mapping = json!({"apiId": api, "stage": "$default", "apiMappingKey": "a"});
    world.ok("POST", at, mapping.clone()).await;
    assert_eq!(world.call("POST", at, mapping).await.0, 409);
    for (api, stage, text) in [
        (api.as_str(), "none", "Invalid stage identifier specified"),
        ("none000000", "$default", "Invalid API identifier specified"),
    ] {
        let (status, error) = world.call("POST", at, json!({"apiId": api, "stage": stage})).await;
        assert_eq!((status, &error["code"]), (400, &json!("BadRequestException")));
        assert!(error["message"].as_str().unwrap().starts_with(text), "{error}");
    }
}

#[tokio::test]
async fn what_a_mapping_leads_to_stays() {
    let world = World::new();
    let api = world.api().await;
    world.stage(&api, "free").await;
    domain(&world, "a.example").await;
    let at = "/v2/domainnames/a.example/apimappings";
    let mapping = world.ok("POST", at, json!({"apiId": api, "stage": "$default"})).await;
    let stages = format!("/v2/apis/{api}/stages");
    for (path, text) in [
        (
            format!("/v2/apis/{api}"),
            format!(
                "Deleting API {api} failed. Please remove all API mappings for the API from your custom domain names."
            ),
        ),
        (
            format!("{stages}/%24default"),
            "Deleting stage $default failed. Please remove all API mappings for the stage from your custom domain names."
                .to_owned(),
        ),
    ] {
        let (status, error) = world.call("DELETE", &path, Value::Null).await;
        assert_eq!((status, &error["code"]), (400, &json!("BadRequestException")), "{path}");
        assert_eq!(error["message"], text);
    }
    world.ok("DELETE", &format!("{stages}/free"), Value::Null).await;
    let id = mapping["apiMappingId"].as_str().unwrap();
    world.ok("DELETE", &format!("{at}/{id}"), Value::Null).await;
    world.ok("DELETE", &format!("{stages}/%24default"), Value::Null).await;
    world.ok("DELETE", &format!("/v2/apis/{api}"), Value::Null).await;
}

#[tokio::test]
async fn what_rules_do_not_look_at() {
    let world = World::new();
    let api = world.api().await;
    domain(&world, "a.example").await;
    let rule = |priority: u32, header: &str, glob: &str| {
        json!({"priority": priority,
        "conditions": [{"matchHeaders": {"anyOf": [{"header": header, "valueGlob": glob}]}}],
        "actions": [{"invokeApi": {"apiId": api, "stage": "$default"}}]})
    };
    let at = "/v2/domainnames/a.example/routingrules";
    let anywhere = |letters: usize| format!("*{}*", "a".repeat(letters));
    for (header, glob, text) in [
        ("Authorization", "a", "Invalid header specified"),
        ("X-Amzn-Trace-Id", "a", "Invalid header specified"),
        ("x-apigw-api-id", "a", "Invalid header specified"),
        ("x-restAPI", "a", "Invalid header specified"),
        ("x-version", &anywhere(38), "Invalid header value glob specified"),
        ("x-version", "a*b", "Invalid header value glob specified"),
    ] {
        let (status, error) = world.call("POST", at, rule(1, header, glob)).await;
        assert_eq!((status, error["message"].as_str().unwrap()), (400, text), "{header} {glob}");
    }
    for (priority, header, glob) in
        [(1, "Host", "*.example"), (2, "x-version", "*"), (3, "x-version", &*anywhere(37))]
    {
        world.ok("POST", at, rule(priority, header, glob)).await;
    }
}
