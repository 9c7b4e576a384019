//! The client against a service of ours that says what it is told to.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use gatemill_wire::{Timestamp, sigv4::Claim};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::{Credentials, ServiceSettings};

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp(1_795_000_000_000)
    }
}

#[derive(Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        let value = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        buffer.iter_mut().zip(value).for_each(|(to, from)| *to = from);
    }
}

/// Answers each connection with the next of `answers` and closes it; keeps what was asked.
async fn service(answers: Vec<&'static str>) -> (Client, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = Vec::new();
            while !whole(&text) {
                let mut part = [0; 4096];
                let read = stream.read(&mut part).await.unwrap();
                text.extend_from_slice(&part[..read]);
            }
            log.lock().unwrap().push(String::from_utf8(text).unwrap());
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    let credentials = Credentials {
        access_key_id: "AKID".to_owned(),
        secret_access_key: "secret".to_owned(),
        session_token: None,
    };
    let endpoint = Some(format!("http://{address}").parse().unwrap());
    let settings = ServiceSettings { endpoint, region: None, credentials };
    let services = Services {
        by_service: BTreeMap::from([(Service::Sqs, settings)]),
        default_region: "us-east-1".to_owned(),
    };
    (Client::new(services, Arc::new(Fixed), Arc::new(Counting::default())).unwrap(), asked)
}

fn whole(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

async fn ask(client: &Client) -> Result<Answer, Error> {
    let endpoint = client.endpoint(Service::Sqs, Some("eu-west-1")).unwrap();
    let body = serde_json::json!({"QueueUrl": endpoint.url("/1/q")});
    client.call(&endpoint, Request::json("AmazonSQS.SendMessage", &body).unwrap()).await
}

#[tokio::test]
async fn a_call_is_signed_and_answered() {
    let (client, asked) =
        service(vec!["HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"a\":\"b\\u0063\"}"]).await;
    let answer = ask(&client).await;
    assert!(matches!(answer, Ok(ref answer) if answer.status == 200), "{answer:?}");
    let asked = asked.lock().unwrap();
    let (head, body) = asked[0].split_once("\r\n\r\n").unwrap();
    let mut request = http::Request::post("/");
    for line in head.lines().skip(1) {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    assert_eq!(parts.headers["x-amz-target"], "AmazonSQS.SendMessage");
    let claim = Claim::read(&parts).unwrap();
    assert_eq!((claim.service.as_str(), claim.region.as_str()), ("sqs", "eu-west-1"));
    assert_eq!(claim.verify(&parts, body.as_bytes(), "secret"), Ok(()));
}

#[tokio::test]
async fn what_may_go_right_is_tried_again() {
    let failed = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    let throttled = "HTTP/1.1 400 Bad Request\r\ncontent-length: 32\r\n\r\n{\"__type\":\"ThrottlingException\"} ";
    let well = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    let (client, asked) = service(vec![failed, throttled, well]).await;
    ask(&client).await.unwrap();
    assert_eq!(asked.lock().unwrap().len(), 3);
    let (client, _) = service(vec![failed, failed, failed, well]).await;
    let error = ask(&client).await.unwrap_err();
    assert_eq!((error.code(), error.is_transient()), (Some("503"), true));
    let (client, asked) = service(vec![
        "HTTP/1.1 400 Bad Request\r\nx-amzn-query-error: AWS.SimpleQueueService.NonExistentQueue;Sender\r\ncontent-length: 43\r\n\r\n{\"__type\":\"com.amazonaws.sqs#QueueDoesNot\"}",
        well,
    ])
    .await;
    let error = ask(&client).await.unwrap_err();
    assert_eq!(error.code(), Some("AWS.SimpleQueueService.NonExistentQueue"));
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[test]
fn refusals_in_every_protocol() {
    let none = HeaderMap::new();
    let said = |body: &str, headers: &HeaderMap| {
        let Error::Service { code, message, .. } =
            refusal(StatusCode::BAD_REQUEST, headers, body.as_bytes())
        else {
            panic!("{body}")
        };
        (code, message)
    };
    let is = |code: &str, message: &str| (code.to_owned(), message.to_owned());
    let json = r#"{"__type":"com.amazonaws.kinesis#ExpiredIteratorException","message":"late"}"#;
    assert_eq!(said(json, &none), is("ExpiredIteratorException", "late"));
    let query = "<ErrorResponse xmlns=\"x\"><Error><Type>Sender</Type><Code>NotFound</Code><Message>Topic &lt;a&gt;</Message></Error></ErrorResponse>";
    assert_eq!(said(query, &none), is("NotFound", "Topic <a>"));
    let s3 = "<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message>no</Message></Error>";
    assert_eq!(said(s3, &none), is("NoSuchBucket", "no"));
    let mut headers = HeaderMap::new();
    headers.insert("x-amzn-errortype", "InvalidX:http://i".parse().unwrap());
    assert_eq!(said("{\"Message\":\"m\"}", &headers), is("InvalidX", "m"));
    for nothing in ["", "<", "{}", "<a><Code></a>", "\u{fffd}"] {
        assert_eq!(said(nothing, &none).0, "400", "{nothing}");
    }
}

#[tokio::test]
async fn a_service_that_is_not_there() {
    let (client, _) = service(vec![]).await;
    let missing = client.endpoint(Service::Kinesis, None).unwrap_err();
    assert_eq!(missing.to_string(), "no endpoint is configured for the service kinesis");
    // The task has ended and the port is closed.
    let error = ask(&client).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error}");
}
