//! Ten thousand routes in one API, and requests while it changes.

use std::{sync::Arc, time::Instant};

use gatemill_gateway::Egress;
use gatemill_store::Store;
use serde_json::json;

use crate::world::{World, arn};

const ROUTES: usize = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_routes() {
    let dir = tempfile::tempdir().unwrap();
    let world = Arc::new(World::over(Store::open(dir.path()).unwrap(), Egress::default()));
    for worker in world.gateway.workers() {
        tokio::spawn((worker.run)());
    }
    world.functions.answers("f", "1");
    let api = world.api().await;
    let members = json!({"integrationType": "AWS_PROXY", "integrationUri": arn("f"), "payloadFormatVersion": "2.0"});
    let integration = world.integration(&api, members).await;

    let started = Instant::now();
    for batch in 0..ROUTES / 100 {
        let made = (0..100).map(|n| {
            let (world, api, integration) = (Arc::clone(&world), api.clone(), integration.clone());
            tokio::spawn(async move {
                world.route(&api, &format!("GET /r{}/{{id}}", batch * 100 + n), &integration).await;
            })
        });
        for made in made.collect::<Vec<_>>() {
            made.await.unwrap();
        }
    }
    let created = started.elapsed();

    // Each change is seen by the next request, whatever the number of routes.
    let started = Instant::now();
    world.route(&api, "GET /last", &integration).await;
    assert_eq!(world.get(&api, "/last").await.status, 200);
    let changed = started.elapsed();

    let started = Instant::now();
    for n in 0..1_000 {
        assert_eq!(world.get(&api, &format!("/r{}/x", n * 7)).await.status, 200);
    }
    let asked = started.elapsed();
    assert_eq!(world.get(&api, "/r10000/x").await.status, 404);
    println!(
        "{ROUTES} creates: {created:?}; a change until it is served: {changed:?}; a request: {:?}",
        asked / 1_000
    );

    let started = Instant::now();
    assert_eq!(
        world.call("DELETE", &format!("/v2/apis/{api}"), serde_json::Value::Null).await.0,
        204
    );
    println!("delete: {:?}", started.elapsed());
    assert_eq!(world.get(&api, "/last").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_what_was_answered() {
    let world = Arc::new(World::new());
    for worker in world.gateway.workers() {
        tokio::spawn((worker.run)());
    }
    world.functions.answers("f", "1");
    let api = world.function_api("GET /n0", "f", "2.0").await;
    let path = format!("/v2/apis/{api}/routes");
    let routes = world.ok("GET", &path, serde_json::Value::Null).await;
    let route = format!("{path}/{}", routes["items"][0]["routeId"].as_str().unwrap());
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let reader = {
        let (world, api, stop) = (Arc::clone(&world), api.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                world.get(&api, "/n0").await;
                // A request that finds everything in memory never waits, and would keep its thread.
                tokio::task::yield_now().await;
            }
        })
    };
    for n in 1..200 {
        world.ok("PATCH", &route, json!({"routeKey": format!("GET /n{n}")})).await;
        assert_eq!(world.get(&api, &format!("/n{n}")).await.status, 200, "{n}");
        assert_eq!(world.get(&api, &format!("/n{}", n - 1)).await.status, 404, "{n}");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    reader.await.unwrap();
}
