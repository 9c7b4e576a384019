//! Reserved and provisioned concurrency, counted in environments that really run.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use gatemill_lambda::{Error, Invocation, Outcome, Throttle};
use gatemill_wire::Qualifier;
use serde_json::{Value, json};

use crate::{Case, world::World};

pub(crate) const CASES: &[Case] = &[
    Case { name: "concurrency::reserved", body: reserved },
    Case { name: "concurrency::reserved_is_checked", body: reserved_is_checked },
    Case { name: "concurrency::provisioned", body: provisioned },
    Case { name: "concurrency::provisioned_is_checked", body: provisioned_is_checked },
    Case { name: "concurrency::provisioned_dies_and_is_replaced", body: replaced },
    Case { name: "concurrency::provisioned_that_cannot_be_initialised", body: broken },
    Case { name: "concurrency::provisioned_outlives_idleness", body: outlives },
];

const CODE: &[(&str, &str)] = &[(
    "app.py",
    "import os, time, uuid\nME = uuid.uuid4().hex\n\ndef handler(e, c):\n    time.sleep(e.get('sleep', 0))\n    \
     if e.get('die'):\n        os._exit(1)\n    return [ME, os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']]\n",
)];
const BROKEN: &[(&str, &str)] = &[("app.py", "raise ValueError('no')\n")];

fn uri(rest: &str) -> String {
    format!("/2017-10-31/functions/f/concurrency{rest}")
}

fn provisioned_uri(rest: &str) -> String {
    format!("/2019-09-30/functions/f/provisioned-concurrency{rest}")
}

fn reserve(world: &World, executions: u32) {
    let body = json!({ "ReservedConcurrentExecutions": executions });
    assert_eq!(world.call("PUT", &uri(""), &body), (200, body));
}

fn unreserved(world: &World) -> u64 {
    let (_, settings) = world.call("GET", "/2016-08-19/account-settings", &Value::Null);
    settings["AccountLimit"]["UnreservedConcurrentExecutions"].as_u64().unwrap()
}

fn all_at_once(world: &World, calls: Vec<Invocation>) -> Vec<Result<Outcome, Error>> {
    world.run(async {
        let tasks: Vec<_> = calls
            .into_iter()
            .map(|call| {
                let lambda = Arc::clone(&world.lambda);
                tokio::spawn(async move { lambda.invoke(call).await })
            })
            .collect();
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.unwrap());
        }
        results
    })
}

fn of_version(world: &World, number: u64, event: &str) -> Invocation {
    let mut call = world.invocation("f", event);
    call.target.qualifier = Some(Qualifier::Version(number));
    call
}

/// The environment that answered, and what brought it into being.
fn who(outcome: &Outcome) -> (String, String) {
    assert_eq!(outcome.function_error, None, "{outcome:?}");
    serde_json::from_slice(&outcome.payload).unwrap()
}

