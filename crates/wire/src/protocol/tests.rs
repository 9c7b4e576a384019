//! Binding: members come from where the model says they travel, and hostile input ends in an error.

use http::{HeaderValue, Request};
use proptest::prelude::*;

use super::*;
use crate::{Kind, Location, Member, Shape, error::common};

const fn shape(kind: Kind) -> Shape {
    Shape { name: "Shape", kind, sensitive: false }
}

const fn member(name: &'static str, location: Location, shape: &'static Shape) -> Member {
    Member { name, wire: name, location, required: false, shape }
}

static TEXT: Shape = shape(Kind::String { min: None, max: None, pattern: None, values: &[] });
static INTEGER: Shape = shape(Kind::Integer { long: false, min: None, max: None });
static LONG: Shape = shape(Kind::Integer { long: true, min: None, max: None });
static DOUBLE: Shape = shape(Kind::Double { min: None, max: None });
static BOOLEAN: Shape = shape(Kind::Boolean);
static BLOB: Shape = shape(Kind::Blob { min: None, max: None });
static TEXTS: Shape = shape(Kind::List { member: &TEXT, min: None, max: None });
static TREE: Shape = shape(Kind::Structure {
    members: &[member("Leaf", Location::Body, &INTEGER), member("Below", Location::Body, &TREE)],
});
static TREES: Shape = shape(Kind::List { member: &TREE, min: None, max: None });

static REST_INPUT: Shape = shape(Kind::Structure {
    members: &[
        member("Name", Location::Uri, &TEXT),
        member("Max", Location::Query, &INTEGER),
        member("Big", Location::Query, &LONG),
        member("Ratio", Location::Query, &DOUBLE),
        member("Flag", Location::Query, &BOOLEAN),
        member("Keys", Location::Query, &TEXTS),
        member("X-Kind", Location::Header, &TEXT),
        member("Body", Location::Body, &TEXT),
    ],
});
static RAW_INPUT: Shape = shape(Kind::Structure {
    members: &[
        member("Name", Location::Uri, &TEXT),
        member("Payload", Location::Payload, &BLOB),
        member("x-meta-", Location::Headers, &TEXTS),
    ],
});
static QUERY_INPUT: Shape = shape(Kind::Structure {
    members: &[
        member("Name", Location::Body, &TEXT),
        member("Max", Location::Body, &INTEGER),
        member("Flag", Location::Body, &BOOLEAN),
        member("Tree", Location::Body, &TREE),
        member("Trees", Location::Body, &TREES),
        member("Keys", Location::Body, &TEXTS),
    ],
});

const fn service(protocol: Protocol) -> Service {
    Service {
        name: "test",
        signing_name: "test",
        protocol,
        api_version: "2026-11-22",
        validation: &common::VALIDATION,
        malformed: &common::SERIALIZATION,
        operations: &[],
    }
}

static REST: Service = service(Protocol::RestJson);
static JSON: Service = service(Protocol::Json { target_prefix: "T", version: "1.0" });
static QUERY: Service = service(Protocol::Query { namespace: "urn:test" });

const fn operation(service: &'static Service, input: &'static Shape) -> OperationInfo {
    OperationInfo {
        name: "Test",
        service,
        method: "POST",
        uri: "/{Name}",
        status: 200,
        action: "test:Test",
        input: Some(input),
        output: None,
        errors: &[],
    }
}

static REST_OPERATION: OperationInfo = operation(&REST, &REST_INPUT);
static RAW_OPERATION: OperationInfo = operation(&REST, &RAW_INPUT);
static JSON_OPERATION: OperationInfo = operation(&JSON, &QUERY_INPUT);
static QUERY_OPERATION: OperationInfo = operation(&QUERY, &QUERY_INPUT);

