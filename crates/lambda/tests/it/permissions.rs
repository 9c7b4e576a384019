//! Resource policies through their operations, and what they let through.

use gatemill_lambda::FunctionTarget;
use serde_json::{Value, json};

use crate::{Case, world::World};

pub(crate) const CASES: &[Case] = &[
    Case { name: "permissions::add_get_remove", body: add_get_remove },
    Case { name: "permissions::what_is_let_through", body: let_through },
    Case { name: "permissions::limits", body: limits },
];

const POLICY: &str = "/2015-03-31/functions/f/policy";
const ECHO: &[(&str, &str)] = &[("app.py", "def handler(e, c):\n    return e\n")];

fn grant(sid: &str) -> Value {
    json!({
        "StatementId": sid, "Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com",
        "SourceArn": "arn:aws:execute-api:us-east-1:000000000000:a1/*",
    })
}

fn add_get_remove(world: &World) {
    world.create("f", "python3.12", ECHO);
    let revision = world.settled("f")["RevisionId"].clone();
    let (status, _, text) = world.refused("GET", POLICY, &Value::Null);
    assert_eq!((status, text.as_str()), (404, "The resource you requested does not exist."));
    let remove = format!("{POLICY}/s1");
    let (status, _, text) = world.refused("DELETE", &remove, &Value::Null);
    assert_eq!((status, text.as_str()), (404, "No policy is associated with the given resource."));
    let (status, added) = world.call("POST", POLICY, &grant("s1"));
    assert_eq!(status, 201, "{added}");
    let statement = r#"{"Sid":"s1","Effect":"Allow","Principal":{"Service":"apigateway.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"arn:aws:lambda:us-east-1:000000000000:function:f","Condition":{"ArnLike":{"AWS:SourceArn":"arn:aws:execute-api:us-east-1:000000000000:a1/*"}}}"#;
    assert_eq!(added["Statement"], statement);
    let (_, got) = world.call("GET", POLICY, &Value::Null);
    assert_eq!(
        got["Policy"],
        format!(r#"{{"Version":"2012-10-17","Id":"default","Statement":[{statement}]}}"#)
    );
    assert_eq!(world.settled("f")["RevisionId"], revision, "a policy has a revision of its own");
    let (status, code, text) = world.refused("POST", POLICY, &grant("s1"));
    assert_eq!((status, code.as_str()), (409, "ResourceConflictException"));
    assert_eq!(
        text,
        "The statement id (s1) provided already exists. Please provide a new statement id, or remove the existing statement."
    );
    let mut stale = grant("s2");
    stale["RevisionId"] = json!("0a0a0a0a-0000-0000-0000-000000000000");
    let (status, code, text) = world.refused("POST", POLICY, &stale);
    assert_eq!((status, code.as_str()), (412, "PreconditionFailedException"));
    assert_eq!(
        text,
        "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id"
    );
    let mut guarded = grant("s2");
    guarded["RevisionId"] = got["RevisionId"].clone();
    assert_eq!(world.call("POST", POLICY, &guarded).0, 201);
    let (_, after) = world.call("GET", POLICY, &Value::Null);
    assert_ne!(after["RevisionId"], got["RevisionId"]);
    let (status, _, text) = world.refused("DELETE", &format!("{POLICY}/s9"), &Value::Null);
    assert_eq!((status, text.as_str()), (404, "Statement s9 is not found in resource policy."));
    for sid in ["s1", "s2"] {
        assert_eq!(
            world.call("DELETE", &format!("{POLICY}/{sid}"), &Value::Null),
            (204, Value::Null)
        );
    }
    assert_eq!(world.refused("GET", POLICY, &Value::Null).0, 404);
    let mut unknown = grant("s");
    unknown["Principal"] = json!("nobody");
    let (status, code, text) = world.refused("POST", POLICY, &unknown);
    assert_eq!((status, code.as_str()), (400, "InvalidParameterValueException"));
    assert_eq!(
        text,
        "The provided principal was invalid. Please check the principal and try again."
    );
    let (status, _, text) =
        world.refused("POST", &format!("{POLICY}?Qualifier=%24LATEST"), &grant("s"));
    assert_eq!(
        (status, text.as_str()),
        (400, "We currently do not support adding policies for $LATEST.")
    );
}

fn let_through(world: &World) {
    world.create("f", "python3.12", ECHO);
    let target =
        FunctionTarget::from_arn("arn:aws:lambda:us-east-1:000000000000:function:f").unwrap();
    let allows = |principal: &str, source: &str| {
        world.lambda.allows_service(&target, principal, source, "000000000000").unwrap()
    };
    let gateway = "apigateway.amazonaws.com";
    let source = "arn:aws:execute-api:us-east-1:000000000000:a1/$default/GET/x";
    assert!(!allows(gateway, source));
    world.call("POST", POLICY, &grant("s1"));
    assert!(allows(gateway, source), "as soon as the call is answered");
    assert!(!allows("s3.amazonaws.com", source));
    assert!(!allows(gateway, "arn:aws:execute-api:us-east-1:000000000000:b2/$default/GET/x"));
    world.call("DELETE", &format!("{POLICY}/s1"), &Value::Null);
    assert!(!allows(gateway, source));
    world.call("POST", POLICY, &grant("s1"));
    world.call("DELETE", "/2015-03-31/functions/f", &Value::Null);
    assert!(!allows(gateway, source));
    world.create("f", "python3.12", ECHO);
    assert!(!allows(gateway, source), "a function of the same name begins without a policy");
}

fn limits(world: &World) {
    world.create("f", "python3.12", ECHO);
    let mut status = 201;
    let mut added = 0;
    while status == 201 {
        let sid = format!("{added:0>90}");
        status = world.call("POST", POLICY, &grant(&sid)).0;
        added += 1;
        assert!(added < 200, "the limit holds");
    }
    let (status, code, text) = world.refused("POST", POLICY, &grant(&"z".repeat(100)));
    assert_eq!((status, code.as_str()), (400, "PolicyLengthExceededException"), "{text}");
    let (_, policy) = world.call("GET", POLICY, &Value::Null);
    assert!((20_000..=20_480).contains(&policy["Policy"].as_str().unwrap().len()));
}
