//! Routing: which operation a request names, in each protocol.

use http::Request;
use proptest::prelude::*;

use super::*;
use crate::{
    Shape,
    test_service::{self, cx, request, run},
};

const fn operation(name: &'static str, method: &'static str, uri: &'static str) -> OperationInfo {
    OperationInfo {
        name,
        service: &PATHS,
        method,
        uri,
        status: 200,
        action: "paths:Any",
        input: None::<&'static Shape>,
        output: None,
        errors: &[],
    }
}

static LIST_LAYERS: OperationInfo = operation("Layers", "GET", "/2018-10-31/layers");
static GET_LAYER_BY_ARN: OperationInfo =
    operation("LayerByArn", "GET", "/2018-10-31/layers?find=LayerVersion");
static GET_PROVISIONED: OperationInfo =
    operation("GetProvisioned", "GET", "/2019-09-30/functions/{FunctionName}/provisioned");
static LIST_PROVISIONED: OperationInfo = operation(
    "ListProvisioned",
    "GET",
    "/2019-09-30/functions/{FunctionName}/provisioned?List=ALL",
);
static LIST_FUNCTIONS: OperationInfo = operation("List", "GET", "/2015-03-31/functions");
static GET_FUNCTION: OperationInfo =
    operation("Get", "GET", "/2015-03-31/functions/{FunctionName}");
static DELETE_FUNCTION: OperationInfo =
    operation("Delete", "DELETE", "/2015-03-31/functions/{FunctionName}");
static REMOVE_PERMISSION: OperationInfo =
    operation("Remove", "DELETE", "/2015-03-31/functions/{FunctionName}/policy/{StatementId}");
static GET_CONFIGURATION: OperationInfo =
    operation("GetConfiguration", "GET", "/2015-03-31/functions/{FunctionName}/configuration");
static SETTINGS: OperationInfo = operation("Settings", "GET", "/2015-03-31/functions/settings");
static POST_CONNECTION: OperationInfo =
    operation("PostConnection", "POST", "/@connections/{ConnectionId}");
static TAGS: OperationInfo = operation("Tags", "GET", "/tags/{ResourceArn+}");
static TAG_KEYS: OperationInfo = operation("TagKeys", "GET", "/tags/{ResourceArn+}/keys");
static ROOT: OperationInfo = operation("Root", "GET", "/");

/// The kinds of path that the models have. The order is not the one in which they have to be tried.
static PATHS: Service = Service {
    name: "paths",
    signing_name: "paths",
    protocol: Protocol::RestJson,
    api_version: "",
    validation: &common::VALIDATION,
    malformed: &common::SERIALIZATION,
    operations: &[
        &LIST_LAYERS,
        &GET_LAYER_BY_ARN,
        &GET_PROVISIONED,
        &LIST_PROVISIONED,
        &LIST_FUNCTIONS,
        &GET_FUNCTION,
        &DELETE_FUNCTION,
        &REMOVE_PERMISSION,
        &GET_CONFIGURATION,
        &SETTINGS,
        &POST_CONNECTION,
        &TAGS,
        &TAG_KEYS,
        &ROOT,
    ],
};

fn table() -> Routes<(), ApiError> {
    Table::new(&PATHS).serve(Arc::new(()))
}

fn route(method: &str, target: &str) -> Option<(&'static str, String)> {
    let (parts, body) = request(method, target, &[], b"").into_parts();
    let (operation, labels) = table().route(&parts, &body)?;
    let labels: Vec<String> =
        labels.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    Some((operation.name, labels.join(" ")))
}

fn check(request: &str, expected: Option<(&str, &str)>) {
    let (method, target) = request.split_once(' ').unwrap();
    let routed = route(method, target);
    let routed = routed.as_ref().map(|(name, labels)| (*name, labels.as_str()));
    assert_eq!(routed, expected, "{request}");
}

