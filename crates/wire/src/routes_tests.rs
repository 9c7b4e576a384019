//! Which operation a request names, in each protocol.

use http::{Method, Request};

use super::*;
use crate::{ErrorShape, Kind, Shape, error::common};

static EMPTY: Shape =
    Shape { name: "Empty", kind: Kind::Structure { members: &[] }, sensitive: false };
static NO_ERRORS: &[&ErrorShape] = &[];

const fn operation(
    service: &'static Service,
    name: &'static str,
    method: &'static str,
    uri: &'static str,
) -> OperationInfo {
    OperationInfo {
        name,
        service,
        method,
        uri,
        status: 200,
        action: "test:Test",
        input: Some(&EMPTY),
        output: None,
        errors: NO_ERRORS,
    }
}

const fn service(protocol: Protocol, operations: &'static [&'static OperationInfo]) -> Service {
    Service {
        name: "test",
        signing_name: "test",
        protocol,
        api_version: "2026-11-22",
        validation: &common::VALIDATION,
        malformed: &common::SERIALIZATION,
        operations,
    }
}

static REST: Service = service(
    Protocol::RestJson,
    &[&LIST, &GET, &GET_BRANCH, &GET_SETTINGS, &TAG, &INVOKE_LAST, &LIST_ALL, &GET_ONE_OF_ALL],
);
static LIST: OperationInfo = operation(&REST, "List", "GET", "/v1/functions/");
static GET: OperationInfo = operation(&REST, "Get", "GET", "/v1/functions/{FunctionName}");
static GET_BRANCH: OperationInfo =
    operation(&REST, "GetBranch", "GET", "/v1/functions/{FunctionName}/branches/{Name}");
static GET_SETTINGS: OperationInfo =
    operation(&REST, "GetSettings", "GET", "/v1/functions/settings");
static TAG: OperationInfo = operation(&REST, "Tag", "POST", "/v1/tags/{ResourceArn+}");
static INVOKE_LAST: OperationInfo =
    operation(&REST, "InvokeLast", "POST", "/v1/tags/{ResourceArn+}/last");
static LIST_ALL: OperationInfo =
    operation(&REST, "ListAll", "GET", "/v1/functions/{FunctionName}/versions?List=ALL");
static GET_ONE_OF_ALL: OperationInfo =
    operation(&REST, "GetOneOfAll", "GET", "/v1/functions/{FunctionName}/versions");

static JSON: Service =
    service(Protocol::Json { target_prefix: "Logs_1", version: "1.1" }, &[&JSON_PUT]);
static JSON_PUT: OperationInfo = operation(&JSON, "Put", "POST", "/");
static QUERY: Service = service(Protocol::Query { namespace: "urn:test" }, &[&QUERY_WHO]);
static QUERY_WHO: OperationInfo = operation(&QUERY, "Who", "POST", "/");

fn routes(service: &'static Service) -> Routes<(), ApiError> {
    Routes::new(service, Arc::new(()))
}

fn rest(method: &str, target: &str) -> Option<(&'static str, Labels)> {
    let request = Request::builder().method(method).uri(target).body(()).unwrap();
    let found = routes(&REST).route(&request.into_parts().0, &Bytes::new());
    found.map(|(operation, labels)| (operation.name, labels))
}

