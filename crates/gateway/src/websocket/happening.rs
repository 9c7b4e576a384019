//! Something that happens on a connection, as its integration hears of it: the event of a function, and the variables
//! of expressions and mappings.

use std::{borrow::Cow, collections::BTreeMap, sync::OnceLock};

use bytes::Bytes;
use gatemill_template::{Input, Overrides, Scope};
use gatemill_wire::{
    Timestamp,
    payload::{event::multi_query, headers::EventHeaders},
    percent,
};
use http::HeaderMap;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    connection::{Peer, context_text, shown_variables},
    key::Used,
    log::Asked,
    select::{at_path, text_of},
};

/// Something that happens on a connection.
#[derive(Debug)]
pub(crate) struct Happening<'a> {
    pub(crate) peer: &'a Peer,
    pub(crate) route_key: &'a str,
    /// The id of this request.
    pub(crate) id: &'a str,
    pub(crate) trace_id: &'a str,
    pub(crate) now: Timestamp,
    pub(crate) variables: &'a BTreeMap<String, String>,
    pub(crate) what: What<'a>,
    /// The API key that let it in, where its route needs one.
    pub(crate) api_key: Option<Used>,
    /// How its integration did, once it was asked.
    pub(super) asked: OnceLock<Asked>,
    /// The body as JSON, read when it is first asked for.
    json: OnceLock<Option<Value>>,
}

/// What happens.
#[derive(Debug)]
pub(crate) enum What<'a> {
    Connect {
        /// As events show them.
        headers: EventHeaders<'a>,
        query: &'a str,
    },
    Message {
        id: &'a str,
        text: &'a str,
    },
    Disconnect {
        code: u16,
        reason: &'a str,
    },
}

/// What an integration answered, for expressions about it.
#[derive(Debug)]
pub(crate) struct Answered<'a> {
    pub(crate) status: u16,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Bytes,
}

impl<'a> Happening<'a> {
    pub(crate) fn new(
        peer: &'a Peer,
        ids: (&'a str, &'a str),
        now: Timestamp,
        variables: &'a BTreeMap<String, String>,
        what: What<'a>,
    ) -> Self {
        let route_key = match &what {
            What::Connect { .. } => "$connect",
            What::Message { .. } => "$default",
            What::Disconnect { .. } => "$disconnect",
        };
        let (id, trace_id) = ids;
        let (asked, json) = (OnceLock::new(), OnceLock::new());
        Self { peer, route_key, id, trace_id, now, variables, what, api_key: None, asked, json }
    }