#[test]
fn paths_and_labels() {
    check("GET /2015-03-31/functions", Some(("List", "")));
    check("GET /2015-03-31/functions/", Some(("List", "")));
    check("GET /2015-03-31/functions/f", Some(("Get", "FunctionName=f")));
    check("GET /2015-03-31/functions/f/", Some(("Get", "FunctionName=f")));
    check("DELETE /2015-03-31/functions/f", Some(("Delete", "FunctionName=f")));
    check(
        "GET /2015-03-31/functions/f/configuration",
        Some(("GetConfiguration", "FunctionName=f")),
    );
    check(
        "DELETE /2015-03-31/functions/f/policy/s",
        Some(("Remove", "FunctionName=f StatementId=s")),
    );
    check("POST /@connections/a%2Fb%3D", Some(("PostConnection", "ConnectionId=a%2Fb%3D")));
    check("GET /", Some(("Root", "")));
    check("GET /?a=b", Some(("Root", "")));
}

#[test]
fn labels_stay_encoded_and_literals_may_be() {
    let arn = "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af";
    check(
        &format!("GET /2015-03-31/functions/{arn}"),
        Some(("Get", &format!("FunctionName={arn}"))),
    );
    // An encoded slash divides nothing.
    check("GET /2015-03-31/functions/a%2Fb", Some(("Get", "FunctionName=a%2Fb")));
    check("POST /%40connections/c", Some(("PostConnection", "ConnectionId=c")));
    check("GET /2015-03-31/f%75nctions", Some(("List", "")));
}

#[test]
fn the_most_literal_path_wins() {
    check("GET /2015-03-31/functions/settings", Some(("Settings", "")));
    check("GET /2018-10-31/layers", Some(("Layers", "")));
    check("GET /2018-10-31/layers?find=LayerVersion&Arn=a", Some(("LayerByArn", "")));
    check("GET /2018-10-31/layers?Arn=a&find=LayerVersion", Some(("LayerByArn", "")));
    check("GET /2018-10-31/layers?find=layerversion", Some(("Layers", "")));
    check("GET /2018-10-31/layers?find", Some(("Layers", "")));
    let (get, list) = ("GetProvisioned", "ListProvisioned");
    check("GET /2019-09-30/functions/f/provisioned", Some((get, "FunctionName=f")));
    check("GET /2019-09-30/functions/f/provisioned?List=ALL", Some((list, "FunctionName=f")));
    check("GET /2019-09-30/functions/f/provisioned?List=A%4CL", Some((list, "FunctionName=f")));
    check("GET /2019-09-30/functions/f/provisioned?Qualifier=ALL", Some((get, "FunctionName=f")));
}

#[test]
fn greedy_labels() {
    check(
        "GET /tags/arn:aws:apigateway:r::/apis/a",
        Some(("Tags", "ResourceArn=arn:aws:apigateway:r::/apis/a")),
    );
    check("GET /tags/a", Some(("Tags", "ResourceArn=a")));
    check("GET /tags/a/keys", Some(("TagKeys", "ResourceArn=a")));
    check("GET /tags/a/b/keys", Some(("TagKeys", "ResourceArn=a/b")));
    check("GET /tags/keys", Some(("Tags", "ResourceArn=keys")));
    check("GET /tags", None);
    check("GET /tags/", None);
}

#[test]
fn what_is_routed_is_what_is_signed() {
    // The canonical path of a signature resolves dots and drops empty segments. Were these requests routed otherwise,
    // the signature of one operation would hold for another.
    check("DELETE /2015-03-31/functions/f/policy/..", Some(("Delete", "FunctionName=f")));
    check("GET /2015-03-31/x/../functions/./f", Some(("Get", "FunctionName=f")));
    check("GET //2015-03-31//functions//f", Some(("Get", "FunctionName=f")));
    check("GET /../2015-03-31/functions", Some(("List", "")));
    // Encoded dots are a name and no way up.
    check("GET /2015-03-31/functions/%2E%2E", Some(("Get", "FunctionName=%2E%2E")));
}

#[test]
fn what_no_path_fits() {
    for request in [
        "PUT /2015-03-31/functions",
        "get /2015-03-31/functions",
        "HEAD /2015-03-31/functions/f",
        "GET /2015-03-31/function",
        "GET /2015-03-31",
        "GET /2015-03-31/functions/f/policy",
        "GET /2015-03-31/functions/f/configuration/x",
        "DELETE /2015-03-31/functions//policy/s",
        "POST /@connections/",
        "POST /",
    ] {
        check(request, None);
    }
}

