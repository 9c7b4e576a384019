//! What has to hold for every generated operation, and the facts of a few.

use std::collections::{BTreeMap, BTreeSet};

use gatemill_wire::{
    Input as _, Kind, Location, Operation, OperationInfo, Output as _, Protocol, Shape,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{apigateway, apigatewayv2, generated, lambda, logs, services, sts};

/// One typed operation: its facts, and its types as functions from JSON to JSON.
pub(crate) struct Check {
    info: &'static OperationInfo,
    input: fn(Value) -> Result<Value, serde_json::Error>,
    output: fn(Value) -> Result<Value, serde_json::Error>,
}

/// The entry of one operation in a generated list.
pub(crate) const fn check<O: Operation>() -> Check
where
    O::Input: Serialize,
    O::Output: DeserializeOwned,
{
    Check { info: O::INFO, input: round_trip::<O::Input>, output: round_trip::<O::Output> }
}

fn round_trip<T: Serialize + DeserializeOwned>(value: Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<T>(value)?)
}

fn operations() -> impl Iterator<Item = &'static OperationInfo> {
    services().iter().flat_map(|service| service.operations.iter().copied())
}

/// A value with every member that JSON carries. Raw payloads travel apart.
fn sample(shape: &Shape, only_required: bool) -> Value {
    match &shape.kind {
        Kind::Structure { members } => members
            .iter()
            .filter(|m| m.required || !only_required)
            .filter(|m| {
                m.location != Location::Payload || !matches!(m.shape.kind, Kind::Blob { .. })
            })
            .map(|m| (m.wire.to_owned(), sample(m.shape, only_required)))
            .collect::<Map<_, _>>()
            .into(),
        Kind::List { member, .. } => json!([sample(member, only_required)]),
        Kind::Map { value, .. } => json!({ "key": sample(value, only_required) }),
        Kind::String { values, .. } => json!(values.first().unwrap_or(&"text")),
        Kind::Integer { long: true, .. } => json!(i64::MAX),
        Kind::Integer { long: false, .. } => json!(i32::MAX),
        Kind::Double { .. } => json!(0.5),
        Kind::Boolean => json!(true),
        Kind::Blob { .. } => json!("YmxvYg=="),
        Kind::Timestamp { format: gatemill_wire::TimestampFormat::EpochSeconds } => {
            json!(1_764_000_000)
        }
        Kind::Timestamp { format: gatemill_wire::TimestampFormat::Iso8601 } => {
            json!("2026-11-22T20:26:54Z")
        }
        Kind::Document => json!({ "any": [1, "value"] }),
    }
}

#[test]
fn structs_carry_exactly_the_members_of_their_shapes() {
    let mut checked = 0;
    for check in generated::CHECKS.iter().flat_map(|checks| checks.iter()) {
        for (side, shape, round) in
            [("input", check.info.input, check.input), ("output", check.info.output, check.output)]
        {
            let Some(shape) = shape else { continue };
            for only_required in [false, true] {
                let value = sample(shape, only_required);
                let back = round(value.clone());
                let back = back.unwrap_or_else(|e| panic!("{side} of {}: {e}", check.info.name));
                assert_eq!(back, value, "{side} of {}", check.info.name);
                checked += 1;
            }
        }
    }
    assert!(checked > 4 * 300, "only {checked} round trips");
}

#[test]
fn a_missing_required_member_does_not_decode() {
    let error =
        round_trip::<lambda::AddPermissionRequest>(json!({ "FunctionName": "f" })).unwrap_err();
    assert!(error.to_string().contains("StatementId"), "{error}");
}

#[test]
fn an_operation_belongs_to_the_service_that_lists_it_and_is_listed_once() {
    for service in services() {
        let mut names = BTreeSet::new();
        for operation in service.operations {
            assert!(std::ptr::eq(operation.service, *service), "{}", operation.name);
            assert!(names.insert(operation.name), "{} twice", operation.name);
        }
    }
}

