//! The event of payload format 2.0, and the pieces that format 1.0 has in common with it.
//!
//! Written straight to bytes from borrowed parts, in the order in which AWS documents the members; what is absent is
//! left out.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, header};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap as _, SerializeStruct as _},
};
use serde_json::value::RawValue;

use super::headers::EventHeaders;
use crate::{Timestamp, percent};

/// Room for what an ordinary event has beside its body.
const EVENT_BYTES: usize = 1_536;

/// What an event of format 2.0 is made of.
#[derive(Debug)]
pub struct EventV2<'e> {
    /// The route, or `$default`.
    pub route_key: &'e str,
    /// The path with its stage, in the form that the service shows.
    pub raw_path: Cow<'e, str>,
    /// The query as it came, without the question mark.
    pub query: &'e str,
    /// The headers; cookies are taken out of them.
    pub headers: EventHeaders<'e>,
    /// Whose API it is, or who calls.
    pub account_id: &'e str,
    /// The id of the API or URL.
    pub api_id: &'e str,
    /// The host without its port.
    pub domain_name: Cow<'e, str>,
    /// The first label of the host: the id, but for domains of customers.
    pub domain_prefix: &'e str,
    /// The method.
    pub method: &'e str,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: &'e str,
    /// The client's address, without a port.
    pub source_ip: &'e str,
    /// The id of this request.
    pub request_id: &'e str,
    /// The stage, or `$default`.
    pub stage: &'e str,
    /// When it arrived.
    pub time: Timestamp,
    /// What is known of who asks, where that was asked for.
    pub authorizer: Option<EventAuthorizer<'e>>,
    /// The client's certificate, as JSON, where the domain asks for one.
    pub client_cert: Option<&'e RawValue>,
    /// Makes it the event of a function that decides about the request: it has no body then.
    pub decision: Option<Decision<'e>>,
    /// What the route's variables stand for.
    pub path_parameters: Option<BTreeMap<&'e str, Cow<'e, str>>>,
    /// The variables of the stage.
    pub stage_variables: Option<&'e BTreeMap<String, String>>,
    /// The body, and what it is.
    pub body: EventBody<'e>,
}

/// What an authorizer found out, for the function behind it.
#[derive(Debug, Clone, Copy)]
pub enum EventAuthorizer<'e> {
    /// Who signed the request.
    Iam(IamAuthorizer<'e>),
    /// The member as it is: `{"jwt":…}` or `{"lambda":…}`.
    Json(&'e RawValue),
}

/// What a function that decides about a request is asked.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'e> {
    /// The ARN of what the request is for.
    pub route_arn: &'e str,
    /// The values by which the client says who it is; `None` where none are asked for.
    pub identity_source: Option<&'e [String]>,
}

/// Who signed a request.
#[derive(Debug, Clone, Copy)]
pub struct IamAuthorizer<'e> {
    /// The access key.
    pub access_key: &'e str,
    /// The account's twelve digits.
    pub account_id: &'e str,
    /// The unique id.
    pub user_id: &'e str,
    /// The ARN.
    pub user_arn: &'e str,
}

/// A body: none, text, or base64 of it without a copy in between.
#[derive(Debug, Clone, Copy)]
pub enum EventBody<'e> {
    /// There is none.
    Absent,
    /// UTF-8.
    Text(&'e str),
    /// Anything else.
    Base64(&'e [u8]),
}

impl<'e> EventBody<'e> {
    /// Text is what its type says is text and what is UTF-8 indeed; a compressed body is none.
    pub fn of(headers: &HeaderMap, body: &'e Bytes) -> Self {
        if body.is_empty() {
            return Self::Absent;
        }
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let text =
            content_type.is_some_and(is_text) && !headers.contains_key(header::CONTENT_ENCODING);
        match std::str::from_utf8(body) {
            Ok(text_body) if text => Self::Text(text_body),
            Ok(_) | Err(_) => Self::Base64(body),
        }
    }

    /// The value of `isBase64Encoded`.
    pub fn is_base64(self) -> bool {
        matches!(self, Self::Base64(_))
    }

    /// How many bytes it has.
    fn bytes(self) -> usize {
        match self {
            Self::Absent => 0,
            Self::Text(text) => text.len(),
            Self::Base64(bytes) => bytes.len() / 3 * 4 + 4,
        }
    }

    /// Whether there is none.
    pub fn is_absent(self) -> bool {
        matches!(self, Self::Absent)
    }
}

fn is_text(content_type: &str) -> bool {
    let lower = content_type.to_ascii_lowercase();
    let (kind, parameters) = lower.split_once(';').unwrap_or((&lower, ""));
    let kind = kind.trim();
    kind.starts_with("text/")
        || matches!(kind, "application/json" | "application/xml" | "application/javascript")
        || kind.ends_with("+json")
        || parameters.contains("charset=")
}

impl Serialize for EventBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_none(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Base64(bytes) => serializer.collect_str(&Base64Display::new(bytes, &STANDARD)),
        }
    }
}

