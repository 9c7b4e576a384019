//! Subscriptions of the Telemetry API and of the Logs API before it: what an extension asks for, checked.
//!
//! Both are the same thing in two dialects. An extension subscribes while its environment initialises and is sent events
//! from the environment's begin on; [`delivery`](super::delivery) sends them.

use std::{collections::BTreeSet, time::Duration};

use http::{Method, StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

use super::http1::{Answer, Arrived};
use crate::limits::{TELEMETRY_BYTES, TELEMETRY_ITEMS, TELEMETRY_TIMEOUT_MS};

/// The API that a subscription came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Telemetry,
    /// Its predecessor; whether its schema has `platform.runtimeDone`.
    Logs {
        with_runtime_done: bool,
    },
}

/// What kind of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stream {
    Platform,
    Function,
    Extension,
}

/// Where events go, always inside the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    Http { port: u16, path: String, method: Method },
    Tcp { port: u16 },
}

/// What an extension subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// The extension's.
    pub(crate) name: String,
    pub(crate) dialect: Dialect,
    pub(crate) streams: BTreeSet<Stream>,
    /// Whether lines that are JSON objects are sent as such.
    pub(crate) objects: bool,
    pub(crate) max_items: usize,
    pub(crate) max_bytes: usize,
    pub(crate) timeout: Duration,
    pub(crate) destination: Destination,
}

impl Stream {
    fn named(name: &str) -> Option<Self> {
        match name {
            "platform" => Some(Self::Platform),
            "function" => Some(Self::Function),
            "extension" => Some(Self::Extension),
            _ => None,
        }
    }

    /// As log lines and events name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Platform => "Platform",
            Self::Function => "Function",
            Self::Extension => "Extension",
        }
    }

    /// The stream of an event.
    fn of(kind: &str) -> Self {
        Self::named(kind).unwrap_or(Self::Platform)
    }
}

impl Dialect {
    /// The API's name in error types and log lines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Telemetry => "Telemetry",
            Self::Logs { .. } => "Logs",
        }
    }

    /// The event that tells of the subscription.
    pub(crate) fn event(self) -> &'static str {
        match self {
            Self::Telemetry => "platform.telemetrySubscription",
            Self::Logs { .. } => "platform.logsSubscription",
        }
    }

    /// An error of this API.
    pub(crate) fn error(self, status: StatusCode, kind: &str, message: &str) -> Answer {
        Answer::error(status, &format!("{}.{kind}", self.name()), message)
    }

    fn has(self, kind: &str) -> bool {
        const OF_LOGS: [&str; 7] = [
            "platform.start",
            "platform.end",
            "platform.report",
            "platform.extension",
            "platform.logsSubscription",
            "platform.logsDropped",
            "platform.fault",
        ];
        match self {
            Self::Telemetry => !matches!(kind, "platform.end" | "platform.fault"),
            Self::Logs { with_runtime_done } => {
                OF_LOGS.contains(&kind) || (with_runtime_done && kind == "platform.runtimeDone")
            }
        }
    }
}

impl Subscription {
    /// Whether an event of this kind is sent.
    pub(crate) fn wants(&self, kind: &str) -> bool {
        let stream = Stream::of(kind);
        self.streams.contains(&stream) && (stream != Stream::Platform || self.dialect.has(kind))
    }

    /// Reads what `PUT /2022-07-01/telemetry` (or, with `logs`, `PUT /2020-08-15/logs`) brings.
    pub(crate) fn read(name: &str, logs: bool, body: &Arrived) -> Result<Self, Answer> {
        let unknown =
            if logs { Dialect::Logs { with_runtime_done: false } } else { Dialect::Telemetry };
        let refuse =
            |message: &str| Err(unknown.error(StatusCode::BAD_REQUEST, "ValidationError", message));
        let Arrived::Whole(body) = body else { return refuse("The request is too long") };
        let request = match serde_json::from_slice::<Request>(body) {
            Ok(request) => request,
            Err(error) => return refuse(&error.to_string()),
        };
        let schema = request.schema_version.as_deref();
        let (dialect, objects) = match (logs, schema) {
            (false, Some("2022-07-01")) => (Dialect::Telemetry, false),
            (false, Some("2022-12-13" | "2025-01-29")) => (Dialect::Telemetry, true),
            (true, None | Some("2020-08-15")) => {
                (Dialect::Logs { with_runtime_done: false }, false)
            }
            (true, Some("2021-03-18")) => (Dialect::Logs { with_runtime_done: true }, false),
            _ => return refuse("schemaVersion is not one of the supported versions"),
        };
        let streams: Option<BTreeSet<_>> =
            request.types.iter().map(|name| Stream::named(name)).collect();
        let Some(streams) = streams.filter(|streams| !streams.is_empty()) else {
            return refuse(
                "types must name at least one of platform, function and extension, and nothing else",
            );
        };
        let buffering = request.buffering.unwrap_or_default();
        let in_range = |value: Option<u64>, (least, most, default): (u64, u64, u64)| {
            Some(value.unwrap_or(default)).filter(|value| (least..=most).contains(value))
        };
        let (Some(max_items), Some(max_bytes), Some(timeout_ms)) = (
            in_range(buffering.max_items, TELEMETRY_ITEMS),
            in_range(buffering.max_bytes, TELEMETRY_BYTES),
            in_range(buffering.timeout_ms, TELEMETRY_TIMEOUT_MS),
        ) else {
            return refuse(
                "maxItems must be 1000 to 10000, maxBytes 262144 to 1048576 and timeoutMs 25 to 30000",
            );
        };
        let destination = match request.destination.check(logs) {
            Ok(destination) => destination,
            Err(problem) => return refuse(problem),
        };
        let small = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        Ok(Self {
            name: name.to_owned(),
            dialect,
            streams,
            objects,
            max_items: small(max_items),
            max_bytes: small(max_bytes),
            timeout: Duration::from_millis(timeout_ms),
            destination,
        })
    }