fn reserved(world: &World) {
    world.create("f", "python3.12", CODE);
    reserve(world, 2);
    assert_eq!(unreserved(world), 998);
    let calls = (0..6).map(|_| world.invocation("f", r#"{"sleep": 0.5}"#)).collect();
    let results = all_at_once(world, calls);
    let throttled = |result: &&Result<Outcome, Error>| {
        matches!(result, Err(Error::Throttled(Throttle::Reserved)))
    };
    assert_eq!(results.iter().filter(throttled).count(), 4);
    let ran: HashSet<_> = results.iter().flatten().map(|outcome| who(outcome).0).collect();
    assert_eq!(ran.len(), 2, "each in an environment of its own");
    assert_eq!(world.lambda.status().throttled, 4);
    reserve(world, 0);
    let response = world.run(world.send("POST", "/2015-03-31/functions/f/invocations", &[], "{}"));
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "1");
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(
        body,
        json!({
            "Type": "User", "message": "Rate Exceeded.",
            "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
        })
    );
    let get = "/2019-09-30/functions/f/concurrency";
    assert_eq!(
        world.call("GET", get, &Value::Null),
        (200, json!({ "ReservedConcurrentExecutions": 0 }))
    );
    let (_, function) = world.call("GET", "/2015-03-31/functions/f", &Value::Null);
    assert_eq!(function["Concurrency"], json!({ "ReservedConcurrentExecutions": 0 }));
    for _ in 0..2 {
        assert_eq!(world.call("DELETE", &uri(""), &Value::Null).0, 204);
    }
    assert_eq!(world.call("GET", get, &Value::Null), (200, json!({})));
    assert_eq!(unreserved(world), 1_000);
    world.invoke("f", "{}");
}

fn reserved_is_checked(world: &World) {
    world.create("f", "python3.12", CODE);
    let put = |executions: u32| {
        world.refused("PUT", &uri(""), &json!({ "ReservedConcurrentExecutions": executions }))
    };
    let (status, code, text) = put(901);
    assert_eq!((status, code.as_str()), (400, "InvalidParameterValueException"));
    assert_eq!(
        text,
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below \
         its minimum value of [100]."
    );
    reserve(world, 900);
    assert_eq!(unreserved(world), 100);
    reserve(world, 10);
    let qualified = "/2017-10-31/functions/f:1/concurrency";
    let (status, _, text) =
        world.refused("PUT", qualified, &json!({ "ReservedConcurrentExecutions": 1 }));
    assert_eq!(status, 400);
    assert!(text.starts_with("This operation is permitted on Lambda functions only."), "{text}");
    let absent = "/2017-10-31/functions/absent/concurrency";
    assert_eq!(world.refused("PUT", absent, &json!({ "ReservedConcurrentExecutions": 1 })).0, 404);
    assert_eq!(world.refused("DELETE", absent, &Value::Null).0, 404);
    assert_eq!(world.call("DELETE", "/2015-03-31/functions/f", &Value::Null).0, 204);
    assert_eq!(unreserved(world), 1_000, "what a function had reserved ends with it");
}

fn publish(world: &World, code: &[(&str, &str)]) {
    world.create_with("f", "python3.12", code, &json!({ "Publish": true }));
}

fn provision(world: &World, executions: u32) -> Value {
    let body = json!({ "ProvisionedConcurrentExecutions": executions });
    let (status, answer) = world.call("PUT", &provisioned_uri("?Qualifier=1"), &body);
    assert_eq!(status, 202, "{answer}");
    answer
}

/// Waits for a status.
fn provisioned_as(world: &World, status: &str) -> Value {
    let begun = Instant::now();
    loop {
        let (_, now) = world.call("GET", &provisioned_uri("?Qualifier=1"), &Value::Null);
        if now["Status"] == status {
            return now;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{now}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn environments(world: &World, expected: usize) {
    let begun = Instant::now();
    while world.lambda.status().idle != expected || world.lambda.status().initialising > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", world.lambda.status());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn provisioned(world: &World) {
    publish(world, CODE);
    let answer = provision(world, 3);
    assert_eq!(answer["Status"], "IN_PROGRESS");
    assert_eq!(answer["RequestedProvisionedConcurrentExecutions"], 3);
    assert_eq!(answer["AvailableProvisionedConcurrentExecutions"], 0);
    let ready = provisioned_as(world, "READY");
    assert_eq!(ready["AvailableProvisionedConcurrentExecutions"], 3);
    assert_eq!(ready["AllocatedProvisionedConcurrentExecutions"], 3);
    environments(world, 3);
    assert_eq!(unreserved(world), 997);
    let log = world.log("/aws/lambda/f", |log| log.matches("INIT_REPORT").count() == 3);
    assert!(log.contains("\tPhase: init\tStatus: success"), "{log}");

    // Three find theirs, two spill over; nobody waits for an initialisation that was done before.
    let calls = (0..5).map(|_| of_version(world, 1, r#"{"sleep": 0.5}"#)).collect();
    let results = all_at_once(world, calls);
    let answers: Vec<_> = results.iter().map(|result| who(result.as_ref().unwrap())).collect();
    let ahead = answers.iter().filter(|(_, kind)| kind == "provisioned-concurrency");
    assert_eq!(ahead.count(), 3, "{answers:?}");
    let distinct: HashSet<_> = answers.iter().map(|(id, _)| id).collect();
    assert_eq!(distinct.len(), 5);
    let status = world.lambda.status();
    assert_eq!((status.provisioned, status.provisioned_calls, status.spilled_over), (3, 3, 2));
    let log = world.log("/aws/lambda/f", |log| log.matches("REPORT Req").count() == 5);
    let init =
        log.lines().filter(|line| line.starts_with("REPORT") && line.contains("Init Duration"));
    assert_eq!(init.count(), 2, "only those that spilled over: {log}");
    let latest = who(&world.invoke("f", "{}"));
    assert_eq!(latest.1, "on-demand", "$LATEST has none");

    let (_, list) = world.call("GET", &provisioned_uri("?List=ALL"), &Value::Null);
    let items = list["ProvisionedConcurrencyConfigs"].as_array().unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["FunctionArn"], "arn:aws:lambda:us-east-1:000000000000:function:f:1");
    let before = world.lambda.status().idle;
    provision(world, 1);
    environments(world, before - 2);
    assert_eq!(provisioned_as(world, "READY")["AvailableProvisionedConcurrentExecutions"], 1);
    for _ in 0..2 {
        let deleted = world.call("DELETE", &provisioned_uri("?Qualifier=1"), &Value::Null);
        assert_eq!(deleted.0, 204);
    }
    environments(world, before - 3);
    assert_eq!((unreserved(world), world.lambda.status().provisioned), (1_000, 0));
    let (status, code, text) = world.refused("GET", &provisioned_uri("?Qualifier=1"), &Value::Null);
    assert_eq!((status, code.as_str()), (404, "ProvisionedConcurrencyConfigNotFoundException"));
    assert_eq!(text, "No Provisioned Concurrency Config found for this function");
}

fn provisioned_is_checked(world: &World) {
    publish(world, CODE);
    let put = |qualifier: &str, executions: u32| {
        let uri = provisioned_uri(&format!("?Qualifier={qualifier}"));
        let body = json!({ "ProvisionedConcurrentExecutions": executions });
        let (status, _, text) = world.refused("PUT", &uri, &body);
        (status, text)
    };
    let cases = [
        (
            "$LATEST",
            1,
            400,
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
        ),
        ("7", 1, 404, "Function not found: arn:aws:lambda:us-east-1:000000000000:function:f:7"),
        (
            "1",
            1_001,
            400,
            "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [1000].",
        ),
        (
            "1",
            901,
            400,
            "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100].",
        ),
    ];
    for (qualifier, executions, status, text) in cases {
        assert_eq!(put(qualifier, executions), (status, text.to_owned()));
    }
    let latest = world.refused("GET", &provisioned_uri("?Qualifier=$LATEST"), &Value::Null);
    assert_eq!(latest.2, "The function resource provided must be an alias or a published version.");
    assert_eq!(unreserved(world), 1_000, "what was refused allots nothing");
    reserve(world, 2);
    assert_eq!(
        put("1", 3),
        (400, "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function".to_owned())
    );
    provision(world, 2);
    assert_eq!(unreserved(world), 998, "it comes out of what the function has reserved");
    let (status, _, text) =
        world.refused("PUT", &uri(""), &json!({ "ReservedConcurrentExecutions": 1 }));
    assert_eq!(status, 400);
    assert_eq!(
        text,
        " ReservedConcurrentExecutions  1 should not be lower than function's total provisioned concurrency [2]."
    );
    assert_eq!(world.call("DELETE", &uri(""), &Value::Null).0, 204);
    assert_eq!(unreserved(world), 998, "and out of the account's without that");
    assert_eq!(world.call("DELETE", "/2015-03-31/functions/f?Qualifier=1", &Value::Null).0, 204);
    assert_eq!(unreserved(world), 1_000);
    environments(world, 0);
}

fn replaced(world: &World) {
    publish(world, CODE);
    provision(world, 2);
    provisioned_as(world, "READY");
    environments(world, 2);
    let outcome = world.run(world.lambda.invoke(of_version(world, 1, r#"{"die": true}"#))).unwrap();
    assert_eq!(outcome.function_error, Some("Unhandled"));
    environments(world, 2);
    provisioned_as(world, "READY");
    let calls = (0..2).map(|_| of_version(world, 1, r#"{"sleep": 0.3}"#)).collect();
    for result in all_at_once(world, calls) {
        assert_eq!(who(&result.unwrap()).1, "provisioned-concurrency");
    }
}

fn broken(world: &World) {
    publish(world, BROKEN);
    provision(world, 1);
    let failed = provisioned_as(world, "FAILED");
    assert_eq!(failed["StatusReason"], "FUNCTION_ERROR_INIT_FAILURE");
    assert_eq!(failed["AvailableProvisionedConcurrentExecutions"], 0);
    let log = world.log("/aws/lambda/f", |log| log.contains("INIT_REPORT"));
    assert!(log.contains("Phase: init\tStatus: error\tError Type: "), "{log}");
    let outcome = world.run(world.lambda.invoke(of_version(world, 1, "{}"))).unwrap();
    assert_eq!(outcome.function_error, Some("Unhandled"), "a call spills over and fails by itself");
}

fn outlives(world: &World) {
    publish(world, CODE);
    provision(world, 2);
    provisioned_as(world, "READY");
    world.invoke("f", "{}");
    environments(world, 3);
    // The one of $LATEST idles to its end, the provisioned ones do not.
    environments(world, 2);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!((world.lambda.status().idle, world.lambda.status().provisioned), (2, 2));
    assert_eq!(provisioned_as(world, "READY")["AvailableProvisionedConcurrentExecutions"], 2);
}
