//! What the sources of expressions give for a request: its headers, parameters, path and body, the stage's variables,
//! and `$context`.

use std::{borrow::Cow, sync::OnceLock};

use bytes::Bytes;
use gatemill_wire::percent;
use http::HeaderMap;

use super::{Exchange, Seen, parse::Place, route::Routed};
use crate::{
    expression::{BodyPath, Expression, Piece, Source},
    limits::MAPPED_BODY_BYTES_MAX,
};

/// The values of one request, and of the integration's answer once it is there.
pub(super) struct Values<'v> {
    pub(super) exchange: &'v Exchange,
    pub(super) place: &'v Place,
    pub(super) routed: &'v Routed<'v>,
    pub(super) seen: &'v Seen,
    /// The headers that `$request.header` or `$response.header` looks at.
    pub(super) headers: &'v HeaderMap,
    pub(super) body: Option<&'v Bytes>,
    pub(super) json: OnceLock<Option<serde_json::Value>>,
}

impl<'v> Values<'v> {
    /// Those of a request.
    pub(super) fn of_request(
        exchange: &'v Exchange,
        place: &'v Place,
        routed: &'v Routed<'v>,
        seen: &'v Seen,
        body: Option<&'v Bytes>,
    ) -> Self {
        let headers = &exchange.head.headers;
        Self { exchange, place, routed, seen, headers, body, json: OnceLock::new() }
    }

    /// What a source gives; nothing when it is not there or empty.
    pub(super) fn value(&self, source: &Source) -> Option<String> {
        let value = match source {
            Source::RequestHeader(name) | Source::ResponseHeader(name) => self.header(name),
            Source::RequestQuery(name) => self.query(name),
            Source::RequestPath => Some(self.place.path(self.exchange).to_owned()),
            Source::RequestPathParameter(name) => self.path_parameter(name),
            Source::RequestBody(path) | Source::ResponseBody(path) => self.body(path),
            Source::Context(name) => context(self.exchange, self.seen, name).map(Cow::into_owned),
            Source::StageVariable(name) => self.place.stage.variables.get(name).cloned(),
        };
        value.filter(|value| !value.is_empty())
    }

    /// The text of an expression; nothing when it is one source that gives nothing.
    pub(super) fn text(&self, expression: &Expression) -> Option<String> {
        if let [Piece::Value(source)] = expression.pieces.as_slice() {
            return self.value(source);
        }
        let mut text = String::new();
        for piece in &expression.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Value(source) => text.push_str(&self.value(source).unwrap_or_default()),
            }
        }
        Some(text)
    }

    fn header(&self, name: &str) -> Option<String> {
        if name == "host" && !self.headers.contains_key(name) {
            return gatemill_wire::payload::host::authority(&self.exchange.head).map(str::to_owned);
        }
        let values = self.headers.get_all(name).iter();
        let values: Vec<_> =
            values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    fn query(&self, name: &str) -> Option<String> {
        let pairs = percent::query_pairs(self.exchange.head.uri.query()?);
        let values: Vec<String> =
            pairs.filter(|(key, _)| key == name).map(|(_, value)| value).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    fn path_parameter(&self, name: &str) -> Option<String> {
        let mut parameters = self.routed.parameters();
        let (_, text) = parameters.find(|(parameter, _)| *parameter == name)?;
        Some(percent::decode(text).into_owned())
    }

    fn body(&self, path: &BodyPath) -> Option<String> {
        let body = self.body?;
        if path.is_whole() {
            return Some(String::from_utf8_lossy(body).into_owned());
        }
        let parse = || {
            // AWS cuts longer ones off, which leaves nothing that could be read.
            let readable = body.len() <= MAPPED_BODY_BYTES_MAX;
            readable.then(|| serde_json::from_slice(body).ok()).flatten()
        };
        path.value(self.json.get_or_init(parse).as_ref()?)
    }
}

/// `$context.<name>`.
pub(super) fn context<'c>(
    exchange: &'c Exchange,
    seen: &'c Seen,
    name: &str,
) -> Option<Cow<'c, str>> {
    let owned = |text: String| Some(Cow::Owned(text));
    let borrowed = |text: &'c str| Some(Cow::Borrowed(text));
    let number = |number: u64| Some(Cow::Owned(number.to_string()));
    let (arrival, stage) = (&exchange.arrival, seen.stage.as_deref());
    match name {
        "accountId" => borrowed(&stage?.account),
        "apiId" => borrowed(&exchange.target.api_id),
        "domainName" => owned(exchange.domain_name().into_owned()),
        "domainPrefix" => owned(exchange.domain_prefix().to_owned()),
        "requestId" | "extendedRequestId" => borrowed(&exchange.id),
        "httpMethod" => borrowed(exchange.head.method.as_str()),
        "path" => borrowed(seen.path.as_deref().unwrap_or(exchange.head.uri.path())),
        "protocol" => borrowed(arrival.protocol),
        "requestTime" => owned(arrival.now.common_log()),
        "requestTimeEpoch" => owned(arrival.now.millis().to_string()),
        "routeKey" => borrowed(seen.route.as_deref()?),
        "stage" => borrowed(&stage?.name),
        "status" => number(seen.status?.into()),
        "responseLength" | "dataProcessed" => number(seen.bytes?),
        "responseLatency" => number(seen.latency_ms?),
        "integrationStatus" | "integration.integrationStatus" | "integration.status" => {
            number(seen.integration.as_ref()?.status?.into())
        }
        "integrationLatency" | "integration.latency" => {
            number(seen.integration.as_ref()?.latency_ms)
        }
        "integrationErrorMessage" | "integration.error" => {
            borrowed(seen.integration.as_ref()?.error.as_deref()?)
        }
        "integration.requestId" | "awsEndpointRequestId" => {
            borrowed(seen.integration.as_ref()?.request_id.as_deref()?)
        }
        "error.message" => borrowed(seen.message?),
        "error.messageString" => owned(format!("\"{}\"", seen.message?)),
        "error.responseType" => borrowed(seen.response_type?),
        "authorizer.error" => borrowed(seen.authorizer_error.as_deref()?),
        "customDomain.basePathMatched" => borrowed(exchange.base_path()?),
        name => match name.strip_prefix("identity.") {
            Some(name) => identity(exchange, seen, name),
            None => seen.identity.property(name.strip_prefix("authorizer.")?).map(Cow::Owned),
        },
    }
}

fn identity<'c>(exchange: &'c Exchange, seen: &'c Seen, name: &str) -> Option<Cow<'c, str>> {
    let caller = seen.identity.caller();
    let borrowed = |text: &'c str| Some(Cow::Borrowed(text));
    match name {
        "sourceIp" => borrowed(&exchange.arrival.source_ip),
        "userAgent" => {
            let value = exchange.head.headers.get(http::header::USER_AGENT)?;
            Some(String::from_utf8_lossy(value.as_bytes()))
        }
        "accountId" => borrowed(&caller?.account),
        "accessKey" => borrowed(&caller?.access_key_id),
        "caller" | "user" => borrowed(&caller?.user_id),
        "userArn" => borrowed(&caller?.arn),
        name => {
            let cert = exchange.arrival.client_cert.as_deref()?;
            match name.strip_prefix("clientCert.")? {
                "clientCertPem" => borrowed(&cert.pem),
                "subjectDN" => borrowed(&cert.subject),
                "issuerDN" => borrowed(&cert.issuer),
                "serialNumber" => borrowed(&cert.serial),
                "validity.notBefore" => borrowed(&cert.validity.not_before),
                "validity.notAfter" => borrowed(&cert.validity.not_after),
                _ => None,
            }
        }
    }
}
