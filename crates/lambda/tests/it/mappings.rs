//! Event source mappings without anybody who works on them: states stay as requests leave them.

use std::sync::Arc;

use gatemill_lambda::mapping::{
    self, EventSources, MAPPING_RESULTS, MAPPINGS, MappingKey, MappingResult, SourceArn,
    SourceFacts, SourceProblem,
};
use gatemill_wire::{Arn, routes::BoxFuture};
use serde_json::{Value, json};

use crate::{Case, world::World};

pub(crate) const CASES: &[Case] = &[
    Case { name: "mappings::wait_for_what_is_under_way", body: in_use },
    Case { name: "mappings::need_a_configured_service", body: not_configured },
    Case { name: "mappings::are_found_among_many", body: many },
];

const PATH: &str = "/2015-03-31/event-source-mappings";

/// Every queue exists; of streams nothing is known.
struct Queues;

impl EventSources for Queues {
    fn check<'a>(
        &'a self,
        source: &'a SourceArn,
    ) -> BoxFuture<'a, Result<SourceFacts, SourceProblem>> {
        Box::pin(async move {
            if source.is_stream() {
                return Err(SourceProblem::NotConfigured("No endpoint is configured.".to_owned()));
            }
            Ok(SourceFacts { visibility_timeout_s: Some(30) })
        })
    }

    fn check_destination(&self, _arn: &Arn) -> Result<(), SourceProblem> {
        Ok(())
    }
}

fn queue(number: usize) -> String {
    format!("arn:aws:sqs:us-east-1:000000000000:q{number}")
}

fn create(world: &World, number: usize) -> String {
    let body = json!({ "FunctionName": "f", "EventSourceArn": queue(number) });
    let (status, made) = world.call("POST", PATH, &body);
    assert_eq!((status, &made["State"]), (202, &"Creating".into()), "{made}");
    made["UUID"].as_str().unwrap().to_owned()
}

fn key(uuid: &str) -> MappingKey {
    MappingKey { account: "000000000000".into(), region: "us-east-1".into(), uuid: uuid.to_owned() }
}

fn prepare(world: &World) {
    world.create("f", "python3.12", &[("app.py", "def handler(e, c):\n    return 1\n")]);
    world.lambda.set_event_sources(Arc::new(Queues));
}

fn settle(world: &World, uuid: &str) {
    let key = key(uuid);
    let settled = world.run(world.store.write(move |tx| {
        let seen = MAPPINGS.get(tx, &key.record())?.unwrap();
        mapping::settle(tx, &key, &seen)
    }));
    assert!(settled.unwrap());
}

fn in_use(world: &World) {
    prepare(world);
    let uuid = create(world, 1);
    let one = format!("{PATH}/{uuid}");
    let in_use = |doing: &str| {
        let text = format!("Cannot {doing} the event source mapping because it is in use.");
        (400, "ResourceInUseException".to_owned(), text)
    };
    assert_eq!(world.refused("PUT", &one, &json!({ "BatchSize": 5 })), in_use("update"));
    assert_eq!(world.refused("DELETE", &one, &Value::Null), in_use("delete"));
    settle(world, &uuid);
    let (status, updated) = world.call("PUT", &one, &json!({ "BatchSize": 5 }));
    assert_eq!((status, &updated["State"]), (202, &"Updating".into()));
    assert_eq!(world.refused("PUT", &one, &json!({ "Enabled": false })), in_use("update"));
    // One that cannot be settled can be deleted.
    let place = key(&uuid).record();
    let problem = MappingResult { text: "PROBLEM: there is no such event source.".to_owned() };
    world.run(world.store.write(move |tx| MAPPING_RESULTS.put(tx, &place, &problem))).unwrap();
    let (status, deleted) = world.call("DELETE", &one, &Value::Null);
    assert_eq!((status, &deleted["State"]), (202, &"Deleting".into()));
    assert_eq!(world.refused("DELETE", &one, &Value::Null), in_use("delete"));
    settle(world, &uuid);
    assert_eq!(world.refused("GET", &one, &Value::Null).0, 404);
    create(world, 1);
}

fn not_configured(world: &World) {
    world.create("f", "python3.12", &[("app.py", "def handler(e, c):\n    return 1\n")]);
    let body = json!({ "FunctionName": "f", "EventSourceArn": queue(1) });
    assert_eq!(world.refused("POST", PATH, &body).0, 501);
    world.lambda.set_event_sources(Arc::new(Queues));
    let stream = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    let body =
        json!({ "FunctionName": "f", "EventSourceArn": stream, "StartingPosition": "LATEST" });
    let (status, _, text) = world.refused("POST", PATH, &body);
    assert_eq!((status, text.as_str()), (501, "No endpoint is configured."));
}

fn many(world: &World) {
    prepare(world);
    let mut all: Vec<String> = (0..150).map(|number| create(world, number)).collect();
    all.sort();
    let listed = |query: &str| -> (Vec<String>, Option<String>) {
        let (status, page) = world.call("GET", &format!("{PATH}{query}"), &Value::Null);
        assert_eq!(status, 200, "{page}");
        let found = page["EventSourceMappings"].as_array().unwrap();
        let uuids = found.iter().map(|one| one["UUID"].as_str().unwrap().to_owned()).collect();
        (uuids, page["NextMarker"].as_str().map(str::to_owned))
    };
    let (first, marker) = listed("?FunctionName=f&MaxItems=1000");
    assert_eq!(first, all[..100]);
    let (second, end) = listed(&format!("?FunctionName=f&Marker={}", marker.unwrap()));
    assert_eq!((second.as_slice(), end), (&all[100..], None));
    let (of_one, _) = listed(&format!("?EventSourceArn={}", queue(7)));
    assert_eq!(of_one.len(), 1);
    assert_eq!(listed("?FunctionName=other").0, [""; 0]);
    assert_eq!(world.refused("GET", &format!("{PATH}?Marker=x"), &Value::Null).0, 400);
}
