//! Deployments: what a stage shows, and when.

use serde_json::{Value, json};

use crate::{
    control::rows,
    world::{World, arn},
};

#[tokio::test]
async fn edits_are_not_visible_before_a_deployment() {
    let world = World::new();
    world.functions.answers("f", "1");
    let api = world.function_api("GET /a", "f", "2.0").await;
    let path = format!("/v2/apis/{api}");
    let first =
        world.ok("POST", &format!("{path}/deployments"), json!({"description": "one"})).await;
    let first = first["deploymentId"].as_str().unwrap().to_owned();
    let stage = json!({"stageName": "prod", "deploymentId": first});
    world.ok("POST", &format!("{path}/stages"), stage).await;
    let statuses = async |path| {
        (
            world.get(&api, &format!("/prod{path}")).await.status.as_u16(),
            world.get(&api, path).await.status.as_u16(),
        )
    };
    assert_eq!(statuses("/a").await, (200, 200));

    // A new route: at once where auto-deploy is on, not at all where it is off.
    let integrations = world.ok("GET", &format!("{path}/integrations"), Value::Null).await;
    let integration = integrations["items"][0]["integrationId"].as_str().unwrap().to_owned();
    world.route(&api, "GET /b", &integration).await;
    assert_eq!(statuses("/b").await, (404, 200));

    // A changed integration, a deleted route, CORS: likewise.
    let uri = json!({"integrationUri": arn("none")});
    world.ok("PATCH", &format!("{path}/integrations/{integration}"), uri).await;
    assert_eq!(statuses("/a").await, (200, 500));
    let routes = world.ok("GET", &format!("{path}/routes"), Value::Null).await;
    let a = routes["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|route| route["routeKey"] == "GET /a")
        .unwrap();
    world
        .call("DELETE", &format!("{path}/routes/{}", a["routeId"].as_str().unwrap()), Value::Null)
        .await;
    assert_eq!(statuses("/a").await, (200, 404));

    // A deployment shows all of it, and going back shows the first again.
    let second =
        world.ok("POST", &format!("{path}/deployments"), json!({"stageName": "prod"})).await;
    assert_eq!(statuses("/a").await, (404, 404));
    assert_eq!(statuses("/b").await, (500, 500));
    world.ok("PATCH", &format!("{path}/stages/prod"), json!({"deploymentId": first})).await;
    assert_eq!(statuses("/a").await, (200, 404));
    assert_eq!(statuses("/b").await, (404, 500));

    let second = second["deploymentId"].as_str().unwrap();
    let (status, answer) =
        world.call("DELETE", &format!("{path}/deployments/{first}"), Value::Null).await;
    assert_eq!(status, 400, "{answer}");
    assert_eq!(
        world.call("DELETE", &format!("{path}/deployments/{second}"), Value::Null).await.0,
        204
    );
    assert_eq!(statuses("/a").await, (200, 404));
}

#[tokio::test]
async fn auto_deploy_keeps_one_deployment_and_no_old_versions() {
    let world = World::new();
    world.functions.answers("f", "1");
    let api = world.function_api("GET /0", "f", "2.0").await;
    let path = format!("/v2/apis/{api}");
    let before = rows(&world.store);
    let route = world.ok("GET", &format!("{path}/routes"), Value::Null).await;
    let route = route["items"][0]["routeId"].as_str().unwrap().to_owned();
    for n in 1..20 {
        let key = json!({"routeKey": format!("GET /{n}")});
        world.ok("PATCH", &format!("{path}/routes/{route}"), key).await;
        assert_eq!(world.get(&api, &format!("/{n}")).await.status, 200);
        assert_eq!(world.get(&api, &format!("/{}", n - 1)).await.status, 404);
    }
    assert_eq!(rows(&world.store), before);
    let deployments = world.ok("GET", &format!("{path}/deployments"), Value::Null).await;
    assert_eq!(deployments["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn versions_go_with_the_last_deployment_that_shows_them() {
    let world = World::new();
    let api = world.ok("POST", "/v2/apis", json!({"name": "a", "protocolType": "HTTP"})).await;
    let path = format!("/v2/apis/{}", api["apiId"].as_str().unwrap());
    let route = world.ok("POST", &format!("{path}/routes"), json!({"routeKey": "GET /0"})).await;
    let route = format!("{path}/routes/{}", route["routeId"].as_str().unwrap());
    let without = rows(&world.store);
    let mut deployments = Vec::new();
    for n in 1..5 {
        let made = world.ok("POST", &format!("{path}/deployments"), json!({})).await;
        deployments.push(made["deploymentId"].as_str().unwrap().to_owned());
        world.ok("PATCH", &route, json!({"routeKey": format!("GET /{n}")})).await;
    }
    // A deployment has two rows of its own and pins one version here.
    assert_eq!(rows(&world.store), without + 4 * 3);
    for (left, deployment) in [3, 2, 1, 0].into_iter().zip([1, 3, 0, 2]) {
        let deployment = format!("{path}/deployments/{}", deployments[deployment]);
        assert_eq!(world.call("DELETE", &deployment, Value::Null).await.0, 204);
        assert_eq!(rows(&world.store), without + left * 3);
    }
    assert_eq!(world.call("DELETE", &route, Value::Null).await.0, 204);
    // The route with its row by key and its version.
    assert_eq!(rows(&world.store), without - 3);
}

#[tokio::test]
async fn auto_deploy_can_be_switched() {
    let world = World::new();
    world.functions.answers("f", "1");
    let api = world.function_api("GET /a", "f", "2.0").await;
    let path = format!("/v2/apis/{api}");
    let stage = format!("{path}/stages/%24default");
    world.ok("PATCH", &stage, json!({"autoDeploy": false})).await;
    let integrations = world.ok("GET", &format!("{path}/integrations"), Value::Null).await;
    let integration = integrations["items"][0]["integrationId"].as_str().unwrap().to_owned();
    world.route(&api, "GET /b", &integration).await;
    assert_eq!(world.get(&api, "/a").await.status, 200);
    assert_eq!(world.get(&api, "/b").await.status, 404);
    world.ok("PATCH", &stage, json!({"autoDeploy": true})).await;
    assert_eq!(world.get(&api, "/b").await.status, 200);
    let id = world.ok("GET", &stage, Value::Null).await["deploymentId"].clone();
    let (status, _) = world.call("PATCH", &stage, json!({"deploymentId": id})).await;
    assert_eq!(status, 400);
    assert_eq!(world.call("DELETE", &stage, Value::Null).await.0, 204);
    assert_eq!(world.get(&api, "/b").await.status, 404);
}

#[tokio::test]
async fn snapshots_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = gatemill_store::Store::open(dir.path()).unwrap();
    let world = World::over(store, gatemill_gateway::Egress::default());
    let api = world.function_api("GET /a", "f", "2.0").await;
    world.store.close().await.unwrap();
    drop(world);
    let store = gatemill_store::Store::open(dir.path()).unwrap();
    let world = World::over(store, gatemill_gateway::Egress::default());
    world.functions.answers("f", "1");
    assert_eq!(world.get(&api, "/a").await.status, 200);
}

#[tokio::test]
async fn reset_forgets_what_was_compiled() {
    let world = World::new();
    world.functions.answers("f", "1");
    let api = world.function_api("GET /a", "f", "2.0").await;
    assert_eq!(world.get(&api, "/a").await.status, 200);
    world.store.clear().await.unwrap();
    world.gateway.reset().await;
    assert_eq!(world.get(&api, "/a").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_under_load_drops_no_call() {
    let world = World::new();
    world.work();
    world.functions.answers("f", "1");
    world.functions.answers("auth", r#"{"isAuthorized": true}"#);
    let api = world.function_api("GET /x", "f", "2.0").await;
    let authorizer = json!({"name": "a", "authorizerType": "REQUEST", "authorizerUri": crate::world::arn("auth"),
        "authorizerPayloadFormatVersion": "2.0", "enableSimpleResponses": true, "authorizerResultTtlInSeconds": 60,
        "identitySource": ["$request.header.a"]});
    let made = world.ok("POST", &format!("/v2/apis/{api}/authorizers"), authorizer).await;
    let authorizer = made["authorizerId"].as_str().unwrap().to_owned();
    let routes = world.ok("GET", &format!("/v2/apis/{api}/routes"), Value::Null).await;
    let route = routes["items"][0]["routeId"].as_str().unwrap().to_owned();
    let changed = std::sync::atomic::AtomicBool::new(false);
    let change = async {
        for n in 0..40 {
            let guard = match n % 2 {
                0 => json!({"authorizationType": "CUSTOM", "authorizerId": authorizer}),
                _ => json!({"authorizationType": "NONE"}),
            };
            world.guard(&api, &route, guard).await;
            let stage = format!("/v2/apis/{api}/stages/%24default");
            world.ok("PATCH", &stage, json!({"stageVariables": {"n": n.to_string()}})).await;
            tokio::task::yield_now().await;
        }
        changed.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let load = async {
        let mut calls = 0;
        while !changed.load(std::sync::atomic::Ordering::Relaxed) {
            let got = world.request(&api, http::Request::get("/x").header("a", "b")).await;
            assert_eq!(got.status, 200);
            calls += 1;
            tokio::task::yield_now().await;
        }
        calls
    };
    let ((), calls) = tokio::join!(change, load);
    assert!(calls > 10, "{calls}");
}
