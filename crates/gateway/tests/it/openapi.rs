//! Definitions of APIs: imported, exported, and imported again.

use serde_json::{Value, json};

use crate::world::{World, arn};

/// What clients see of an API's content, without ids; routes name what they lead to.
async fn content(world: &World, api: &str) -> Value {
    let list = async |what: &str| {
        let path = format!("/v2/apis/{api}/{what}?maxResults=500");
        world.ok("GET", &path, Value::Null).await["items"].as_array().unwrap().clone()
    };
    let without = |mut value: Value, names: &[&str]| {
        names.iter().for_each(|name| _ = value.as_object_mut().unwrap().remove(*name));
        value
    };
    let (integrations, authorizers) = (list("integrations").await, list("authorizers").await);
    let find = |all: &[Value], name: &str, id: &Value| {
        let found = all.iter().find(|one| one[name] == *id);
        found.map_or(Value::Null, |one| without(one.clone(), &["integrationId", "authorizerId"]))
    };
    let mut routes = list("routes").await;
    for route in &mut routes {
        let target = route["target"].as_str().unwrap_or_default().replace("integrations/", "");
        route["target"] = find(&integrations, "integrationId", &target.into());
        route["authorizer"] = find(&authorizers, "authorizerId", &route["authorizerId"]);
        *route = without(route.take(), &["routeId", "authorizerId"]);
    }
    let sorted = |mut all: Vec<Value>| {
        all.sort_by_key(Value::to_string);
        Value::from(all)
    };
    let anonymous = |all: Vec<Value>| {
        sorted(
            all.into_iter().map(|one| without(one, &["integrationId", "authorizerId"])).collect(),
        )
    };
    let own = world.ok("GET", &format!("/v2/apis/{api}"), Value::Null).await;
    let own = without(own, &["apiId", "apiEndpoint", "createdDate", "version"]);
    json!({"api": own, "routes": sorted(routes), "integrations": anonymous(integrations),
        "authorizers": anonymous(authorizers)})
}

/// An API with one of everything.
async fn rich(world: &World) -> String {
    let cors = json!({"allowOrigins": ["https://one"], "allowMethods": ["GET"], "allowCredentials": true, "maxAge": 5});
    let api = json!({"name": "rich: \"api\"", "protocolType": "HTTP", "description": "line\nline", "tags": {"k": "1"},
        "corsConfiguration": cors, "disableExecuteApiEndpoint": true});
    let api = world.ok("POST", "/v2/apis", api).await["apiId"].as_str().unwrap().to_owned();
    let link = json!({"name": "l", "subnetIds": ["subnet-1"]});
    let link = world.ok("POST", "/v2/vpclinks", link).await["vpcLinkId"].clone();
    let shared = json!({"integrationType": "AWS_PROXY", "integrationUri": arn("f"), "payloadFormatVersion": "2.0",
        "timeoutInMillis": 1234, "description": "shared"});
    let shared = world.integration(&api, shared).await;
    let http = json!({"integrationType": "HTTP_PROXY", "integrationUri": "http://h/{proxy}", "integrationMethod": "ANY",
        "payloadFormatVersion": "1.0", "requestParameters": {"append:header.x": "${request.path.proxy}: \"q\""},
        "responseParameters": {"200": {"overwrite:statuscode": "201"}}});
    let http = world.integration(&api, http).await;
    let private = json!({"integrationType": "HTTP_PROXY", "integrationUri": "http://h", "integrationMethod": "GET",
        "payloadFormatVersion": "1.0", "connectionType": "VPC_LINK", "connectionId": link});
    world.integration(&api, private).await;
    let authorizer = json!({"name": "ask me", "authorizerType": "REQUEST", "authorizerUri": arn("a"),
        "identitySource": ["$request.header.X", "$request.querystring.y"], "authorizerPayloadFormatVersion": "2.0",
        "enableSimpleResponses": true, "authorizerResultTtlInSeconds": 7});
    let authorizer = world.ok("POST", &format!("/v2/apis/{api}/authorizers"), authorizer).await;
    world.route(&api, "GET /a/{id}", &shared).await;
    let default = world.route(&api, "$default", &shared).await;
    world.route(&api, "ANY /b/{proxy+}", &http).await;
    let signed = world.route(&api, "DELETE /a/{id}", &shared).await;
    world
        .guard(&api, &signed, json!({"authorizationType": "AWS_IAM", "operationName": "remove"}))
        .await;
    let asked = json!({"authorizationType": "CUSTOM", "authorizerId": authorizer["authorizerId"]});
    world.guard(&api, &default, asked).await;
    world.ok("POST", &format!("/v2/apis/{api}/routes"), json!({"routeKey": "ANY /$default"})).await;
    api
}