    /// The body of a message.
    pub(crate) fn body(&self) -> &'a str {
        match self.what {
            What::Message { text, .. } => text,
            What::Connect { .. } | What::Disconnect { .. } => "",
        }
    }

    /// What a variable of an expression holds; nothing when there is none.
    pub(crate) fn lookup(&self, name: &str) -> String {
        let name = name.strip_prefix("route.").unwrap_or(name);
        if let Some(path) = name.strip_prefix("request.body") {
            return match path {
                "" => self.body().to_owned(),
                path => text_of(self.json().and_then(|json| at_path(json, path))),
            };
        }
        if let Some(name) = name.strip_prefix("stageVariables.") {
            return self.variables.get(name).cloned().unwrap_or_default();
        }
        if let Some(name) = name.strip_prefix("context.") {
            return self.context(name).unwrap_or_default();
        }
        let What::Connect { headers, query } = &self.what else { return String::new() };
        if let Some(name) = name.strip_prefix("request.header.") {
            let found = headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
            return found.and_then(|(_, values)| values.last()).cloned().unwrap_or_default().into();
        }
        if let Some(name) = name.strip_prefix("request.multivalueheader.") {
            let found = headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
            return found.map(|(_, values)| values.join(",")).unwrap_or_default();
        }
        let (is_multi, name) = match name.strip_prefix("request.querystring.") {
            Some(name) => (false, name),
            None => match name.strip_prefix("request.multivaluequerystring.") {
                Some(name) => (true, name),
                None => return String::new(),
            },
        };
        let mut values = percent::query_pairs(query).filter(|(key, _)| key == name);
        match is_multi {
            false => values.last().unwrap_or_default().1,
            true => values.by_ref().map(|(_, value)| value).collect::<Vec<_>>().join(","),
        }
    }

    /// What the variable `$context.` with this name holds.
    pub(super) fn context(&self, name: &str) -> Option<String> {
        Some(match name {
            "identity.apiKey" => self.api_key.as_ref()?.value.0.to_string(),
            "identity.apiKeyId" => self.api_key.as_ref()?.id.clone(),
            "routeKey" => self.route_key.to_owned(),
            "requestId" | "extendedRequestId" => self.id.to_owned(),
            "requestTime" => self.now.common_log(),
            "requestTimeEpoch" => self.now.millis().to_string(),
            "eventType" => self.event_type().to_owned(),
            "messageId" => match &self.what {
                What::Message { id, .. } => (*id).to_owned(),
                What::Connect { .. } | What::Disconnect { .. } => return None,
            },
            name => return context_text(self.peer, name),
        })
    }

    /// The body as JSON, if it is.
    pub(crate) fn json(&self) -> Option<&Value> {
        self.json.get_or_init(|| serde_json::from_str(self.body()).ok()).as_ref()
    }

    /// What a template of this sees, with the body that it is about.
    pub(crate) fn scope<'s>(&'s self, body: &'s str, overrides: Overrides) -> Scope<'s> {
        let (mut header, mut querystring) = (Vec::new(), Vec::new());
        if let What::Connect { headers, query } = &self.what {
            let named = headers.iter().map(|(name, values)| (cased(name).to_owned(), last(values)));
            header.extend(named);
            querystring.extend(percent::query_pairs(query));
        }
        let context = match serde_json::to_value(self.request_context()) {
            Ok(Value::Object(mut context)) => {
                context.insert("accountId".to_owned(), self.peer.account.clone().into());
                context
            }
            Ok(_) | Err(_) => Map::new(),
        };
        Scope {
            input: Input { body, path: Vec::new(), querystring, header },
            context,
            stage_variables: Some(self.variables),
            overrides,
        }
    }

    fn event_type(&self) -> &'static str {
        match self.what {
            What::Connect { .. } => "CONNECT",
            What::Message { .. } => "MESSAGE",
            What::Disconnect { .. } => "DISCONNECT",
        }
    }

    /// The event of a function; `is_base64` says that the body is binary, which a message shows as base 64.
    pub(crate) fn event(&self, is_base64: bool) -> Result<Bytes, serde_json::Error> {
        let event = Event { is_base64_encoded: is_base64, ..self.as_event() };
        serde_json::to_vec(&event).map(Bytes::from)
    }

    /// The event of the function that decides about a handshake.
    pub(crate) fn decision(&self, method_arn: &str) -> Result<Bytes, serde_json::Error> {
        let event = self.as_event();
        let decision = Decision {
            kind: "REQUEST",
            method_arn,
            headers: event.headers,
            multi_value_headers: event.multi_value_headers,
            query_string_parameters: event.query_string_parameters.unwrap_or_default(),
            multi_value_query_string_parameters: event
                .multi_value_query_string_parameters
                .unwrap_or_default(),
            stage_variables: self.variables,
            request_context: event.request_context,
        };
        serde_json::to_vec(&decision).map(Bytes::from)
    }

    fn as_event(&self) -> Event<'_> {
        let (mut headers, mut query) = (None, None);
        match &self.what {
            What::Connect { headers: given, query: text } => {
                headers = Some(
                    given.iter().map(|(name, values)| (cased(name), values.clone())).collect(),
                );
                query = multi_query(text);
            }
            What::Message { .. } => {}
            What::Disconnect { .. } => headers = Some(self.parting_headers()),
        }
        let headers: Option<BTreeMap<&str, Vec<Cow<'_, str>>>> = headers;
        Event {
            headers: headers.as_ref().map(|headers| {
                headers.iter().map(|(name, values)| (*name, last(values))).collect()
            }),
            multi_value_headers: headers.clone(),
            query_string_parameters: query.as_ref().map(|query| {
                let last = |values: &Vec<String>| values.last().cloned().unwrap_or_default();
                query.iter().map(|(key, values)| (key.clone(), last(values))).collect()
            }),
            multi_value_query_string_parameters: query,
            request_context: self.request_context(),
            stage_variables: shown_variables(self.variables),
            body: match self.what {
                What::Message { text, .. } => Some(text),
                What::Connect { .. } | What::Disconnect { .. } => None,
            },
            is_base64_encoded: false,
        }
    }

    /// What AWS shows of the request that a connection once was, at its end.
    fn parting_headers(&self) -> BTreeMap<&'static str, Vec<Cow<'_, str>>> {
        BTreeMap::from([
            ("Host", vec![Cow::Borrowed(self.peer.domain_name.as_str())]),
            ("X-Forwarded-For", vec![Cow::Borrowed("")]),
            ("x-api-key", vec![Cow::Borrowed("")]),
            ("x-restapi", vec![Cow::Borrowed("")]),
        ])
    }

    fn request_context(&self) -> Context<'_> {
        let peer = self.peer;
        let (code, reason) = match self.what {
            What::Disconnect { code, reason } => (Some(code), Some(reason)),
            What::Connect { .. } | What::Message { .. } => (None, None),
        };
        Context {
            route_key: self.route_key,
            disconnect_status_code: code,
            authorizer: peer.authorizer.as_ref(),
            message_id: match self.what {
                What::Message { id, .. } => Some(id),
                What::Connect { .. } | What::Disconnect { .. } => None,
            },
            event_type: self.event_type(),
            extended_request_id: self.id,
            request_time: self.now.common_log(),
            message_direction: "IN",
            disconnect_reason: reason,
            stage: &peer.stage,
            connected_at: peer.connected.millis(),
            request_time_epoch: self.now.millis(),
            identity: Identity {
                api_key: self.api_key.as_ref().map(|key| &*key.value.0),
                api_key_id: self.api_key.as_ref().map(|key| key.id.as_str()),
                user_agent: peer.user_agent.as_deref(),
                source_ip: &peer.source_ip,
            },
            request_id: self.id,
            domain_name: &peer.domain_name,
            connection_id: peer.id.to_string(),
            api_id: &peer.api,
        }
    }
}

