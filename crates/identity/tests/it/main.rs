//! Identity from the outside: signed calls of the Security Token Service through `wire::serve`.

#![expect(clippy::unwrap_used, reason = "a test's own functions panic as its test does")]

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use gatemill_identity::{Identity, Mode, NewRootCredentials, RoleAccess};
use gatemill_store::Store;
use gatemill_wire::{
    ApiError, Arrival, Entropy, Front, OperationInfo, Recorder, RequestId, Timestamp, serve,
};
use http::Request;

const BODY: &str = "Action=GetCallerIdentity&Version=2011-06-15";
const DATE: &str = "20261122T202654Z";
const NOW: Timestamp = Timestamp(1_795_379_214_000);

struct Counting(AtomicU8);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            *byte = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(101);
        }
    }
}

struct Silent;

impl Recorder for Silent {
    fn record(&self, _: RequestId, _: Option<&OperationInfo>, _: u16, _: Option<&ApiError>) {}
}

async fn front(mode: Mode) -> (Front, Option<NewRootCredentials>) {
    let dir = tempfile::tempdir().unwrap();
    let entropy = Counting(AtomicU8::new(1));
    let (identity, new) =
        Identity::open(&Store::memory(), mode, RoleAccess::None, &entropy, dir.path())
            .await
            .unwrap();
    let front = Front {
        services: vec![identity.routes()],
        credentials: Arc::clone(&identity) as _,
        authorizer: identity,
        recorder: Arc::new(Silent),
        region: None,
    };
    (front, new)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// A signed request, put together from the steps of AWS's documentation and not with the verifier's own code.
fn request(access_key_id: &str, secret: &str, body: &str) -> Request<Bytes> {
    let hash = |text: &str| hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    let scope = "20261122/us-east-1/sts/aws4_request";
    let signed = "host;x-amz-date";
    let canonical =
        format!("POST\n/\n\nhost:localhost:4566\nx-amz-date:{DATE}\n\n{signed}\n{}", hash(body));
    let text = format!("AWS4-HMAC-SHA256\n{DATE}\n{scope}\n{}", hash(&canonical));
    let key = ["20261122", "us-east-1", "sts", "aws4_request"]
        .iter()
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| sign(&key, part));
    let signature = hex(&sign(&key, &text));
    Request::post("http://localhost:4566/")
        .header("host", "localhost:4566")
        .header("x-amz-date", DATE)
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
        .header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={access_key_id}/{scope}, SignedHeaders={signed}, Signature={signature}"),
        )
        .body(Bytes::copy_from_slice(body.as_bytes()))
        .unwrap()
}

async fn call(front: &Front, request: Request<Bytes>) -> (u16, String) {
    let arrival = Arrival {
        now: NOW,
        source_ip: "127.0.0.1".to_owned(),
        endpoint: "http://localhost:4566".to_owned(),
        entropy: Arc::new(Counting(AtomicU8::new(9))),
        passage: None,
    };
    let response = serve(front, arrival, request).await;
    (
        response.status().as_u16(),
        String::from_utf8(response.into_body().into_whole().unwrap().to_vec()).unwrap(),
    )
}

#[tokio::test]
async fn serve_knows_its_root_by_the_signature_alone() {
    let (front, new) = front(Mode::Serve { account: "123456789012".to_owned() }).await;
    let new = new.unwrap();
    let (status, body) =
        call(&front, request(&new.access_key_id, &new.secret_access_key, BODY)).await;
    assert_eq!(status, 200, "{body}");
    for part in [
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>",
        "<UserId>123456789012</UserId>",
        "<Account>123456789012</Account>",
        "<Arn>arn:aws:iam::123456789012:root</Arn>",
    ] {
        assert!(body.contains(part), "{body}");
    }
    let wrong = new.secret_access_key.replace(|c: char| c.is_ascii_digit(), "x") + "y";
    let (status, body) = call(&front, request(&new.access_key_id, &wrong, BODY)).await;
    assert_eq!(status, 403);
    assert!(body.contains("<Code>SignatureDoesNotMatch</Code>"), "{body}");
    for unknown in ["AKIAUNKNOWN", "123456789012", ""] {
        let (status, body) = call(&front, request(unknown, &new.secret_access_key, BODY)).await;
        assert_eq!(status, 403);
        let refused = body.contains("<Code>InvalidClientTokenId</Code>")
            || (unknown.is_empty() && body.contains("<Code>IncompleteSignature</Code>"));
        assert!(refused, "{unknown}: {body}");
    }
}

#[tokio::test]
async fn dev_accepts_any_signature_and_selects_the_account() {
    let (front, new) = front(Mode::Dev { default_account: "000000000000".to_owned() }).await;
    assert_eq!(new, None);
    for (key, account) in [("test", "000000000000"), ("111122223333", "111122223333")] {
        let (status, body) = call(&front, request(key, "anything", BODY)).await;
        assert_eq!(status, 200, "{body}");
        assert!(body.contains(&format!("<Arn>arn:aws:iam::{account}:root</Arn>")), "{body}");
    }
    let mut unsigned = request("test", "anything", BODY);
    unsigned.headers_mut().remove("authorization");
    let (status, body) = call(&front, unsigned).await;
    assert_eq!(status, 403);
    assert!(body.contains("<Code>MissingAuthenticationToken</Code>"), "{body}");
}

#[tokio::test]
async fn what_is_not_built_says_so() {
    let (front, _) = front(Mode::Dev { default_account: "000000000000".to_owned() }).await;
    let body = "Action=AssumeRole&Version=2011-06-15";
    let (status, body) = call(&front, request("test", "x", body)).await;
    assert_eq!(status, 501);
    assert!(body.contains("sts:AssumeRole is not built"), "{body}");
}