#[test]
fn paths_with_labels() {
    let label = |name, value: &str| vec![(name, value.to_owned())];
    let f = || label("FunctionName", "f");
    for (target, expected) in [
        ("/v1/functions", Some(("List", vec![]))),
        ("/v1/functions/", Some(("List", vec![]))),
        ("/v1/functions?Marker=x", Some(("List", vec![]))),
        ("/v1/functions/f", Some(("Get", f()))),
        ("/v1/functions/f/", Some(("Get", f()))),
        (
            "/v1/functions/arn%3Aaws%3Alambda",
            Some(("Get", label("FunctionName", "arn%3Aaws%3Alambda"))),
        ),
        ("/v1/functions/a%2Fb", Some(("Get", label("FunctionName", "a%2Fb")))),
        ("/v1/functions/settings", Some(("GetSettings", vec![]))),
        ("/v1/%66unctions/f", Some(("Get", f()))),
        ("/v1/functions/f/versions?List=ALL", Some(("ListAll", f()))),
        ("/v1/functions/f/versions?a=b&List=ALL", Some(("ListAll", f()))),
        ("/v1/functions/f/versions?List=SOME", Some(("GetOneOfAll", f()))),
        ("/v1/functions/f/versions", Some(("GetOneOfAll", f()))),
        ("/v1/functions//branches/x", None),
        ("/v1/functions/f/branches", None),
        ("/v1/functions/f/branches/a/b", None),
        ("/v2/functions/f", None),
        ("/", None),
        ("*", None),
    ] {
        assert_eq!(rest("GET", target), expected, "{target}");
    }
    let alias = rest("GET", "/v1/functions/f/branches/live").unwrap();
    assert_eq!(alias.0, "GetBranch");
    assert_eq!(alias.1, [("FunctionName", "f".to_owned()), ("Name", "live".to_owned())]);
}

#[test]
fn greedy_labels_take_slashes() {
    let arn = "arn:aws:apigateway:us-east-1::/restapis/x";
    let found = rest("POST", &format!("/v1/tags/{arn}")).unwrap();
    assert_eq!(found, ("Tag", vec![("ResourceArn", arn.to_owned())]));
    let found = rest("POST", "/v1/tags/a/b/last").unwrap();
    assert_eq!(found, ("InvokeLast", vec![("ResourceArn", "a/b".to_owned())]));
    assert_eq!(rest("POST", "/v1/tags"), None);
    assert_eq!(rest("POST", "/v1/tags/"), None);
}

#[test]
fn the_method_counts() {
    assert_eq!(rest("POST", "/v1/functions/f"), None);
    assert_eq!(rest("get", "/v1/functions/f"), None);
    assert_eq!(rest("OPTIONS", "*"), None);
}

#[test]
fn targets_and_actions() {
    let target = |value: &str| {
        let request = Request::post("/").header("x-amz-target", value).body(()).unwrap();
        let found = routes(&JSON).route(&request.into_parts().0, &Bytes::new());
        found.map(|(operation, _)| operation.name)
    };
    assert_eq!(target("Logs_1.Put"), Some("Put"));
    for wrong in ["", "Put", "Logs_1.", "Logs_1Put", "Logs_1.put", "Logs_2.Put", "Logs_1.Put.Put"] {
        assert_eq!(target(wrong), None, "{wrong}");
    }
    let action = |target: &str, body: &'static str| {
        let request = Request::post(target).body(()).unwrap();
        let found =
            routes(&QUERY).route(&request.into_parts().0, &Bytes::from_static(body.as_bytes()));
        found.map(|(operation, _)| operation.name)
    };
    assert_eq!(action("/", "Version=1&Action=Who"), Some("Who"));
    assert_eq!(action("/?Action=Who", ""), Some("Who"));
    assert_eq!(action("/", "Action=Whom"), None);
    assert_eq!(action("/", ""), None);
}

#[test]
fn an_operation_without_a_handler_is_not_built() {
    let routes = routes(&JSON);
    assert!(!routes.is_built(&JSON_PUT));
    let error = not_built(&JSON_PUT);
    assert_eq!(error.shape.status, 501);
    assert_eq!(error.message, "The operation test:Put is not built in this version of Gatemill.");
}

proptest::proptest! {
    #[test]
    fn no_path_makes_the_table_panic(target in "/[a-z0-9/%.+{}~:-]{0,60}", body in ".{0,40}") {
        if let Ok(request) = Request::builder().method(Method::GET).uri(&target).body(()) {
            let parts = request.into_parts().0;
            for service in [&REST, &JSON, &QUERY] {
                let _ = routes(service).route(&parts, &Bytes::from(body.clone()));
            }
        }
    }
}