/// Query parameters by name, each with all its values; `None` when there are none.
pub fn multi_query(query: &str) -> Option<BTreeMap<String, Vec<String>>> {
    let mut multi: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in percent::query_pairs(query) {
        multi.entry(key).or_default().push(value);
    }
    Some(multi).filter(|multi| !multi.is_empty())
}

/// Query parameters, those of one name joined by commas.
fn joined_query(query: &str) -> Option<BTreeMap<String, String>> {
    let joined = multi_query(query)?;
    Some(joined.into_iter().map(|(key, values)| (key, values.join(","))).collect())
}

impl EventV2<'_> {
    /// The event, as JSON.
    ///
    /// # Errors
    /// None that its parts can cause.
    pub fn to_json(mut self) -> Result<Bytes, serde_json::Error> {
        let user_agent = self.headers.get("user-agent").and_then(|values| values.first());
        let user_agent = user_agent.cloned().unwrap_or_default();
        let cookies = self.headers.remove("cookie").unwrap_or_default();
        let cookies = cookies.iter().flat_map(|value| value.split(';'));
        let cookies = cookies.map(str::trim).filter(|cookie| !cookie.is_empty());
        let written = Written { cookies: cookies.collect(), user_agent, event: &self };
        let mut json = Vec::with_capacity(EVENT_BYTES + self.body.bytes());
        serde_json::to_writer(&mut json, &written)?;
        Ok(Bytes::from(json))
    }
}

/// An event whose cookies have been taken out of its headers.
struct Written<'w> {
    event: &'w EventV2<'w>,
    cookies: Vec<&'w str>,
    user_agent: Cow<'w, str>,
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { event, cookies, user_agent } = self;
        let mut out = serializer.serialize_struct("Event", 12)?;
        out.serialize_field("version", "2.0")?;
        if let Some(decision) = event.decision {
            out.serialize_field("type", "REQUEST")?;
            out.serialize_field("routeArn", decision.route_arn)?;
            out.serialize_field("identitySource", &decision.identity_source)?;
        }
        out.serialize_field("routeKey", event.route_key)?;
        out.serialize_field("rawPath", &event.raw_path)?;
        out.serialize_field("rawQueryString", event.query)?;
        if !cookies.is_empty() {
            out.serialize_field("cookies", cookies)?;
        }
        out.serialize_field("headers", &Headers(&event.headers))?;
        if let Some(query) = joined_query(event.query) {
            out.serialize_field("queryStringParameters", &query)?;
        }
        out.serialize_field("requestContext", &Context { event, user_agent })?;
        if let Some(parameters) = &event.path_parameters {
            out.serialize_field("pathParameters", parameters)?;
        }
        if let Some(variables) = event.stage_variables {
            out.serialize_field("stageVariables", variables)?;
        }
        if event.decision.is_none() {
            if !event.body.is_absent() {
                out.serialize_field("body", &event.body)?;
            }
            out.serialize_field("isBase64Encoded", &event.body.is_base64())?;
        }
        out.end()
    }
}

/// Headers, the values of one name joined by commas.
struct Headers<'w>(&'w EventHeaders<'w>);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(Some(self.0.len()))?;
        for (name, values) in self.0 {
            match &values[..] {
                [value] => out.serialize_entry(name, value)?,
                values => out.serialize_entry(name, &values.join(","))?,
            }
        }
        out.end()
    }
}