async fn export(world: &World, api: &str, query: &str) -> String {
    let path = format!("/v2/apis/{api}/exports/OAS30?{query}");
    world.text("GET", &path).await
}

async fn import(world: &World, body: &str) -> Value {
    world.ok("PUT", "/v2/apis?failOnWarnings=true", json!({ "body": body })).await
}

#[tokio::test]
async fn what_was_exported_is_imported_as_the_same() {
    let world = World::new();
    let api = rich(&world).await;
    let expected = content(&world, &api).await;
    let (text, yaml) = (
        export(&world, &api, "outputType=JSON").await,
        export(&world, &api, "outputType=YAML").await,
    );
    for text in [&text, &yaml] {
        let made = import(&world, text).await;
        assert_eq!(
            (&made["importInfo"], &made["warnings"]),
            (&Value::Null, &Value::Null),
            "{made}"
        );
        let copy = made["apiId"].as_str().unwrap();
        assert_eq!(content(&world, copy).await, expected);
        let again = export(&world, copy, "outputType=YAML").await;
        assert_eq!(again.replace(copy, &api), yaml);
    }
    assert!(
        yaml.starts_with("---\nopenapi: \"3.0.1\"\ninfo:\n  title: \"rich: \\\"api\\\"\"\n"),
        "{yaml}"
    );
    let plain = export(&world, &api, "outputType=JSON&includeExtensions=false").await;
    assert!(!plain.contains("x-amazon-apigateway"), "{plain}");
    let (status, refused) = world
        .call("GET", &format!("/v2/apis/{api}/exports/OAS30?outputType=XML"), Value::Null)
        .await;
    assert_eq!((status, &refused["code"]), (400, &json!("BadRequestException")));
}

#[tokio::test]
async fn a_stage_shows_what_it_has() {
    let world = World::new();
    let api = world.http_api("GET /one", "http://h/", "GET").await;
    world.ok("POST", &format!("/v2/apis/{api}/stages"), json!({"stageName": "old"})).await;
    let (status, refused) = world
        .call(
            "GET",
            &format!("/v2/apis/{api}/exports/OAS30?outputType=JSON&stageName=old"),
            Value::Null,
        )
        .await;
    assert_eq!(status, 400, "{refused}");
    world.ok("POST", &format!("/v2/apis/{api}/deployments"), json!({"stageName": "old"})).await;
    world.ok("POST", &format!("/v2/apis/{api}/routes"), json!({"routeKey": "GET /two"})).await;
    let of = async |query: &str| -> Value {
        serde_json::from_str(&export(&world, &api, query).await).unwrap()
    };
    let old = of("outputType=JSON&stageName=old").await;
    assert_eq!(old["paths"].as_object().unwrap().keys().collect::<Vec<_>>(), ["/one"]);
    assert_eq!(old["servers"][0]["variables"]["basePath"]["default"], "old");
    let now = of("outputType=JSON&stageName=$default").await;
    assert_eq!(now["paths"].as_object().unwrap().keys().collect::<Vec<_>>(), ["/one", "/two"]);
    assert_eq!(now["servers"][0]["variables"]["basePath"]["default"], "");
}