#[test]
fn no_two_operations_of_a_rest_service_answer_to_the_same_request() {
    for service in services().iter().filter(|service| service.protocol == Protocol::RestJson) {
        let mut seen = BTreeMap::new();
        for operation in service.operations {
            let mut route = format!("{} ", operation.method);
            for part in operation.uri.split_inclusive('/') {
                route.push_str(if part.starts_with('{') { "{}/" } else { part });
            }
            let earlier = seen.insert(route, operation.name);
            assert_eq!(earlier, None, "{}", operation.name);
        }
    }
}

#[test]
fn every_label_of_a_path_is_a_required_member_and_the_other_way_round() {
    for operation in
        operations().filter(|operation| operation.service.protocol == Protocol::RestJson)
    {
        let labels: BTreeSet<&str> = operation
            .uri
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split('}').next())
            .map(|label| label.trim_end_matches('+'))
            .collect();
        let members = operation.input.map_or(&[][..], Shape::members);
        let bound: BTreeSet<&str> =
            members.iter().filter(|m| m.location == Location::Uri).map(|m| m.wire).collect();
        assert_eq!(labels, bound, "{}", operation.name);
        assert!(
            members.iter().all(|m| m.location != Location::Uri || m.required),
            "{}",
            operation.name
        );
    }
}

#[test]
fn every_operation_has_an_action_of_its_service_and_a_status_of_success() {
    for operation in operations() {
        let (prefix, action) = operation.action.split_once(':').unwrap();
        let expected = match operation.service.name {
            "apigateway" | "apigatewayv2" => "apigateway",
            "apigatewaymanagementapi" => "execute-api",
            name => name,
        };
        assert_eq!(prefix, expected, "{}", operation.name);
        assert!(!action.is_empty(), "{}", operation.name);
        assert!((200..300).contains(&operation.status), "{}", operation.name);
    }
}

#[test]
fn every_exception_is_an_error() {
    for operation in operations() {
        for error in operation.errors {
            assert!((400..600).contains(&error.status), "{}", error.code);
        }
    }
}

#[test]
fn all_of_the_models_are_here() {
    let counts: Vec<_> = services().iter().map(|s| (s.name, s.operations.len())).collect();
    let expected = [
        ("lambda", 91),
        ("apigateway", 124),
        ("apigatewayv2", 103),
        ("apigatewaymanagementapi", 3),
        ("logs", 118),
        ("cloudwatch", 59),
        ("sts", 11),
    ];
    assert_eq!(counts, expected);
}

#[test]
fn create_function_is_as_in_the_model() {
    let info = <lambda::CreateFunction as Operation>::INFO;
    assert_eq!((info.method, info.uri, info.status), ("POST", "/2015-03-31/functions", 201));
    assert_eq!(info.action, "lambda:CreateFunction");
    let required: Vec<_> =
        info.input.unwrap().members().iter().filter(|m| m.required).map(|m| m.name).collect();
    assert_eq!(required, ["FunctionName", "Role", "Code"]);
    assert!(info.errors.contains(&&lambda::errors::RESOURCE_CONFLICT_EXCEPTION));
}

#[test]
fn every_way_to_invoke_has_one_action() {
    for info in [&lambda::INVOKE, &lambda::INVOKE_ASYNC, &lambda::INVOKE_WITH_RESPONSE_STREAM] {
        assert_eq!(info.action, "lambda:InvokeFunction");
    }
    assert_eq!(apigatewayv2::CREATE_API.action, "apigateway:POST");
}

