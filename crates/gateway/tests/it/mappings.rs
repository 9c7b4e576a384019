//! Parameter mappings, and private integrations behind VPC links.

use http::{Request, Response};
use serde_json::{Value, json};

use crate::{
    http_proxy::{echo, server, whole},
    world::World,
};

async fn mapped(world: &World, key: &str, members: Value) -> (String, String) {
    let api = world.api().await;
    let integration = world.integration(&api, members).await;
    world.route(&api, key, &integration).await;
    (api, integration)
}

#[tokio::test]
async fn requests_are_changed_before_they_are_sent_on() {
    let world = World::new();
    let address = echo().await;
    let members = json!({"integrationType": "HTTP_PROXY", "integrationUri": format!("http://{address}/base/{{id}}?fixed=1"),
    "integrationMethod": "ANY", "payloadFormatVersion": "1.0", "requestParameters": {
        "append:header.x-many": "$request.querystring.a",
        "overwrite:header.x-id": "$request.path.id",
        "overwrite:header.x-mixed": "${request.header.x-old}-${context.httpMethod}-${request.body.user.name}",
        "overwrite:header.x-missing": "$request.header.nobody",
        "remove:header.x-old": "''",
        "append:querystring.b": "$request.body.list[1]",
        "overwrite:querystring.a": "new value",
        "remove:querystring.gone": "''",
    }});
    let (api, integration) = mapped(&world, "POST /p/{id}", members).await;
    let request = || {
        Request::post("/p/a%20b?a=1&a=2&gone=x&keep=%C3%A4")
            .header("x-many", "1")
            .header("x-old", "old")
    };
    let body = r#"{"user": {"name": "n"}, "list": [1, "two"]}"#;
    let got = world.send(&api, request(), body).await;
    assert_eq!(got.status, 203);
    let said: Value = serde_json::from_str(got.text()).unwrap();
    assert_eq!(said["uri"], "/base/a%20b?fixed=1&keep=%C3%A4&b=two&a=new%20value");
    let headers = &said["headers"];
    assert_eq!(headers["x-many"], json!(["1", "1,2"]));
    assert_eq!(headers["x-id"], json!(["a b"]));
    assert_eq!(headers["x-mixed"], json!(["old-POST-n"]));
    assert_eq!([headers.get("x-old"), headers.get("x-missing")], [None, None]);
    assert_eq!(said["body"], body);

    let at = format!("/v2/apis/{api}/integrations/{integration}");
    let changes = json!({"requestParameters": {"overwrite:path": "/other/${request.path.id}", "append:querystring.b": "",
        "overwrite:querystring.a": ""}});
    let changed = world.ok("PATCH", &at, changes).await;
    assert_eq!(changed["requestParameters"].as_object().unwrap().len(), 7);
    let said: Value = serde_json::from_str(world.send(&api, request(), body).await.text()).unwrap();
    assert_eq!(said["uri"], "/other/a%20b?fixed=1&a=1&a=2&keep=%C3%A4");
}

#[tokio::test]
async fn events_are_changed_too() {
    let world = World::new();
    world.functions.answers("f", "1");
    let members = json!({"integrationType": "AWS_PROXY", "integrationUri": crate::world::arn("f"),
        "payloadFormatVersion": "2.0", "requestParameters": {"overwrite:header.x": "$stageVariables.v",
        "append:querystring.q": "$context.requestId", "overwrite:path": "/moved"}});
    let (api, _) = mapped(&world, "GET /p", members).await;
    let stage = format!("/v2/apis/{api}/stages/%24default");
    world.ok("PATCH", &stage, json!({"stageVariables": {"v": "from-stage"}})).await;
    let got = world.get(&api, "/p?q=1").await;
    let event = world.functions.last_event();
    assert_eq!(event["headers"]["x"], "from-stage");
    let id = got.header("apigw-requestid")[0];
    assert_eq!(event["queryStringParameters"]["q"], format!("1,{id}"));
    assert_eq!(event["rawPath"], "/moved");
    assert_eq!(event["requestContext"]["routeKey"], "GET /p");
}

