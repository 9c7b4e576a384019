//! Published versions: numbers, snapshots that never change, policies of their own, and their end.

use gatemill_wire::Qualifier;
use serde_json::{Value, json};

use crate::{
    Case,
    world::{World, base64, zip_of},
};

pub(crate) const CASES: &[Case] = &[
    Case { name: "versions::a_version_never_changes", body: snapshots },
    Case { name: "versions::nothing_new_makes_no_version", body: nothing_new },
    Case { name: "versions::guards", body: guards },
    Case { name: "versions::published_with_an_update", body: with_update },
    Case { name: "versions::lists_and_pages", body: lists },
    Case { name: "versions::numbers_are_never_given_again", body: numbers },
    Case { name: "versions::policies_of_their_own", body: policies },
];

const FUNCTIONS: &str = "/2015-03-31/functions";

fn code(answer: &str) -> String {
    let text = format!(
        "import os\ndef handler(e, c):\n    return ['{answer}', c.function_version, \
         os.environ['AWS_LAMBDA_FUNCTION_VERSION'], c.invoked_function_arn.split(':')[7:]]\n"
    );
    base64(&zip_of(&[("app.py", &text)]))
}

fn create(world: &World, name: &str, more: &Value) -> Value {
    let mut request = json!({
        "FunctionName": name, "Runtime": "python3.12", "Role": crate::world::ROLE, "Handler": "app.handler",
        "Code": { "ZipFile": code("one") }, "Description": "first",
    });
    for (key, value) in more.as_object().unwrap() {
        request[key] = value.clone();
    }
    let (status, created) = world.call("POST", FUNCTIONS, &request);
    assert_eq!(status, 201, "{created}");
    world.settled(name);
    created
}

fn publish(world: &World, name: &str, body: &Value) -> Value {
    let (status, version) = world.call("POST", &format!("{FUNCTIONS}/{name}/versions"), body);
    assert_eq!(status, 201, "{version}");
    version
}

fn update(world: &World, name: &str, body: &Value) -> Value {
    let (status, answer) = world.call("PUT", &format!("{FUNCTIONS}/{name}/code"), body);
    assert_eq!(status, 200, "{answer}");
    answer
}

fn configuration(world: &World, name: &str, qualifier: &str) -> Value {
    let uri = format!("{FUNCTIONS}/{name}/configuration{qualifier}");
    let (status, configuration) = world.call("GET", &uri, &Value::Null);
    assert_eq!(status, 200, "{configuration}");
    configuration
}

fn invoke(world: &World, name: &str, qualifier: Qualifier) -> (Value, String) {
    let mut call = world.invocation(name, "{}");
    call.target.qualifier = Some(qualifier);
    let outcome = world.run(world.lambda.invoke(call)).unwrap();
    (serde_json::from_slice(&outcome.payload).unwrap(), outcome.executed_version)
}

fn snapshots(world: &World) {
    create(world, "f", &json!({}));
    let before = configuration(world, "f", "");
    let first = publish(world, "f", &json!({ "Description": "of version one" }));
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:f:1";
    assert_eq!((&first["Version"], &first["FunctionArn"]), (&json!("1"), &json!(arn)));
    assert_eq!(first["Description"], "of version one");
    assert_eq!(
        (&first["State"], &first["LastUpdateStatus"]),
        (&json!("Active"), &json!("Successful"))
    );
    let after = configuration(world, "f", "");
    assert_ne!(
        before["RevisionId"], after["RevisionId"],
        "publishing changes the function's revision"
    );
    assert_ne!(first["RevisionId"], after["RevisionId"]);
    assert_eq!(after["Description"], "first");

    update(world, "f", &json!({ "ZipFile": code("two") }));
    world.settled("f");
    assert_eq!(configuration(world, "f", "?Qualifier=1"), first);
    assert_eq!(
        invoke(world, "f", Qualifier::Version(1)),
        (json!(["one", "1", "1", ["1"]]), "1".to_owned())
    );
    assert_eq!(
        invoke(world, "f", Qualifier::Latest),
        (json!(["two", "$LATEST", "$LATEST", ["$LATEST"]]), "$LATEST".to_owned())
    );
    // The old code is kept for the version, on the disk and for those who fetch it.
    world.run(async { world.lambda.reset().await });
    let streams = world.streams("/aws/lambda/f");
    assert!(streams.iter().any(|stream| stream.contains("/[1]")), "{streams:?}");
    assert_eq!(invoke(world, "f", Qualifier::Version(1)).0[0], "one");
}