fn bind(
    operation: &OperationInfo,
    target: &str,
    headers: &[(&'static str, &[u8])],
    label: &str,
    body: &[u8],
) -> Result<Bound, ApiError> {
    let mut request = Request::post(target).body(()).unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    let labels = vec![("Name", label.to_owned())];
    decode(operation, &request.into_parts().0, &labels, &Bytes::copy_from_slice(body))
}

/// Compared as values: the order of members says nothing.
fn check(bound: Result<Bound, ApiError>, expected: &str) {
    let expected: Value = serde_json::from_str(expected).unwrap();
    assert_eq!(Value::Object(bound.unwrap().members), expected);
}

#[test]
fn members_come_from_where_they_travel() {
    let bound = bind(
        &REST_OPERATION,
        "/f?Max=5&Big=-9223372036854775808&Ratio=0.5&Flag=true&Keys=a&Keys=b%20c&Body=query",
        &[("x-kind", b"Event")],
        "gr%C3%BC%C3%9Fe%2Fx",
        br#"{"Body":"body","Name":"shadow","Max":99,"X-Kind":"shadow","Keys":[],"Other":1}"#,
    );
    check(
        bound,
        r#"{"Body":"body","Other":1,"Name":"grüße/x","Max":5,"Big":-9223372036854775808,"Ratio":0.5,"Flag":true,"Keys":["a","b c"],"X-Kind":"Event"}"#,
    );
    // What does not travel in the body is not taken from there even when it is absent elsewhere.
    let bound = bind(&REST_OPERATION, "/f", &[], "f", br#"{"Max":99,"X-Kind":"shadow"}"#);
    check(bound, r#"{"Name":"f"}"#);
}

#[test]
fn a_raw_payload_is_not_looked_at() {
    let body = b"\xff\x00 not JSON";
    let headers: &[(&str, &[u8])] = &[("x-meta-a", b"1"), ("X-Meta-B", b"2"), ("x-other", b"3")];
    let headers: Vec<(&'static str, &[u8])> = headers
        .iter()
        .map(|(name, value)| (if *name == "X-Meta-B" { "x-meta-b" } else { *name }, *value))
        .collect();
    let bound = bind(&RAW_OPERATION, "/f", &headers, "f", body).unwrap();
    assert_eq!(bound.payload.as_deref(), Some(&body[..]));
    assert_eq!(
        Value::Object(bound.members).to_string(),
        r#"{"Name":"f","x-meta-":{"a":"1","b":"2"}}"#
    );
}

#[test]
fn scalars_that_are_none_are_refused() {
    for (query, kind) in [
        ("Max=x", "an Integer"),
        ("Max=", "an Integer"),
        ("Max=2147483648", "an Integer"),
        ("Max=1.5", "an Integer"),
        ("Big=9223372036854775808", "a Long"),
        ("Ratio=x", "a Double"),
        ("Ratio=NaN", "a Double"),
        ("Ratio=inf", "a Double"),
        ("Flag=TRUE", "a Boolean"),
        ("Flag=1", "a Boolean"),
    ] {
        let error = bind(&REST_OPERATION, &format!("/f?{query}"), &[], "f", b"").unwrap_err();
        assert_eq!(error.message, format!("STRING_VALUE can not be converted to {kind}"));
    }
}

#[test]
fn forms_are_read_along_the_shape() {
    let form = "Action=Test&Name=a+b&Max=7&Flag=false&Keys.member.1=x&Keys.member.2=y&Keys.member.4=z\
                &Tree.Leaf=1&Tree.Below.Leaf=2&Trees.member.1.Leaf=3&Trees.member.2.Below.Leaf=4&Stray.1=q";
    check(
        bind(&QUERY_OPERATION, "/", &[], "", form.as_bytes()),
        r#"{"Name":"a b","Max":7,"Flag":false,"Tree":{"Leaf":1,"Below":{"Leaf":2}},"Trees":[{"Leaf":3},{"Below":{"Leaf":4}}],"Keys":["x","y"]}"#,
    );
    check(bind(&QUERY_OPERATION, "/?Name=q", &[], "", b""), r#"{"Name":"q"}"#);
    for wrong in ["Max=x", "Flag=yes", "Tree.Leaf=x"] {
        let error = bind(&QUERY_OPERATION, "/", &[], "", wrong.as_bytes()).unwrap_err();
        assert_eq!(error.shape.status, 400);
    }
}

#[test]
fn the_texts_of_xml_are_escaped() {
    let value = serde_json::json!({"a": "<&>\"'", "b": [1, true], "c": {"d": null}});
    let response =
        query::encode(&QUERY_OPERATION, "urn:test", RequestId(uuid::Uuid::nil()), &value);
    let body = String::from_utf8(response.into_body().to_vec()).unwrap();
    assert!(
        body.contains("<a>&lt;&amp;&gt;&quot;&apos;</a><b><member>1</member><member>true</member></b><c><d></d></c>"),
        "{body}"
    );
}

proptest! {
    #[test]
    fn no_bytes_make_a_binder_panic(
        body in proptest::collection::vec(any::<u8>(), 0..200),
        query in "[A-Za-z0-9%&=+.]{0,80}",
        header in proptest::collection::vec(32..255u8, 0..20),
        label in "[ -~]{0,20}",
    ) {
        let header: Vec<u8> = header.into_iter().filter(|byte| *byte != 127).collect();
        for operation in [&REST_OPERATION, &RAW_OPERATION, &JSON_OPERATION, &QUERY_OPERATION] {
            let _ = bind(operation, &format!("/f?{query}"), &[("x-kind", &header)], &label, &body);
        }
    }

    #[test]
    fn no_form_makes_the_reader_panic(form in "((Tree|Trees|Keys|Max)(.member.[0-9]{1,3}|.Below|.Leaf){0,6}=[0-9a-z]{0,3}&){0,8}") {
        let _ = bind(&QUERY_OPERATION, "/", &[], "", form.as_bytes());
    }

    #[test]
    fn no_json_makes_the_reader_panic(json in r#"[{}\[\]",:0-9eE.+a-zNTM\\u-]{0,80}"#) {
        for operation in [&REST_OPERATION, &JSON_OPERATION] {
            let _ = bind(operation, "/f", &[], "f", json.as_bytes());
        }
    }
}