#[tokio::test]
async fn answers_are_changed_by_their_status() {
    let world = World::new();
    let address = server(|request| async move {
        let status = request.uri().path().trim_start_matches('/').parse::<u16>().unwrap();
        Response::builder()
            .status(status)
            .header("x-secret", "s")
            .header("x-status", "418")
            .body(whole(r#"{"error": {"code": 7}}"#.to_owned()))
            .unwrap()
    })
    .await;
    let members = json!({"integrationType": "HTTP_PROXY", "integrationUri": format!("http://{address}/{{status}}"),
    "integrationMethod": "GET", "payloadFormatVersion": "1.0", "responseParameters": {
        "500": {"overwrite:statuscode": "403", "append:header.x-code": "$response.body.error.code",
            "remove:header.x-secret": ""},
        "404": {"overwrite:statuscode": "$response.header.x-status", "overwrite:header.x-stage": "$context.stage"},
        "409": {"overwrite:statuscode": "$response.header.x-secret"},
    }});
    let (api, integration) = mapped(&world, "GET /{status}", members).await;
    let got = world.get(&api, "/500").await;
    assert_eq!(got.status, 403);
    assert_eq!((got.header("x-code"), got.header("x-secret")), (vec!["7"], vec![]));
    assert_eq!(got.text(), r#"{"error": {"code": 7}}"#);
    let got = world.get(&api, "/404").await;
    assert_eq!((got.status.as_u16(), got.header("x-stage")), (418, vec!["$default"]));
    assert_eq!(world.get(&api, "/409").await.status, 500, "a mapped status that is none");
    let got = world.get(&api, "/200").await;
    assert_eq!((got.status.as_u16(), got.header("x-secret")), (200, vec!["s"]));
    let at = format!("/v2/apis/{api}/integrations/{integration}");
    let changed = world.ok("PATCH", &at, json!({"responseParameters": {"500": {}}})).await;
    assert_eq!(changed["responseParameters"].as_object().unwrap().len(), 2);
    assert_eq!(world.get(&api, "/500").await.status, 500);
}

#[tokio::test]
async fn mappings_that_are_none_are_refused() {
    let world = World::new();
    let api = world.api().await;
    let refused = |parameters: Value| {
        let members = json!({"integrationType": "HTTP_PROXY", "integrationUri": "http://127.0.0.1/",
            "integrationMethod": "GET", "payloadFormatVersion": "1.0", "requestParameters": parameters});
        let (world, path) = (&world, format!("/v2/apis/{api}/integrations"));
        async move {
            let (status, error) = world.call("POST", &path, members).await;
            assert_eq!(status, 400, "{error}");
            error["message"].as_str().unwrap().to_owned()
        }
    };
    let text = refused(json!({"overwrite:header.Authorization": "x"})).await;
    assert_eq!(text, "Operations on header authorization are restricted");
    let text = refused(json!({"overwrite:header.a": "$nothing"})).await;
    assert_eq!(text, "Invalid mapping expression specified: $nothing");
    refused(json!({"integration.request.header.a": "method.request.header.a"})).await;
}

#[tokio::test]
async fn private_integrations_go_through_their_link() {
    let world = World::new();
    let address = echo().await;
    let link = world
        .ok("POST", "/v2/vpclinks", json!({"name": "l", "subnetIds": ["s-1"], "tags": {"a": "b"}}))
        .await;
    let id = link["vpcLinkId"].as_str().unwrap();
    assert_eq!(link["vpcLinkStatus"], "AVAILABLE");
    assert_eq!(link["securityGroupIds"], json!([]));
    assert_eq!(world.ok("GET", &format!("/v2/vpclinks/{id}"), Value::Null).await, link);
    let changed = world.ok("PATCH", &format!("/v2/vpclinks/{id}"), json!({"name": "m"})).await;
    assert_eq!(changed["name"], "m");
    assert_eq!(world.ok("GET", "/v2/vpclinks", Value::Null).await["items"], json!([changed]));

    let api = world.api().await;
    let members = |uri: String, link: &str| {
        json!({"integrationType": "HTTP_PROXY", "integrationUri": uri, "integrationMethod": "ANY",
            "payloadFormatVersion": "1.0", "connectionType": "VPC_LINK", "connectionId": link})
    };
    let path = format!("/v2/apis/{api}/integrations");
    let (status, error) =
        world.call("POST", &path, members(format!("http://{address}"), "none00")).await;
    assert_eq!(
        (status, error["message"].as_str().unwrap()),
        (404, "Invalid VpcLink identifier specified none00")
    );
    let listener = "arn:aws:elasticloadbalancing:r:123456789012:listener/app/x/1/2".to_owned();
    assert_eq!(world.call("POST", &path, members(listener, id)).await.0, 501);
    let integration = world.integration(&api, members(format!("http://{address}"), id)).await;
    world.route(&api, "ANY /{proxy+}", &integration).await;
    world.stage(&api, "prod").await;
    let uri = |path: &'static str| {
        let (world, api) = (&world, &api);
        async move {
            let got = world.get(api, path).await;
            let said: Option<Value> = serde_json::from_str(got.text()).ok();
            (got.status.as_u16(), said.and_then(|said| said["uri"].as_str().map(str::to_owned)))
        }
    };
    assert_eq!(uri("/a/b?c=d").await, (203, Some("/a/b?c=d".to_owned())));
    assert_eq!(
        uri("/prod/a").await,
        (203, Some("/prod/a".to_owned())),
        "with the stage, as in AWS"
    );
    let at = format!("{path}/{integration}");
    world.ok("PATCH", &at, json!({"requestParameters": {"overwrite:path": "$request.path"}})).await;
    assert_eq!(uri("/prod/a").await, (203, Some("/a".to_owned())));
    let (status, _) = world.call("DELETE", &format!("/v2/vpclinks/{id}"), Value::Null).await;
    assert_eq!(status, 202);
    assert_eq!(uri("/prod/a").await, (500, None), "the link is gone");
}
