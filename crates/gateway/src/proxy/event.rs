//! The event of a function behind a route, in payload formats 1.0 and 2.0.
//!
//! Written straight to bytes from borrowed parts, in the order in which AWS documents the members. In 2.0 what is
//! absent is left out; in 1.0 it is `null`. Paths and path parameters are shown decoded, as HTTP APIs do (REST APIs do
//! not); `rawQueryString` is left as it came.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use gatemill_wire::{
    payload::{
        Decision, EventAuthorizer, EventBody, EventHeaders, EventV2, IamAuthorizer,
        event::multi_query,
    },
    percent,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    ClientCert, Exchange,
    headers::{self, capitalised},
    identity::Identity,
    parse::Place,
    route::Routed,
};
use crate::record::PayloadFormat;

/// The event, as JSON.
pub(crate) fn event(
    exchange: &Exchange,
    place: &Place,
    routed: &Routed<'_>,
    body: &Bytes,
    format: PayloadFormat,
    identity: &Identity,
) -> Result<Bytes, serde_json::Error> {
    match format {
        PayloadFormat::V1 => {
            serde_json::to_vec(&v1(exchange, place, routed, body, identity)).map(Bytes::from)
        }
        PayloadFormat::V2 => {
            let json = identity.v2();
            let signer = identity.caller().map(|caller| {
                EventAuthorizer::Iam(IamAuthorizer {
                    access_key: &caller.access_key_id,
                    account_id: &caller.account,
                    user_id: &caller.user_id,
                    user_arn: &caller.arn,
                })
            });
            let authorizer = signer.or(json.as_deref().map(EventAuthorizer::Json));
            v2(exchange, place, routed, body, authorizer, None)
        }
    }
}

/// The event of a function that decides about the request, as JSON.
pub(crate) fn decision(
    exchange: &Exchange,
    place: &Place,
    routed: &Routed<'_>,
    format: PayloadFormat,
    arn: &str,
    identity_source: Option<&[String]>,
) -> Result<Bytes, serde_json::Error> {
    let no_body = Bytes::new();
    match format {
        PayloadFormat::V2 => {
            let asked = Decision { route_arn: arn, identity_source };
            v2(exchange, place, routed, &no_body, None, Some(asked))
        }
        PayloadFormat::V1 => {
            let event = v1(exchange, place, routed, &no_body, &Identity::Unasked);
            let mut event = serde_json::to_value(&event)?;
            let source = identity_source.map(|values| values.join(","));
            let mut decision = serde_json::json!({"version": "1.0", "type": "REQUEST", "methodArn": arn,
                "identitySource": source, "authorizationToken": source});
            for member in [
                "resource",
                "path",
                "httpMethod",
                "headers",
                "queryStringParameters",
                "pathParameters",
                "stageVariables",
                "requestContext",
            ] {
                // Unlike in the event of an integration, a map without entries is there.
                decision[member] = match event[member].take() {
                    Value::Null => Value::Object(serde_json::Map::new()),
                    value => value,
                };
            }
            if let Some(context) = decision["requestContext"].as_object_mut() {
                context.shift_remove("authorizer");
            }
            serde_json::to_vec(&decision).map(Bytes::from)
        }
    }
}

