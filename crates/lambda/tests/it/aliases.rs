//! Aliases: what they point to, how calls are shared out, and what else knows them.

use std::collections::BTreeMap;

use gatemill_wire::Qualifier;
use serde_json::{Value, json};

use crate::{Case, world::World};

pub(crate) const CASES: &[Case] = &[
    Case { name: "aliases::point_to_versions", body: point },
    Case { name: "aliases::share_calls_out", body: shares },
    Case { name: "aliases::are_checked", body: checked },
    Case { name: "aliases::have_policies_of_their_own", body: policies },
    Case { name: "aliases::move_provisioned_environments", body: provisioned },
];

const CODE: &[(&str, &str)] = &[(
    "app.py",
    "import os\ndef handler(e, c):\n    return [c.function_version, c.invoked_function_arn.split(':')[-1], \
     os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']]\n",
)];
const F: &str = "/2015-03-31/functions/f";
const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

/// A function with versions 1 and 2.
fn create(world: &World) {
    world.create_with("f", "python3.12", CODE, &json!({ "Publish": true }));
    let body = json!({ "Description": "two" });
    assert_eq!(world.call("PUT", &format!("{F}/configuration"), &body).0, 200);
    world.settled("f");
    assert_eq!(world.call("POST", &format!("{F}/versions"), &json!({})).1["Version"], "2");
}

fn alias(world: &World, body: &Value) -> Value {
    let (status, alias) = world.call("POST", &format!("{F}/aliases"), body);
    assert_eq!(status, 201, "{alias}");
    alias
}

fn update(world: &World, name: &str, body: &Value) -> Value {
    let (status, alias) = world.call("PUT", &format!("{F}/aliases/{name}"), body);
    assert_eq!(status, 200, "{alias}");
    alias
}

fn ask(world: &World, name: &str) -> (String, String, String) {
    let mut call = world.invocation("f", "{}");
    call.target.qualifier = Some(Qualifier::Alias(name.to_owned()));
    let outcome = world.run(world.lambda.invoke(call)).unwrap();
    let answer: (String, String, String) = serde_json::from_slice(&outcome.payload).unwrap();
    assert_eq!(outcome.executed_version, answer.0);
    answer
}