fn nothing_new(world: &World) {
    create(world, "f", &json!({}));
    let first = publish(world, "f", &json!({}));
    assert_eq!(publish(world, "f", &json!({ "Description": "another" })), first);
    update(world, "f", &json!({ "ZipFile": code("one") }));
    world.settled("f");
    assert_eq!(publish(world, "f", &json!({})), first, "the same code is nothing new");
    let uri = format!("{FUNCTIONS}/f/configuration");
    assert_eq!(world.call("PUT", &uri, &json!({ "Description": "second" })).0, 200);
    world.settled("f");
    assert_eq!(publish(world, "f", &json!({}))["Version"], "2");
}

fn guards(world: &World) {
    create(world, "f", &json!({}));
    let uri = format!("{FUNCTIONS}/f/versions");
    let current = configuration(world, "f", "")["CodeSha256"].as_str().unwrap().to_owned();
    let (status, kind, text) = world.refused("POST", &uri, &json!({ "CodeSha256": "x" }));
    assert_eq!((status, kind.as_str()), (400, "InvalidParameterValueException"));
    assert_eq!(
        text,
        format!(
            "CodeSHA256 (x) is different from current CodeSHA256 in $LATEST ({current}). Please try again with the \
             CodeSHA256 in $LATEST."
        )
    );
    let (status, kind, _) = world.refused("POST", &uri, &json!({ "RevisionId": "x" }));
    assert_eq!((status, kind.as_str()), (412, "PreconditionFailedException"));
    let revision = &configuration(world, "f", "")["RevisionId"];
    let version = publish(world, "f", &json!({ "CodeSha256": current, "RevisionId": revision }));
    assert_eq!(version["Version"], "1");
    let absent = format!("{FUNCTIONS}/absent/versions");
    assert_eq!(world.refused("POST", &absent, &json!({})).0, 404);
    update(world, "f", &json!({ "ZipFile": code("two") }));
    let (status, answer) = world.call("POST", &uri, &json!({}));
    // The update may have been settled already.
    assert!(matches!(status, 201 | 409), "{answer}");
    world.settled("f");
}

fn with_update(world: &World) {
    let created = create(world, "f", &json!({ "Publish": true }));
    assert_eq!(created["Version"], "1");
    assert_eq!(created["FunctionArn"], "arn:aws:lambda:us-east-1:000000000000:function:f");
    assert_eq!(invoke(world, "f", Qualifier::Version(1)).0[0], "one");
    let answer = update(world, "f", &json!({ "ZipFile": code("two"), "Publish": true }));
    assert_eq!(answer["Version"], "2");
    assert!(answer["FunctionArn"].as_str().unwrap().ends_with(":f:2"), "{answer}");
    assert_eq!((&answer["State"], answer.get("LastUpdateStatus")), (&json!("Pending"), None));
    assert_eq!(
        invoke(world, "f", Qualifier::Version(2)).0[0],
        "two",
        "a call waits for its version"
    );
    world.settled("f");
    let second = configuration(world, "f", "?Qualifier=2");
    assert_eq!(
        (&second["State"], &second["LastUpdateStatus"]),
        (&json!("Active"), &json!("Successful"))
    );
    assert_ne!(second["RevisionId"], answer["RevisionId"]);
    let again = update(world, "f", &json!({ "ZipFile": code("two"), "Publish": true }));
    assert_eq!((&again["Version"], &again["State"]), (&json!("2"), &json!("Active")));
    world.settled("f");
}

fn lists(world: &World) {
    for name in ["a", "b"] {
        create(world, name, &json!({}));
    }
    for description in ["1", "2", "3"] {
        let uri = format!("{FUNCTIONS}/a/configuration");
        assert_eq!(world.call("PUT", &uri, &json!({ "Description": description })).0, 200);
        world.settled("a");
        publish(world, "a", &json!({}));
    }
    let seen = pages(world, &format!("{FUNCTIONS}/a/versions?MaxItems=2"), "Versions");
    assert_eq!(seen, ["a:$LATEST", "a:1", "a:2", "a:3"]);
    for size in 1..=6 {
        let uri = format!("{FUNCTIONS}/?FunctionVersion=ALL&MaxItems={size}");
        let all = ["a:$LATEST", "a:1", "a:2", "a:3", "b:$LATEST"];
        assert_eq!(pages(world, &uri, "Functions"), all, "{size} a page");
    }
    let uri = format!("{FUNCTIONS}/?MaxItems=1");
    assert_eq!(pages(world, &uri, "Functions"), ["a", "b"]);
    assert_eq!(
        world.refused("GET", &format!("{FUNCTIONS}/a/versions?Marker=x"), &Value::Null).0,
        400
    );
    assert_eq!(world.refused("GET", &format!("{FUNCTIONS}/absent/versions"), &Value::Null).0, 404);
}