type Strings = BTreeMap<String, String>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct V1<'e> {
    version: &'static str,
    resource: &'e str,
    path: Cow<'e, str>,
    http_method: &'e str,
    headers: BTreeMap<&'e str, Cow<'e, str>>,
    multi_value_headers: BTreeMap<&'e str, Vec<Cow<'e, str>>>,
    query_string_parameters: Option<Strings>,
    multi_value_query_string_parameters: Option<BTreeMap<String, Vec<String>>>,
    request_context: ContextV1<'e>,
    path_parameters: Option<BTreeMap<&'e str, Cow<'e, str>>>,
    stage_variables: Option<&'e Strings>,
    body: EventBody<'e>,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContextV1<'e> {
    account_id: &'e str,
    api_id: &'e str,
    authorizer: Value,
    domain_name: Cow<'e, str>,
    domain_prefix: &'e str,
    extended_request_id: &'e str,
    http_method: &'e str,
    identity: IdentityV1<'e>,
    path: Cow<'e, str>,
    protocol: &'e str,
    request_id: &'e str,
    request_time: String,
    request_time_epoch: i64,
    resource_id: &'e str,
    resource_path: &'e str,
    stage: &'e str,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct IdentityV1<'e> {
    access_key: Option<&'e str>,
    account_id: Option<&'e str>,
    caller: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_cert: Option<&'e ClientCert>,
    cognito_amr: Option<&'static str>,
    cognito_authentication_provider: Option<&'static str>,
    cognito_authentication_type: Option<&'static str>,
    cognito_identity_id: Option<&'static str>,
    cognito_identity_pool_id: Option<&'static str>,
    principal_org_id: Option<&'static str>,
    source_ip: &'e str,
    user: Option<&'e str>,
    user_agent: Option<Cow<'e, str>>,
    user_arn: Option<&'e str>,
}

fn v2(
    exchange: &Exchange,
    place: &Place,
    routed: &Routed<'_>,
    body: &Bytes,
    authorizer: Option<EventAuthorizer<'_>>,
    decision: Option<Decision<'_>>,
) -> Result<Bytes, serde_json::Error> {
    let Exchange { arrival, head, .. } = exchange;
    let stage = &*place.stage;
    let cert = arrival.client_cert.as_deref();
    let client_cert = cert.map(serde_json::value::to_raw_value).transpose()?;
    let event = EventV2 {
        route_key: &routed.route.key,
        raw_path: percent::decode(&place.raw_path),
        query: head.uri.query().unwrap_or(""),
        headers: headers::for_event(exchange, decision.is_none().then_some(body.len())),
        account_id: &stage.account,
        api_id: &stage.api_id,
        domain_name: exchange.domain_name(),
        domain_prefix: exchange.domain_prefix(),
        method: head.method.as_str(),
        protocol: arrival.protocol,
        source_ip: &arrival.source_ip,
        request_id: &exchange.id,
        stage: &stage.name,
        time: arrival.now,
        authorizer,
        client_cert: client_cert.as_deref(),
        decision,
        path_parameters: path_parameters(routed),
        stage_variables: Some(&stage.variables).filter(|variables| !variables.is_empty()),
        body: EventBody::of(&head.headers, body),
    };
    event.to_json()
}

fn v1<'e>(
    exchange: &'e Exchange,
    place: &'e Place,
    routed: &'e Routed<'e>,
    body: &'e Bytes,
    who: &'e Identity,
) -> V1<'e> {
    let Exchange { arrival, head, .. } = exchange;
    let stage = &*place.stage;
    let headers = headers::for_event(exchange, Some(body.len()));
    let caller = who.caller();
    let user_agent = user_agent(&headers);
    let query = head.uri.query().unwrap_or("");
    let shown = |name| if exchange.lower_case() { name } else { capitalised(name) };
    let multi_value_headers: BTreeMap<_, _> =
        headers.into_iter().map(|(name, values)| (shown(name), values)).collect();
    let last = |values: &Vec<Cow<'e, str>>| values.last().cloned().unwrap_or_default();
    let multi_query = multi_query(query);
    let single_query = multi_query.as_ref().map(|query| {
        let last = |values: &Vec<String>| values.last().cloned().unwrap_or_default();
        query.iter().map(|(key, values)| (key.clone(), last(values))).collect()
    });
    let body = EventBody::of(&head.headers, body);
    V1 {
        version: "1.0",
        resource: &routed.route.path,
        path: percent::decode(&place.full_path),
        http_method: head.method.as_str(),
        headers: multi_value_headers.iter().map(|(name, values)| (*name, last(values))).collect(),
        multi_value_headers,
        query_string_parameters: single_query,
        multi_value_query_string_parameters: multi_query,
        request_context: ContextV1 {
            account_id: &stage.account,
            api_id: &stage.api_id,
            authorizer: who.v1(),
            domain_name: exchange.domain_name(),
            domain_prefix: exchange.domain_prefix(),
            extended_request_id: &exchange.id,
            http_method: head.method.as_str(),
            identity: IdentityV1 {
                access_key: caller.map(|caller| caller.access_key_id.as_str()),
                account_id: caller.map(|caller| caller.account.as_str()),
                caller: caller.map(|caller| caller.user_id.as_str()),
                client_cert: arrival.client_cert.as_deref(),
                source_ip: &arrival.source_ip,
                user: caller.map(|caller| caller.user_id.as_str()),
                user_agent,
                user_arn: caller.map(|caller| caller.arn.as_str()),
                ..IdentityV1::default()
            },
            path: percent::decode(&place.full_path),
            protocol: arrival.protocol,
            request_id: &exchange.id,
            request_time: arrival.now.common_log(),
            request_time_epoch: arrival.now.millis(),
            resource_id: &routed.route.key,
            resource_path: &routed.route.path,
            stage: &stage.name,
        },
        path_parameters: path_parameters(routed),
        stage_variables: Some(&stage.variables).filter(|variables| !variables.is_empty()),
        is_base64_encoded: body.is_base64(),
        body,
    }
}

fn user_agent<'e>(headers: &EventHeaders<'e>) -> Option<Cow<'e, str>> {
    headers.get("user-agent")?.first().cloned()
}

fn path_parameters<'e>(routed: &Routed<'e>) -> Option<BTreeMap<&'e str, Cow<'e, str>>> {
    let parameters: BTreeMap<_, _> =
        routed.parameters().map(|(name, text)| (name, percent::decode(text))).collect();
    Some(parameters).filter(|parameters| !parameters.is_empty())
}