fn check_named(table: &test_service::Bound, request: Request<Bytes>, expected: Option<&str>) {
    let (parts, body) = request.into_parts();
    let routed = table.route(&parts, &body).map(|(operation, _)| operation.name);
    assert_eq!(routed, expected, "{parts:?}");
}

#[test]
fn the_target_of_a_json_service() {
    let check = |method: &str, headers: &[&str], expected| {
        check_named(&test_service::json(), request(method, "/", headers, b"{}"), expected);
    };
    check("POST", &["x-amz-target: Things_2020.Make"], Some("Make"));
    check("POST", &["x-amz-target: Things_2020.Unbuilt"], Some("Unbuilt"));
    check("GET", &["x-amz-target: Things_2020.Make"], None);
    for target in
        ["Things_2020.make", "Things_2020Make", "Things_2020.", "Things_2021.Make", "Make", ".Make"]
    {
        check("POST", &[&format!("x-amz-target: {target}")], None);
    }
    check("POST", &[], None);
}

#[test]
fn the_action_of_a_query_service() {
    let check = |target: &str, body: &str, expected| {
        let request = request("POST", target, &[], body.as_bytes());
        check_named(&test_service::query(), request, expected);
    };
    check("/", "Action=Make&Version=2020", Some("Make"));
    check("/", "Version=2020&Action=M%61ke", Some("Make"));
    check("/?Action=Unbuilt", "", Some("Unbuilt"));
    check("/", "Action=make", None);
    check("/", "action=Make", None);
    check("/", "Action", None);
    check("/", "", None);
}

#[test]
fn an_unbuilt_operation_says_so() {
    for (table, target, headers, body) in [
        (test_service::rest(), "/unbuilt", &[][..], ""),
        (test_service::json(), "/", &["x-amz-target: Things_2020.Unbuilt"][..], "{}"),
        (test_service::query(), "/", &[][..], "Action=Unbuilt"),
    ] {
        let name = table.service().name;
        let method = if name == "rest" { "GET" } else { "POST" };
        let (parts, body) = request(method, target, headers, body.as_bytes()).into_parts();
        let (operation, labels) = table.route(&parts, &body).unwrap();
        assert!(!table.is_built(operation));
        let error = run(table.call(&cx(), operation, &parts, &labels, &body)).unwrap_err();
        assert_eq!(error.shape.status, 501);
        assert_eq!(
            error.message,
            format!("The operation {name}:Unbuilt is not built in this version of Gatemill.")
        );
    }
}

#[test]
fn a_table_without_state_lists_its_operations() {
    let table = Table::<(), ApiError>::new(&test_service::REST);
    let table = table.on::<test_service::RestMake>(test_service::make);
    let listed: Vec<(&str, bool)> =
        table.operations().into_iter().map(|(operation, built)| (operation.name, built)).collect();
    assert_eq!(listed, [("Make", true), ("Send", false), ("Drop", false), ("Unbuilt", false)]);
    assert_eq!(route_of(&table.serve(Arc::new(()))), Some("Make"));
}

fn route_of(routes: &test_service::Bound) -> Option<&'static str> {
    let (parts, body) = request("POST", "/things/t", &[], b"").into_parts();
    routes.route(&parts, &body).map(|(operation, _)| operation.name)
}

#[test]
#[should_panic(expected = "Make is bound twice")]
fn an_operation_is_bound_once() {
    let table = Table::<(), ApiError>::new(&test_service::REST);
    let table = table.on::<test_service::RestMake>(test_service::make);
    let _ = table.on::<test_service::RestMake>(test_service::make);
}

#[test]
#[should_panic(expected = "Make is not of json")]
fn an_operation_is_bound_to_its_own_service() {
    let table = Table::<(), ApiError>::new(&test_service::JSON);
    let _ = table.on::<test_service::RestMake>(test_service::make);
}

proptest! {
    #[test]
    fn no_target_panics(method in "[A-Z]{1,7}", target in "/[!-~]{0,60}", body in any::<Vec<u8>>()) {
        let Ok(request) = Request::builder().method(method.as_str()).uri(target).body(Bytes::from(body)) else { return Ok(()) };
        let (parts, body) = request.into_parts();
        for table in [table(), test_service::rest(), test_service::json(), test_service::query()] {
            let _ = table.route(&parts, &body);
        }
    }
}