impl Answered<'_> {
    /// What a variable about an integration's answer holds.
    pub(crate) fn lookup(&self, name: &str) -> Option<String> {
        let name = name.strip_prefix("integration.response.")?;
        if name == "statuscode" {
            return Some(self.status.to_string());
        }
        if let Some(name) = name.strip_prefix("header.") {
            let value = self.headers.get(name).and_then(|value| value.to_str().ok());
            return Some(value.unwrap_or_default().to_owned());
        }
        let path = name.strip_prefix("body")?;
        let json: Option<Value> = serde_json::from_slice(self.body).ok();
        Some(text_of(json.as_ref().and_then(|json| at_path(json, path))))
    }
}

/// The last of a header's values.
fn last(values: &[Cow<'_, str>]) -> String {
    values.last().map(|value| value.clone().into_owned()).unwrap_or_default()
}

/// Names as AWS writes them in events, whatever the client wrote; all others are lower case.
fn cased(name: &str) -> &str {
    const CASED: [&str; 13] = [
        "Authorization",
        "Cookie",
        "Host",
        "Origin",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Version",
        "User-Agent",
        "X-Amzn-Trace-Id",
        "X-Forwarded-For",
        "X-Forwarded-Port",
        "X-Forwarded-Proto",
    ];
    CASED.into_iter().find(|known| known.eq_ignore_ascii_case(name)).unwrap_or(name)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'e> {
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<&'e str, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<BTreeMap<&'e str, Vec<Cow<'e, str>>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_string_parameters: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_query_string_parameters: Option<BTreeMap<String, Vec<String>>>,
    request_context: Context<'e>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage_variables: Option<&'e BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'e str>,
    is_base64_encoded: bool,
}

/// What a function hears that decides about a handshake.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Decision<'e> {
    #[serde(rename = "type")]
    kind: &'static str,
    method_arn: &'e str,
    headers: Option<BTreeMap<&'e str, String>>,
    multi_value_headers: Option<BTreeMap<&'e str, Vec<Cow<'e, str>>>>,
    query_string_parameters: BTreeMap<String, String>,
    multi_value_query_string_parameters: BTreeMap<String, Vec<String>>,
    stage_variables: &'e BTreeMap<String, String>,
    request_context: Context<'e>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Context<'e> {
    route_key: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnect_status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<&'e Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'e str>,
    event_type: &'static str,
    extended_request_id: &'e str,
    request_time: String,
    message_direction: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnect_reason: Option<&'e str>,
    stage: &'e str,
    connected_at: i64,
    request_time_epoch: i64,
    identity: Identity<'e>,
    request_id: &'e str,
    domain_name: &'e str,
    connection_id: String,
    api_id: &'e str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'e> {
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_id: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'e str>,
    source_ip: &'e str,
}