struct Context<'w> {
    event: &'w EventV2<'w>,
    user_agent: &'w str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Http<'e> {
    method: &'e str,
    path: &'e str,
    protocol: &'e str,
    source_ip: &'e str,
    user_agent: &'e str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Iam<'e> {
    access_key: &'e str,
    account_id: &'e str,
    caller_id: &'e str,
    cognito_identity: Option<&'e str>,
    principal_org_id: Option<&'e str>,
    user_arn: &'e str,
    user_id: &'e str,
}

#[derive(Serialize)]
struct Authorizer<'e> {
    iam: Iam<'e>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Authentication<'e> {
    client_cert: &'e RawValue,
}

impl Serialize for Context<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.event;
        let mut out = serializer.serialize_struct("RequestContext", 11)?;
        out.serialize_field("accountId", event.account_id)?;
        out.serialize_field("apiId", event.api_id)?;
        if let Some(client_cert) = event.client_cert {
            out.serialize_field("authentication", &Authentication { client_cert })?;
        }
        match event.authorizer {
            None => {}
            Some(EventAuthorizer::Json(json)) => out.serialize_field("authorizer", json)?,
            Some(EventAuthorizer::Iam(who)) => {
                let iam = Iam {
                    access_key: who.access_key,
                    account_id: who.account_id,
                    caller_id: who.user_id,
                    cognito_identity: None,
                    principal_org_id: None,
                    user_arn: who.user_arn,
                    user_id: who.user_id,
                };
                out.serialize_field("authorizer", &Authorizer { iam })?;
            }
        }
        out.serialize_field("domainName", &event.domain_name)?;
        out.serialize_field("domainPrefix", event.domain_prefix)?;
        let http = Http {
            method: event.method,
            path: &event.raw_path,
            protocol: event.protocol,
            source_ip: event.source_ip,
            user_agent: self.user_agent,
        };
        out.serialize_field("http", &http)?;
        out.serialize_field("requestId", event.request_id)?;
        out.serialize_field("routeKey", event.route_key)?;
        out.serialize_field("stage", event.stage)?;
        out.serialize_field("time", &event.time.common_log())?;
        out.serialize_field("timeEpoch", &event.time.millis())?;
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_as_it_is_written() {
        let headers = EventHeaders::from([
            ("a", vec![Cow::Borrowed("1"), Cow::Borrowed("2")]),
            ("cookie", vec![Cow::Borrowed("x=1; y=2"), Cow::Borrowed("z=3")]),
            ("user-agent", vec![Cow::Borrowed("test")]),
        ]);
        let body = Bytes::from_static(&[0xFF]);
        let event = EventV2 {
            route_key: "$default",
            raw_path: Cow::Borrowed("/a%20b"),
            query: "q=1&q=%20",
            headers,
            account_id: "anonymous",
            api_id: "id",
            domain_name: Cow::Borrowed("id.example"),
            domain_prefix: "id",
            method: "POST",
            protocol: "HTTP/1.1",
            source_ip: "127.0.0.1",
            request_id: "r",
            stage: "$default",
            time: Timestamp(1_700_000_000_123),
            authorizer: None,
            client_cert: None,
            decision: None,
            path_parameters: None,
            stage_variables: None,
            body: EventBody::of(&HeaderMap::new(), &body),
        };
        assert_eq!(
            std::str::from_utf8(&event.to_json().unwrap()).unwrap(),
            r#"{"version":"2.0","routeKey":"$default","rawPath":"/a%20b","rawQueryString":"q=1&q=%20","cookies":["x=1","y=2","z=3"],"headers":{"a":"1,2","user-agent":"test"},"queryStringParameters":{"q":"1, "},"requestContext":{"accountId":"anonymous","apiId":"id","domainName":"id.example","domainPrefix":"id","http":{"method":"POST","path":"/a%20b","protocol":"HTTP/1.1","sourceIp":"127.0.0.1","userAgent":"test"},"requestId":"r","routeKey":"$default","stage":"$default","time":"14/Nov/2023:22:13:20 +0000","timeEpoch":1700000000123},"body":"/w==","isBase64Encoded":true}"#
        );
    }

    #[test]
    fn what_counts_as_text() {
        let kind = |content_type: &'static str, encoding: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
            if encoding {
                headers.insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
            }
            EventBody::of(&headers, &Bytes::from_static(b"x")).is_base64()
        };
        for text in ["text/plain", "Application/JSON; charset=utf-8", "application/problem+json"] {
            assert!(!kind(text, false), "{text}");
            assert!(kind(text, true), "{text}");
        }
        for bytes in ["multipart/form-data; boundary=x", "image/png", "application/octet-stream"] {
            assert!(kind(bytes, false), "{bytes}");
        }
        assert!(EventBody::of(&HeaderMap::new(), &Bytes::new()).is_absent());
    }
}