#[tokio::test]
async fn importing_anew_replaces_and_keeps_what_is_the_same() {
    let world = World::new();
    let api = rich(&world).await;
    world.stage(&api, "$default").await;
    let path = format!("/v2/apis/{api}");
    let deployment = async || {
        world.ok("GET", &format!("{path}/stages/$default"), Value::Null).await["deploymentId"]
            .clone()
    };
    let before = deployment().await;
    let text = export(&world, &api, "outputType=YAML").await;
    world.ok("PUT", &path, json!({"body": text})).await;
    assert_eq!(deployment().await, before, "the same definition makes no deployment");

    let body = json!({
        "openapi": "3.0.1", "info": {"title": "anew", "version": "2"},
        "paths": {"/a/{id}": {"get": {"responses": {}, "x-amazon-apigateway-integration":
            {"type": "aws_proxy", "uri": arn("g"), "payloadFormatVersion": "2.0"}}}},
    });
    let ids = async || {
        let routes = world.ok("GET", &format!("{path}/routes"), Value::Null).await;
        let routes = routes["items"].as_array().unwrap().clone();
        routes.into_iter().find(|route| route["routeKey"] == "GET /a/{id}").unwrap()["routeId"]
            .clone()
    };
    let route = ids().await;
    let answer = world.ok("PUT", &path, json!({"body": body.to_string()})).await;
    assert_eq!((&answer["name"], &answer["version"]), (&json!("anew"), &json!("2")));
    assert_eq!((&answer["tags"], &answer["corsConfiguration"]), (&json!({"k": "1"}), &Value::Null));
    assert_eq!(ids().await, route);
    assert_ne!(deployment().await, before);
    let after = content(&world, &api).await;
    assert_eq!(after["routes"].as_array().unwrap().len(), 1);
    assert_eq!(after["integrations"].as_array().unwrap().len(), 1);
    assert_eq!(after["authorizers"], json!([]));
    // What is gone is gone from its indexes, too.
    world.ok("DELETE", &format!("{path}/routes/{}", route.as_str().unwrap()), Value::Null).await;
    world.ok("POST", &format!("{path}/routes"), json!({"routeKey": "$default"})).await;
}

#[tokio::test]
async fn all_or_nothing() {
    let world = World::new();
    let refuse = async |method: &str, path: &str, body: Value| {
        let body = json!({"body": body.to_string()});
        let (status, answer) =
            world.call(method, &format!("{path}?failOnWarnings=true"), body).await;
        (status, answer["message"].as_str().unwrap_or_default().to_owned())
    };
    let integration = json!({"type": "http_proxy", "uri": "ftp://h", "httpMethod": "get", "connectionType": "VPC_LINK",
        "connectionId": "none"});
    let mut body = json!({"openapi": "3.0.1", "info": {"title": "t", "version": "1"}, "paths": {
        "/a": {"get": {"x-amazon-apigateway-integration": integration}}}});
    let (status, message) = refuse("PUT", "/v2/apis", body.clone()).await;
    assert_eq!(status, 400);
    assert_eq!(
        message,
        "Warnings found during import:\n\tParse issue: attribute paths.'/a'(get).responses is missing"
    );
    body["paths"]["/a"]["get"]["responses"] = json!({});
    body["paths"]["/a"]["get"]["operationId"] = "x".repeat(65).into();
    let (status, message) = refuse("PUT", "/v2/apis", body.clone()).await;
    assert_eq!(status, 400);
    let text = "Unable to create route 'GET /a': The length of operationName must be between 0 and 64 characters.";
    assert!(message.contains(text), "{message}");
    body["paths"]["/a"]["get"]["operationId"] = "x".repeat(64).into();
    let (status, message) = refuse("PUT", "/v2/apis", body.clone()).await;
    assert_eq!(status, 400);
    assert_eq!(
        message,
        "Errors found during import:\n\tUnable to create the integration of paths.'/a'(get): Invalid \
        HTTP endpoint specified for URI"
    );
    body["paths"]["/a"]["get"]["x-amazon-apigateway-integration"]["uri"] = "http://h".into();
    let (status, message) = refuse("PUT", "/v2/apis", body.clone()).await;
    assert_eq!((status, message.as_str()), (404, "Invalid VpcLink identifier specified none"));
    body["paths"]["/a"]["get"]["x-amazon-apigateway-integration"]["credentials"] =
        "arn:aws:iam::000000000000:role/r".into();
    assert_eq!(refuse("PUT", "/v2/apis", body.clone()).await.0, 501);
    let apis = world.ok("GET", "/v2/apis", Value::Null).await;
    assert_eq!(apis["items"], json!([]));

    let websocket = json!({"name": "w", "protocolType": "WEBSOCKET", "routeSelectionExpression": "$request.body.a"});
    let websocket = world.ok("POST", "/v2/apis", websocket).await;
    let path = format!("/v2/apis/{}", websocket["apiId"].as_str().unwrap());
    assert_eq!(refuse("PUT", &path, body.clone()).await.0, 400);
    let exported = format!("{path}/exports/OAS30?outputType=JSON");
    assert_eq!(world.call("GET", &exported, Value::Null).await.0, 400);
    assert_eq!(refuse("PUT", "/v2/apis/absent", body).await.0, 404);
    let odd = world.call("PUT", "/v2/apis?basepath=keep", json!({"body": "x"})).await;
    assert!(odd.1["message"].as_str().unwrap().contains("[ignore, prepend, split]"), "{odd:?}");
}
