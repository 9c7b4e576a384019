//! The family of integration responses: how the answer of an integration that is no proxy becomes a message.

use std::collections::BTreeMap;

use gatemill_api::apigatewayv2::{
    CreateIntegrationResponseRequest, CreateIntegrationResponseResponse,
    DeleteIntegrationResponseRequest, GetIntegrationResponseRequest,
    GetIntegrationResponseResponse, GetIntegrationResponsesRequest,
    GetIntegrationResponsesResponse, IntegrationResponse, UpdateIntegrationResponseRequest,
    UpdateIntegrationResponseResponse,
};
use gatemill_wire::Cx;

use crate::{
    Gateway,
    control::{
        edition::Edition,
        integration,
        websocket::{
            check_templates, content_handling, content_handling_text, merge,
            response::{self, Response as _},
        },
    },
    error::{Error, Result},
    record::{IntegrationRecord, IntegrationResponseRecord, WebSocketIntegration},
    websocket::{
        mapping::Mapping,
        select::{KeyPattern, Selection},
    },
};

/// The members of an integration response in an answer; the answers of four operations have the same.
macro_rules! members {
    ($answer:ident, $record:expr) => {{
        let record: &IntegrationResponseRecord = $record;
        $answer {
            content_handling_strategy: record.content_handling.map(content_handling_text),
            integration_response_id: Some(record.id.clone()),
            integration_response_key: record.key.clone().into(),
            response_parameters: Some(record.parameters.clone())
                .filter(|parameters| !parameters.is_empty()),
            response_templates: Some(record.templates.clone())
                .filter(|templates| !templates.is_empty()),
            template_selection_expression: record.template_selection.clone(),
        }
    }};
}

/// `CreateIntegrationResponse`.
pub(crate) async fn create(
    gateway: &Gateway,
    cx: &Cx,
    req: CreateIntegrationResponseRequest,
) -> Result<CreateIntegrationResponseResponse> {
    gateway.need_websocket(cx, &req.api_id, IntegrationResponseRecord::WHAT)?;
    let mut parameters = BTreeMap::new();
    merge(&mut parameters, req.response_parameters.as_ref());
    let response = IntegrationResponseRecord {
        id: cx.id(7),
        key: req.integration_response_key,
        templates: req.response_templates.unwrap_or_default(),
        template_selection: req.template_selection_expression.filter(|text| !text.is_empty()),
        content_handling: content_handling(req.content_handling_strategy.as_deref())?,
        parameters,
    };
    check(&response)?;
    let answer = members!(CreateIntegrationResponseResponse, &response);
    gateway
        .edit(cx, &req.api_id, move |edition| {
            change(edition, &req.integration_id, |own| {
                response::add(&mut own.responses, response.clone())
            })
        })
        .await?;
    Ok(answer)
}

/// `GetIntegrationResponse`.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: &Cx,
    req: GetIntegrationResponseRequest,
) -> Result<GetIntegrationResponseResponse> {
    let own = own(gateway, cx, &req.api_id, &req.integration_id)?;
    let found = response::find(&own.responses, &req.integration_response_id)?;
    Ok(members!(GetIntegrationResponseResponse, found))
}

/// `GetIntegrationResponses`.
pub(crate) async fn list(
    gateway: &Gateway,
    cx: &Cx,
    req: GetIntegrationResponsesRequest,
) -> Result<GetIntegrationResponsesResponse> {
    let own = own(gateway, cx, &req.api_id, &req.integration_id)?;
    let (max, token) = (req.max_results.as_deref(), req.next_token.as_deref());
    let (page, next_token) = response::page(&own.responses, max, token)?;
    let items = page.iter().map(|response| members!(IntegrationResponse, response)).collect();
    Ok(GetIntegrationResponsesResponse { items: Some(items), next_token })
}

/// `UpdateIntegrationResponse`. An empty template is removed.
pub(crate) async fn update(
    gateway: &Gateway,
    cx: &Cx,
    req: UpdateIntegrationResponseRequest,
) -> Result<UpdateIntegrationResponseResponse> {
    let handling = req.content_handling_strategy.as_deref();
    let handling = handling.map(|text| content_handling(Some(text))).transpose()?;
    let response = gateway
        .edit(cx, &req.api_id.clone(), move |edition| {
            change(edition, &req.integration_id, |own| {
                response::change(&mut own.responses, &req.integration_response_id, |response| {
                    if let Some(key) = &req.integration_response_key {
                        response.key.clone_from(key);
                    }
                    merge(&mut response.templates, req.response_templates.as_ref());
                    merge(&mut response.parameters, req.response_parameters.as_ref());
                    if let Some(text) = &req.template_selection_expression {
                        response.template_selection =
                            Some(text.clone()).filter(|text| !text.is_empty());
                    }
                    response.content_handling = handling.unwrap_or(response.content_handling);
                    check(response)
                })
            })
        })
        .await?;
    Ok(members!(UpdateIntegrationResponseResponse, &response))
}

/// `DeleteIntegrationResponse`.
pub(crate) async fn delete(
    gateway: &Gateway,
    cx: &Cx,
    req: DeleteIntegrationResponseRequest,
) -> Result<()> {
    gateway
        .edit(cx, &req.api_id.clone(), move |edition| {
            change(edition, &req.integration_id, |own| {
                response::remove(&mut own.responses, &req.integration_response_id)
            })
        })
        .await
}

fn own(
    gateway: &Gateway,
    cx: &Cx,
    api_id: &str,
    integration_id: &str,
) -> Result<WebSocketIntegration> {
    let found = gateway.read(cx, api_id, |tx, at, _| integration::find(tx, at, integration_id))?;
    Ok(found.websocket.unwrap_or_default())
}

/// Changes what an integration has of its own, and stores the integration.
fn change<T>(
    edition: &mut Edition<'_>,
    integration_id: &str,
    change: impl FnOnce(&mut WebSocketIntegration) -> Result<T>,
) -> Result<T> {
    let before = integration::find(edition.tx, edition.at, integration_id)?;
    let mut own = before.websocket.clone().unwrap_or_default();
    let value = change(&mut own)?;
    let after = IntegrationRecord { websocket: Some(own), ..before.clone() };
    if after != before {
        integration::insert(edition, &after)?;
    }
    Ok(value)
}

fn check(response: &IntegrationResponseRecord) -> Result<()> {
    if response.key.is_empty() || KeyPattern::parse(&response.key).is_none() {
        return Err(Error::invalid("Invalid IntegrationResponseKey specified"));
    }
    if response.template_selection.as_deref().is_some_and(|text| Selection::parse(text).is_none()) {
        return Err(Error::invalid("Invalid TemplateSelectionExpression specified"));
    }
    for (to, from) in &response.parameters {
        if Mapping::parse_response(to, from).is_none() {
            return Err(Error::invalid(format!("Invalid mapping expression specified: {from}")));
        }
    }
    check_templates(&response.templates)
}