fn point(world: &World) {
    create(world);
    let revision = |world: &World| world.call("GET", &format!("{F}/configuration"), &Value::Null).1;
    let before = revision(world);
    let made = alias(world, &json!({ "Name": "live", "FunctionVersion": "1" }));
    assert_eq!(revision(world), before, "an alias changes nothing of its function");
    assert_eq!(made["AliasArn"], format!("{ARN}:live"));
    assert_eq!((&made["FunctionVersion"], &made["Description"]), (&json!("1"), &json!("")));
    assert_eq!(made.get("RoutingConfig"), None);
    assert_eq!(world.call("GET", &format!("{F}/aliases/live"), &Value::Null), (200, made.clone()));
    assert_eq!(ask(world, "live"), ("1".into(), "live".into(), "on-demand".into()));
    let moved =
        update(world, "live", &json!({ "FunctionVersion": "2", "RevisionId": made["RevisionId"] }));
    assert_ne!(moved["RevisionId"], made["RevisionId"]);
    assert_eq!(ask(world, "live").0, "2");
    let (_, function) = world.call("GET", &format!("{F}?Qualifier=live"), &Value::Null);
    let configuration = &function["Configuration"];
    assert_eq!(configuration["FunctionArn"], format!("{ARN}:live"));
    assert_eq!(
        (&configuration["Version"], &configuration["Description"]),
        (&json!("2"), &json!("two"))
    );
    alias(world, &json!({ "Name": "dev", "FunctionVersion": "$LATEST", "Description": "d" }));
    assert_eq!(ask(world, "dev").0, "$LATEST");
    let names = |query: &str| -> Vec<String> {
        let (_, list) = world.call("GET", &format!("{F}/aliases{query}"), &Value::Null);
        let all = list["Aliases"].as_array().unwrap();
        all.iter().map(|alias| alias["Name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(""), ["dev", "live"]);
    assert_eq!(names("?FunctionVersion=2"), ["live"]);
    assert_eq!(names("?FunctionVersion=1"), [""; 0]);
    assert_eq!(names("?MaxItems=1"), ["dev"]);
    for _ in 0..2 {
        assert_eq!(world.call("DELETE", &format!("{F}/aliases/dev"), &Value::Null).0, 204);
    }
    assert_eq!(names(""), ["live"]);
    assert_eq!(world.call("DELETE", F, &Value::Null).0, 204);
    create_again(world);
    assert_eq!(names(""), [""; 0], "aliases end with their function");
}

fn create_again(world: &World) {
    world.create("f", "python3.12", CODE);
}

fn shares(world: &World) {
    create(world);
    let weights = |weight: f64| json!({ "AdditionalVersionWeights": { "2": weight } });
    let routed = json!({ "Name": "live", "FunctionVersion": "1", "RoutingConfig": weights(0.5) });
    assert_eq!(alias(world, &routed)["RoutingConfig"], weights(0.5));
    let mut counts = BTreeMap::new();
    for _ in 0..200 {
        *counts.entry(ask(world, "live").0).or_insert(0) += 1;
    }
    // Less than one in a million sets of draws lies outside.
    assert!(counts.values().all(|count| (60..=140).contains(count)), "{counts:?}");
    update(world, "live", &json!({ "RoutingConfig": weights(1.0) }));
    assert!((0..10).all(|_| ask(world, "live").0 == "2"));
    let plain = update(world, "live", &json!({ "RoutingConfig": {} }));
    assert_eq!(plain.get("RoutingConfig"), None);
    assert!((0..10).all(|_| ask(world, "live").0 == "1"));
}

fn checked(world: &World) {
    create(world);
    let aliases = format!("{F}/aliases");
    alias(world, &json!({ "Name": "live", "FunctionVersion": "1" }));
    let refused = |body: &Value| {
        let (status, _, text) = world.refused("POST", &aliases, body);
        (status, text)
    };
    let routed = |version: &str, weights: Value| json!({ "Name": "x", "FunctionVersion": version, "RoutingConfig": { "AdditionalVersionWeights": weights } });
    for (body, status, text) in [
        (json!({ "Name": "live", "FunctionVersion": "1" }), 409, format!("Alias already exists: {ARN}:live")),
        (json!({ "Name": "x", "FunctionVersion": "7" }), 404, format!("Function not found: {ARN}:7")),
        (routed("1", json!({ "7": 0.5 })), 404, format!("Function not found: {ARN}:7")),
        (
            routed("$LATEST", json!({ "1": 0.5 })), 400,
            "$LATEST is not supported for an alias pointing to more than 1 version".to_owned(),
        ),
        (
            routed("1", json!({ "2": 0.1, "3": 0.1 })), 400,
            "Number of items in AdditionalVersionWeights cannot be greater than 1".to_owned(),
        ),
        (
            routed("1", json!({ "1": 0.5 })), 400,
            "Invalid function version 1. Function version 1 is already included in routing configuration.".to_owned(),
        ),
    ] {
        assert_eq!(refused(&body), (status, text), "{body}");
    }
    let (status, text) = refused(&routed("1", json!({ "2": 2.0 })));
    assert_eq!(status, 400);
    assert!(
        text.contains("'routingConfig.additionalVersionWeights' failed to satisfy constraint"),
        "{text}"
    );
    assert_eq!(refused(&json!({ "Name": "12", "FunctionVersion": "1" })).0, 400);
    let absent = format!("{aliases}/absent");
    assert_eq!(
        world.refused("GET", &absent, &Value::Null).2,
        format!("Cannot find alias arn: {ARN}:absent")
    );
    assert_eq!(
        world.refused("PUT", &absent, &json!({})).2,
        format!("Alias not found: {ARN}:absent")
    );
    let stale = world.refused("PUT", &format!("{aliases}/live"), &json!({ "RevisionId": "x" }));
    assert_eq!((stale.0, stale.1.as_str()), (412, "PreconditionFailedException"));
    let used = world.refused("DELETE", &format!("{F}?Qualifier=1"), &Value::Null);
    assert_eq!((used.0, used.1.as_str()), (409, "ResourceConflictException"));
    assert_eq!(world.call("DELETE", &format!("{F}?Qualifier=2"), &Value::Null).0, 204);
    let of_alias = world.refused("DELETE", &format!("{F}?Qualifier=live"), &Value::Null);
    assert_eq!(of_alias.2, "Deletion of aliases is not currently supported.");
    let mut call = world.invocation("f", "{}");
    call.target.qualifier = Some(Qualifier::Alias("absent".into()));
    let error = world.run(world.lambda.invoke(call)).unwrap_err().to_string();
    assert_eq!(error, format!("Function not found: {ARN}:absent"));
}

fn policies(world: &World) {
    create(world);
    alias(world, &json!({ "Name": "live", "FunctionVersion": "1" }));
    let statement = json!({
        "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com",
    });
    let uri = format!("{F}/policy?Qualifier=live");
    assert_eq!(world.call("POST", &uri, &statement).0, 201);
    let allows = || {
        let mut target = world.invocation("f", "").target;
        target.qualifier = Some(Qualifier::Alias("live".into()));
        let principal = "apigateway.amazonaws.com";
        world.lambda.allows_service(&target, principal, "arn:aws:x:::y", "0").unwrap()
    };
    assert!(allows());
    assert_eq!(world.call("DELETE", &format!("{F}/aliases/live"), &Value::Null).0, 204);
    alias(world, &json!({ "Name": "live", "FunctionVersion": "1" }));
    assert!(!allows(), "a policy ends with its alias");
}

fn provisioned(world: &World) {
    create(world);
    alias(world, &json!({ "Name": "live", "FunctionVersion": "1" }));
    alias(world, &json!({ "Name": "dev", "FunctionVersion": "$LATEST" }));
    let uri = |qualifier: &str| {
        format!("/2019-09-30/functions/f/provisioned-concurrency?Qualifier={qualifier}")
    };
    let two = json!({ "ProvisionedConcurrentExecutions": 2 });
    assert_eq!(world.call("PUT", &uri("live"), &two).0, 202);
    let ready = || {
        for _ in 0..4_000 {
            let (_, state) = world.call("GET", &uri("live"), &Value::Null);
            if state["Status"] == "READY" && world.lambda.status().provisioned == 2 {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("{:?}", world.lambda.status());
    };
    ready();
    assert_eq!(ask(world, "live"), ("1".into(), "live".into(), "provisioned-concurrency".into()));
    assert_eq!(
        world.refused("PUT", &uri("1"), &two).2,
        "Version is pointed by a Provisioned Concurrency alias"
    );
    assert_eq!(world.refused("PUT", &uri("dev"), &two).0, 400);
    let (_, list) =
        world.call("GET", &uri("live").replace("Qualifier=live", "List=ALL"), &Value::Null);
    assert_eq!(list["ProvisionedConcurrencyConfigs"][0]["FunctionArn"], format!("{ARN}:live"));
    // The environments move to the other version with the alias.
    update(world, "live", &json!({ "FunctionVersion": "2" }));
    ready();
    assert_eq!(ask(world, "live"), ("2".into(), "live".into(), "provisioned-concurrency".into()));
    assert_eq!(
        world.call("PUT", &uri("1"), &json!({ "ProvisionedConcurrentExecutions": 1 })).0,
        202
    );
    let back =
        world.refused("PUT", &format!("{F}/aliases/live"), &json!({ "FunctionVersion": "1" }));
    assert_eq!(
        (back.0, back.2.as_str()),
        (
            409,
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
        )
    );
    assert_eq!(world.call("DELETE", &uri("1"), &Value::Null).0, 204);
    assert_eq!(world.call("DELETE", &format!("{F}/aliases/live"), &Value::Null).0, 204);
    let (_, settings) = world.call("GET", "/2016-08-19/account-settings", &Value::Null);
    assert_eq!(settings["AccountLimit"]["UnreservedConcurrentExecutions"], 1_000);
}