fn member(info: &'static OperationInfo, name: &str) -> &'static gatemill_wire::Member {
    info.input.unwrap().members().iter().find(|m| m.name == name).unwrap()
}

#[test]
fn constraints_bindings_and_overrides_are_as_configured() {
    let name = member(&lambda::GET_FUNCTION, "FunctionName");
    assert_eq!(name.location, Location::Uri);
    let Kind::String { min, max, pattern, .. } = &name.shape.kind else { panic!("not a string") };
    assert_eq!((*min, *max), (Some(1), Some(256)));
    assert!(pattern.is_some_and(|p| p.starts_with("(arn:")));
    assert_eq!(member(&lambda::GET_FUNCTION, "Qualifier").location, Location::Query);

    let runtime = member(&lambda::CREATE_FUNCTION, "Runtime");
    assert!(matches!(runtime.shape.kind, Kind::String { values: &[], .. }));
    let architectures = member(&lambda::CREATE_FUNCTION, "Architectures");
    let Kind::List { member: architecture, max, .. } = architectures.shape.kind else {
        panic!("not a list")
    };
    assert_eq!(max, Some(1));
    assert!(matches!(architecture.kind, Kind::String { values: ["x86_64", "arm64"], .. }));

    let environment = member(&lambda::CREATE_FUNCTION, "Environment");
    assert!(environment.shape.members()[0].shape.sensitive);
    assert_eq!(member(&apigateway::GET_RESOURCES, "restApiId").wire, "restapi_id");
}

#[test]
fn exceptions_keep_the_casing_of_their_bodies() {
    let not_found = &lambda::errors::RESOURCE_NOT_FOUND_EXCEPTION;
    assert_eq!(
        (not_found.status, not_found.message_member, not_found.typed),
        (404, Some("Message"), true)
    );
    let throttled = &lambda::errors::TOO_MANY_REQUESTS_EXCEPTION;
    assert_eq!(
        (throttled.status, throttled.message_member, throttled.typed),
        (429, Some("message"), true)
    );
    let bad_request = &apigatewayv2::errors::BAD_REQUEST_EXCEPTION;
    assert_eq!((bad_request.status, bad_request.message_member), (400, Some("message")));
    assert_eq!(logs::errors::SERVICE_UNAVAILABLE_EXCEPTION.status, 500);
    assert_eq!(sts::errors::REGION_DISABLED_EXCEPTION.status, 403);
}

#[test]
fn raw_payloads_travel_apart() {
    let mut request = lambda::InvocationRequest::default();
    request.set_payload("{}".into());
    assert_eq!(request.payload, "{}");
    assert_eq!(serde_json::to_value(&request).unwrap(), json!({ "FunctionName": "" }));
    let mut response = lambda::InvocationResponse { payload: "[]".into(), ..Default::default() };
    assert_eq!(response.take_payload().unwrap(), "[]");
    assert_eq!(lambda::FunctionConfiguration::default().take_payload(), None);
}

#[test]
fn an_operation_without_types_is_named_all_the_same() {
    assert_eq!(logs::START_QUERY.name, "StartQuery");
    assert!(logs::START_QUERY.input.is_none());
    assert!(!generated::CHECKS.iter().flat_map(|c| c.iter()).any(|c| c.info.name == "StartQuery"));
}

#[test]
fn debug_shows_no_sensitive_value() {
    let request: lambda::CreateFunctionRequest = serde_json::from_value(json!({
        "FunctionName": "mark",
        "Role": "r",
        "Code": { "ZipFile": "c2VjcmV0" },
        "Environment": { "Variables": { "SECRET_NAME": "secret" } },
    }))
    .unwrap();
    let shown = format!("{request:?}");
    assert!(shown.contains("mark") && shown.contains("<hidden>"), "{shown}");
    assert!(!shown.to_lowercase().contains("secret"), "{shown}");
}

#[test]
fn enums_are_listed_in_the_order_of_the_services_messages() {
    let operations = member(&apigateway::UPDATE_REST_API, "patchOperations");
    let Kind::List { member: operation, .. } = operations.shape.kind else { panic!("not a list") };
    let op = operation.members().iter().find(|m| m.name == "op").unwrap();
    let expected = ["add", "remove", "move", "test", "replace", "copy"];
    assert!(matches!(&op.shape.kind, Kind::String { values, .. } if **values == expected));
}