/// The ARNs of all pages, from the function's name on.
fn pages(world: &World, uri: &str, member: &str) -> Vec<String> {
    let mut seen = Vec::new();
    let mut marker = String::new();
    for _ in 0..20 {
        let (status, page) = world.call("GET", &format!("{uri}{marker}"), &Value::Null);
        assert_eq!(status, 200, "{page}");
        for entry in page[member].as_array().unwrap() {
            assert_eq!(entry.get("State"), None, "{entry}");
            let arn = entry["FunctionArn"].as_str().unwrap();
            seen.push(arn.split_once(":function:").unwrap().1.to_owned());
        }
        match page["NextMarker"].as_str() {
            Some(next) => marker = format!("&Marker={next}"),
            None => return seen,
        }
    }
    panic!("the pages of {uri} do not end");
}

fn numbers(world: &World) {
    create(world, "f", &json!({ "Publish": true }));
    let uri = format!("{FUNCTIONS}/f");
    let latest = world.refused("DELETE", &format!("{uri}?Qualifier=$LATEST"), &Value::Null);
    assert_eq!(latest.0, 400);
    assert_eq!(world.call("DELETE", &format!("{uri}?Qualifier=1"), &Value::Null).0, 204);
    let (status, _, text) = world.refused("DELETE", &format!("{uri}?Qualifier=1"), &Value::Null);
    assert_eq!(status, 404);
    assert_eq!(text, "Function not found: arn:aws:lambda:us-east-1:000000000000:function:f:1");
    assert_eq!(world.refused("GET", &format!("{uri}?Qualifier=1"), &Value::Null).0, 404);
    assert_eq!(publish(world, "f", &json!({}))["Version"], "2");
    assert_eq!(world.call("DELETE", &uri, &Value::Null).0, 204);
    create(world, "f", &json!({}));
    assert_eq!(publish(world, "f", &json!({}))["Version"], "3", "not even by a new function");
    let mut call = world.invocation("f", "{}");
    call.target.qualifier = Some(Qualifier::Version(2));
    let error = world.run(world.lambda.invoke(call)).unwrap_err().to_string();
    assert_eq!(error, "Function not found: arn:aws:lambda:us-east-1:000000000000:function:f:2");
    let (_, settings) = world.call("GET", "/2016-08-19/account-settings", &Value::Null);
    let one = configuration(world, "f", "")["CodeSize"].as_u64().unwrap();
    assert_eq!(settings["AccountUsage"]["TotalCodeSize"], 2 * one, "every version counts");
}

fn policies(world: &World) {
    create(world, "f", &json!({ "Publish": true }));
    let uri = |rest: &str| format!("{FUNCTIONS}/f/policy{rest}");
    let statement = |sid: &str| json!({ "StatementId": sid, "Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com" });
    assert_eq!(world.call("POST", &uri("?Qualifier=1"), &statement("s")).0, 201);
    assert_eq!(world.refused("GET", &uri(""), &Value::Null).0, 404);
    assert_eq!(world.refused("POST", &uri("?Qualifier=2"), &statement("s")).0, 404);
    let (_, policy) = world.call("GET", &uri("?Qualifier=1"), &Value::Null);
    assert!(policy["Policy"].as_str().unwrap().contains(r#":function:f:1""#), "{policy}");
    let allows = |qualifier: Option<Qualifier>| {
        let target =
            gatemill_lambda::FunctionTarget { qualifier, ..world.invocation("f", "").target };
        let asked =
            world.lambda.allows_service(&target, "apigateway.amazonaws.com", "arn:aws:x:::y", "0");
        asked.unwrap()
    };
    assert!(
        allows(Some(Qualifier::Version(1))) && !allows(None) && !allows(Some(Qualifier::Latest))
    );
    assert_eq!(world.call("DELETE", &uri("/s?Qualifier=1"), &Value::Null).0, 204);
    assert!(!allows(Some(Qualifier::Version(1))));
}
