//! The path of an API call from the signature to the record, in all three protocols.

use std::sync::Mutex;

use super::*;
use crate::test_service::{self, Fixed, NOW, SECRET, caller, request, run, sign};

/// One key with a secret, and the keys of `gatemill dev`: any twelve digits.
struct Keys;

impl Credentials for Keys {
    fn find(&self, presented: Presented<'_>) -> Result<Credential, Unusable> {
        let verification = match presented.access_key_id {
            "ASIAEXPIRED" => return Err(Unusable::Expired),
            "AKIDEXAMPLE" => Verification::Secret(SECRET.to_owned()),
            key if crate::arn::is_account(key) => Verification::AnySignature,
            _ => return Err(Unusable::Unknown),
        };
        Ok(Credential { caller: caller(presented.access_key_id), verification })
    }
}

/// Allows everything but `Drop`.
struct NoDrop;

impl Authorizer for NoDrop {
    fn authorize(&self, cx: &Cx, operation: &OperationInfo) -> Result<(), ApiError> {
        match operation.name {
            "Drop" => Err(ApiError::new(
                &common::ACCESS_DENIED,
                format!("User: {} is not authorized to perform: things:Drop", cx.caller.arn),
            )),
            _ => Ok(()),
        }
    }
}

/// What was recorded: id, operation, status, what only the log may know.
type Record = (String, Option<&'static str>, u16, Option<String>);

#[derive(Default)]
struct Records(Mutex<Vec<Record>>);

impl Recorder for Records {
    fn record(
        &self,
        request_id: RequestId,
        operation: Option<&OperationInfo>,
        status: u16,
        error: Option<&ApiError>,
    ) {
        let internal = error.and_then(ApiError::internal_text).map(str::to_owned);
        let name = operation.map(|operation| operation.name);
        self.0.lock().unwrap().push((request_id.to_string(), name, status, internal));
    }
}

/// Serves one request; gives the answer and its one record.
fn answer(region: Option<&str>, request: Request<Bytes>) -> (Response<Bytes>, Record) {
    let records = Arc::new(Records::default());
    let front = Front {
        services: vec![
            Box::new(test_service::rest()),
            Box::new(test_service::json()),
            Box::new(test_service::query()),
        ],
        credentials: Arc::new(Keys),
        authorizer: Arc::new(NoDrop),
        recorder: Arc::clone(&records) as Arc<dyn Recorder>,
        region: region.map(str::to_owned),
    };
    let arrival = Arrival {
        now: NOW,
        source_ip: "127.0.0.1".to_owned(),
        endpoint: "http://h".to_owned(),
        entropy: Arc::new(Fixed),
        passage: None,
    };
    let response = run(serve(&front, arrival, request));
    let response = response.map(|body| body.into_whole().unwrap());
    let mut records = records.0.lock().unwrap();
    let record = records.pop().unwrap();
    assert!(records.is_empty(), "one call, one record");
    assert_eq!(response.headers()["x-amzn-requestid"], record.0.as_str());
    assert_eq!(response.status().as_u16(), record.2);
    (response, record)
}

fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

/// A call of `Make` in the protocol of a service; the mode says how it goes.
fn make(service: &str, mode: &str) -> Request<Bytes> {
    match service {
        "rest" => request("POST", &format!("/things/t?mode={mode}"), &[], b"{}"),
        "json" => {
            let body = format!(r#"{{"Name":"t","mode":"{mode}"}}"#);
            request("POST", "/", &["x-amz-target: Things_2020.Make"], body.as_bytes())
        }
        _ => request("POST", "/", &[], format!("Action=Make&Name=t&mode={mode}").as_bytes()),
    }
}

const GOOD: (&str, &str) = ("AKIDEXAMPLE", SECRET);
const PROTOCOLS: [&str; 3] = ["rest", "json", "query"];

fn signed(service: &str, mode: &str) -> Request<Bytes> {
    sign(make(service, mode), GOOD, ("us-east-1", service))
}

/// Checks an error in the envelope of each protocol.
fn check_error(
    request: impl Fn(&str) -> Request<Bytes>,
    (status, code, query_code): (u16, &str, &str),
    message: impl Fn(&str) -> String,
) {
    for service in PROTOCOLS {
        let (response, record) = answer(Some("us-east-1"), request(service));
        let (body, expected) = (text(&response), message(service));
        assert_eq!(response.status().as_u16(), status, "{service}: {body}");
        if service == "query" {
            let error = quick_xml::escape::unescape(body).unwrap();
            let expected = format!("<Code>{query_code}</Code><Message>{expected}</Message>");
            assert!(error.contains(&expected), "{error}");
            assert!(body.starts_with("<ErrorResponse xmlns=\"https://query.example/doc/\">"));
            assert!(body.contains(&format!("<RequestId>{}</RequestId>", record.0)), "{body}");
            continue;
        }
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        let said = json.get("message").or(json.get("Message")).unwrap();
        assert_eq!(*said, expected.as_str(), "{service}");
        let kind = match service {
            "rest" => response.headers()["x-amzn-errortype"].to_str().unwrap(),
            _ => json["__type"].as_str().unwrap(),
        };
        assert_eq!(kind, code, "{service}");
    }
}

#[test]
fn a_signed_call_is_served() {
    for service in PROTOCOLS {
        let (response, record) = answer(Some("us-east-1"), signed(service, "well"));
        assert!(response.status().is_success(), "{service}: {}", text(&response));
        assert_eq!((record.1, &record.3), (Some("Make"), &None));
    }
}

#[test]
fn an_unsigned_call_is_refused_in_its_own_envelope() {
    check_error(
        |service| make(service, "well"),
        (403, "MissingAuthenticationTokenException", "MissingAuthenticationToken"),
        |_| "Missing Authentication Token".to_owned(),
    );
}

#[test]
fn a_wrong_secret_or_body_is_refused() {
    let mismatch = SignatureError::Mismatch.to_string();
    let shape = (403, "InvalidSignatureException", "SignatureDoesNotMatch");
    check_error(
        |service| sign(make(service, "well"), ("AKIDEXAMPLE", "guess"), ("us-east-1", service)),
        shape,
        |_| mismatch.clone(),
    );
    check_error(
        |service| {
            let (parts, body) = signed(service, "well").into_parts();
            Request::from_parts(parts, [&body[..], b" "].concat().into())
        },
        shape,
        |_| mismatch.clone(),
    );
}

#[test]
fn an_unknown_key_is_refused() {
    check_error(
        |service| sign(make(service, "well"), ("AKIDNOBODY", SECRET), ("us-east-1", service)),
        (403, "UnrecognizedClientException", "InvalidClientTokenId"),
        |_| "The security token included in the request is invalid.".to_owned(),
    );
}

#[test]
fn a_session_that_is_over_is_told() {
    check_error(
        |service| sign(make(service, "well"), ("ASIAEXPIRED", SECRET), ("us-east-1", service)),
        (403, "ExpiredTokenException", "ExpiredToken"),
        |_| "The security token included in the request is expired".to_owned(),
    );
}

#[test]
fn pieces_of_a_signature_are_refused() {
    check_error(
        |service| {
            let mut request = make(service, "well");
            let header = "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=b, Signature=c";
            request.headers_mut().insert("authorization", header.parse().unwrap());
            request
        },
        (403, "IncompleteSignatureException", "IncompleteSignature"),
        |_| {
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256".to_owned()
        },
    );
}

#[test]
fn a_late_call_is_refused() {
    check_error(
        |service| {
            let mut request = signed(service, "well");
            request.headers_mut().insert("x-amz-date", "20261122T200000Z".parse().unwrap());
            request
        },
        (403, "InvalidSignatureException", "SignatureDoesNotMatch"),
        |_| {
            "Signature expired: 20261122T200000Z is now earlier than 20261122T202154Z (20261122T202654Z - 5 min.)".to_owned()
        },
    );
}

#[test]
fn a_chunked_body_is_not_built() {
    check_error(
        |service| {
            let mut request = make(service, "well");
            let hash = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".parse().unwrap();
            request.headers_mut().insert("x-amz-content-sha256", hash);
            sign(request, GOOD, ("us-east-1", service))
        },
        (501, "NotImplementedException", "NotImplementedException"),
        |_| SignatureError::Chunked.to_string(),
    );
}

#[test]
fn the_region_of_the_scope() {
    let elsewhere = |service: &str| sign(make(service, "well"), GOOD, ("eu-west-1", service));
    check_error(elsewhere, (403, "InvalidSignatureException", "SignatureDoesNotMatch"), |_| {
        "Credential should be scoped to a valid region, not 'eu-west-1'. This server is 'us-east-1'.".to_owned()
    });
    let (response, _) = answer(None, elsewhere("rest"));
    assert_eq!(response.status(), 201);
}

#[test]
fn the_service_of_the_scope() {
    // A service that is not served has no envelope; rest-json's stands in.
    let (response, record) = answer(None, sign(make("rest", "well"), GOOD, ("us-east-1", "s3")));
    assert_eq!(
        (response.status().as_u16(), text(&response)),
        (
            403,
            r#"{"message":"Credential should be scoped to correct service; 's3' is not served here."}"#
        )
    );
    assert_eq!(record.1, None);
    // A signature for one service opens no other, whatever path it names.
    let (response, record) = answer(None, sign(make("rest", "well"), GOOD, ("us-east-1", "json")));
    assert_eq!((response.status().as_u16(), record.1), (404, None));
    assert!(text(&response).contains("UnknownOperationException"), "{}", text(&response));
}

#[test]
fn an_unknown_operation_is_told_to_callers_alone() {
    let unknown = |service: &str| match service {
        "rest" => request("GET", "/nowhere", &[], b""),
        "json" => request("POST", "/", &["x-amz-target: Things_2020.Nothing"], b"{}"),
        _ => request("POST", "/", &[], b"Action=Nothing"),
    };
    for service in PROTOCOLS {
        let (response, _) = answer(None, unknown(service));
        assert_eq!(response.status(), 403, "{service}");
        let (response, record) = answer(None, sign(unknown(service), GOOD, ("r", service)));
        assert_eq!((response.status().as_u16(), record.1), (404, None), "{service}");
    }
}

#[test]
fn development_accepts_any_signature_and_still_wants_one() {
    for service in PROTOCOLS {
        let key = ("123456789012", "whatever");
        let (response, record) = answer(None, sign(make(service, "well"), key, ("r", service)));
        assert!(response.status().is_success(), "{}", text(&response));
        assert_eq!(record.1, Some("Make"));
        // Late, and with another body.
        let (mut parts, _) = sign(make(service, "well"), key, ("r", service)).into_parts();
        parts.headers.insert("x-amz-date", "20261122T000000Z".parse().unwrap());
        let (_, body) = make(service, "accepted").into_parts();
        let (response, _) = answer(None, Request::from_parts(parts, body));
        assert!(response.status().is_success(), "{}", text(&response));
    }
}

#[test]
fn what_may_not_be_done_is_not_done() {
    let drop = request("DELETE", "/things/missing", &[], b"");
    let (response, record) = answer(None, sign(drop, GOOD, ("r", "rest")));
    assert_eq!(
        (response.status().as_u16(), text(&response)),
        (
            403,
            r#"{"Message":"User: arn:aws:iam::000000000000:root is not authorized to perform: things:Drop"}"#
        )
    );
    assert_eq!(record.1, Some("Drop"));
}

#[test]
fn the_log_learns_what_the_client_does_not() {
    for (mode, status, internal) in
        [("internal", 500, "disk sda1 is full"), ("invalid", 400, "row 17")]
    {
        for service in PROTOCOLS {
            let (response, record) = answer(None, signed(service, mode));
            assert_eq!(response.status().as_u16(), status, "{service}");
            assert_eq!(record.3.as_deref(), Some(internal), "{service}");
            assert!(!format!("{response:?}").contains(internal), "{service}: {response:?}");
        }
    }
}

#[test]
fn a_panic_of_a_handler_is_an_answer_and_a_record() {
    check_error(
        |service| signed(service, "panic"),
        (500, "InternalFailure", "InternalFailure"),
        |_| "An error occurred and the request cannot be processed.".to_owned(),
    );
    let (response, record) = answer(None, signed("rest", "panic"));
    assert_eq!((record.1, record.2), (Some("Make"), 500));
    assert_eq!(record.3.as_deref(), Some("the handler panicked"));
    assert!(!text(&response).contains("was asked to"));
}

#[test]
fn debug_shows_no_secret() {
    let credential = Keys
        .find(Presented { access_key_id: "AKIDEXAMPLE", session_token: None, now: NOW })
        .unwrap();
    assert!(!format!("{credential:?}").contains(SECRET));
}