    /// The record of the event that tells of it.
    pub(crate) fn record(&self) -> Value {
        let types: Vec<_> =
            self.streams.iter().map(|stream| stream.name().to_lowercase()).collect();
        json!({ "name": self.name, "state": "Subscribed", "types": types })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    schema_version: Option<String>,
    types: Vec<String>,
    buffering: Option<Buffering>,
    destination: Place,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Buffering {
    max_items: Option<u64>,
    max_bytes: Option<u64>,
    timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Place {
    protocol: String,
    #[serde(rename = "URI", alias = "uri")]
    uri: Option<String>,
    port: Option<u16>,
    method: Option<String>,
    encoding: Option<String>,
}

impl Place {
    fn check(&self, logs: bool) -> Result<Destination, &'static str> {
        let uri =
            self.uri.as_deref().map(str::parse::<Uri>).transpose().map_err(|_| "URI is none")?;
        let port = match &uri {
            Some(uri) => {
                if !matches!(uri.host(), Some("sandbox" | "sandbox.localdomain")) {
                    return Err("URI must name the host sandbox.localdomain");
                }
                uri.port_u16()
            }
            None => self.port,
        };
        let port = port.filter(|port| *port != 0 && *port != gatemill_sandbox::API_PORT);
        let Some(port) = port else { return Err("the destination needs a port, and not 9001") };
        if self.encoding.as_deref().is_some_and(|encoding| encoding != "JSON") {
            return Err("encoding must be JSON");
        }
        match self.protocol.as_str() {
            "HTTP" => {
                let uri = uri.ok_or("URI is missing")?;
                let method = match self.method.as_deref() {
                    None | Some("POST") => Method::POST,
                    Some("PUT") if logs => Method::PUT,
                    Some(_) => return Err("method must be POST or PUT"),
                };
                let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
                Ok(Destination::Http { port, path, method })
            }
            "TCP" => Ok(Destination::Tcp { port }),
            _ => Err("protocol must be HTTP or TCP"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(logs: bool, request: &Value) -> Result<Subscription, String> {
        let body = Arrived::Whole(request.to_string().into());
        Subscription::read("a", logs, &body).map_err(|answer| {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST);
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            body["errorType"].as_str().unwrap().to_owned()
        })
    }

    fn request(change: &[(&str, Value)]) -> Value {
        let mut request = json!({
            "schemaVersion": "2022-12-13", "types": ["platform"],
            "destination": { "protocol": "HTTP", "URI": "http://sandbox.localdomain:4243/a?b" },
        });
        for (name, value) in change {
            request[name] = value.clone();
        }
        request
    }

    #[test]
    fn subscriptions() {
        let plain = read(false, &request(&[])).unwrap();
        assert_eq!(
            (plain.max_items, plain.max_bytes, plain.timeout.as_millis()),
            (10_000, 262_144, 1_000)
        );
        let path = "/a?b".to_owned();
        assert_eq!(plain.destination, Destination::Http { port: 4243, path, method: Method::POST });
        assert!(
            plain.objects && plain.wants("platform.start") && plain.wants("platform.initStart")
        );
        assert!(!plain.wants("function") && !plain.wants("platform.end"));
        let old = json!({ "types": ["platform", "extension"], "destination": { "protocol": "TCP", "port": 99 } });
        let old = read(true, &old).unwrap();
        assert!(old.wants("platform.end") && old.wants("extension"));
        assert!(!old.wants("platform.runtimeDone") && !old.wants("platform.initStart"));
        let newer = [("schemaVersion", json!("2021-03-18"))];
        assert!(read(true, &request(&newer)).unwrap().wants("platform.runtimeDone"));
    }

    #[test]
    fn refusals() {
        for (name, value) in [
            ("schemaVersion", json!("2020-08-15")),
            ("schemaVersion", json!(null)),
            ("types", json!([])),
            ("types", json!(["platform", "other"])),
            ("buffering", json!({ "maxItems": 999 })),
            ("buffering", json!({ "maxBytes": 1_048_577 })),
            ("buffering", json!({ "timeoutMs": 24 })),
            ("destination", json!({ "protocol": "HTTP", "URI": "http://example.com:1" })),
            (
                "destination",
                json!({ "protocol": "HTTP", "URI": "http://sandbox.localdomain:9001" }),
            ),
            ("destination", json!({ "protocol": "HTTP", "URI": "http://sandbox.localdomain" })),
            ("destination", json!({ "protocol": "UDP", "URI": "http://sandbox:4000" })),
            ("destination", json!({ "protocol": "HTTP", "port": 4000 })),
        ] {
            let kind = read(false, &request(&[(name, value.clone())]));
            assert_eq!(kind, Err("Telemetry.ValidationError".to_owned()), "{name} {value}");
        }
        assert_eq!(read(true, &json!({})), Err("Logs.ValidationError".to_owned()));
    }
}
