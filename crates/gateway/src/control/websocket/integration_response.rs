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
        holds, integration, says, unbuilt,
        websocket::{check_templates, page_of},
    },
    error::{Error, Result},
    limits::INTEGRATION_RESPONSES_MAX,
    record::{IntegrationRecord, IntegrationResponseRecord, WebSocketIntegration},
    websocket::select::{KeyPattern, Selection},
};

/// The members of an integration response in an answer; the answers of four operations have the same.
macro_rules! members {
    ($answer:ident, $record:expr) => {{
        let record: &IntegrationResponseRecord = $record;
        $answer {
            content_handling_strategy: None,
            integration_response_id: Some(record.id.clone()),
            integration_response_key: record.key.clone().into(),
            response_parameters: None,
            response_templates: Some(record.templates.clone())
                .filter(|templates| !templates.is_empty()),
            template_selection_expression: record.template_selection.clone(),
        }
    }};
}

const WHAT: &str = "IntegrationResponse";

/// `CreateIntegrationResponse`.
pub(crate) async fn create(
    gateway: &Gateway,
    cx: &Cx,
    req: CreateIntegrationResponseRequest,
) -> Result<CreateIntegrationResponseResponse> {
    gateway.need_websocket(cx, &req.api_id, WHAT)?;
    unbuilt("contentHandlingStrategy", says(req.content_handling_strategy.as_deref()))?;
    unbuilt("responseParameters", holds(req.response_parameters.as_ref()))?;
    let response = IntegrationResponseRecord {
        id: cx.id(7),
        key: req.integration_response_key,
        templates: req.response_templates.unwrap_or_default(),
        template_selection: req.template_selection_expression.filter(|text| !text.is_empty()),
    };
    check(&response)?;
    let answer = members!(CreateIntegrationResponseResponse, &response);
    gateway
        .edit(cx, &req.api_id, move |edition| {
            change(edition, &req.integration_id, |own| {
                if own.responses.len() >= INTEGRATION_RESPONSES_MAX {
                    return Err(Error::TooMany("IntegrationResponses"));
                }
                own.responses.push(response.clone());
                Ok(())
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
    let found = own.responses.iter().find(|response| response.id == req.integration_response_id);
    let found = found.ok_or(Error::NoSuchIntegrationResponse(req.integration_response_id))?;
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
    let (page, next_token) = page_of(&own.responses, |response| &response.id, max, token)?;
    let items = page.iter().map(|response| members!(IntegrationResponse, response)).collect();
    Ok(GetIntegrationResponsesResponse { items: Some(items), next_token })
}

/// `UpdateIntegrationResponse`. An empty template is removed.
pub(crate) async fn update(
    gateway: &Gateway,
    cx: &Cx,
    req: UpdateIntegrationResponseRequest,
) -> Result<UpdateIntegrationResponseResponse> {
    unbuilt("contentHandlingStrategy", says(req.content_handling_strategy.as_deref()))?;
    unbuilt("responseParameters", holds(req.response_parameters.as_ref()))?;
    let response = gateway
        .edit(cx, &req.api_id.clone(), move |edition| {
            change(edition, &req.integration_id, |own| {
                let id = &req.integration_response_id;
                let found = own.responses.iter_mut().find(|response| response.id == *id);
                let response = found.ok_or_else(|| Error::NoSuchIntegrationResponse(id.clone()))?;
                if let Some(key) = &req.integration_response_key {
                    response.key.clone_from(key);
                }
                merge(&mut response.templates, req.response_templates.as_ref());
                if let Some(text) = &req.template_selection_expression {
                    response.template_selection =
                        Some(text.clone()).filter(|text| !text.is_empty());
                }
                check(response)?;
                Ok(response.clone())
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
                let before = own.responses.len();
                own.responses.retain(|response| response.id != req.integration_response_id);
                if own.responses.len() == before {
                    let id = req.integration_response_id.clone();
                    return Err(Error::NoSuchIntegrationResponse(id));
                }
                Ok(())
            })
        })
        .await
}

/// Sets members of a map, and removes those that are set to nothing.
pub(crate) fn merge(map: &mut BTreeMap<String, String>, given: Option<&BTreeMap<String, String>>) {
    for (key, text) in given.into_iter().flatten() {
        if text.is_empty() {
            map.remove(key);
        } else {
            map.insert(key.clone(), text.clone());
        }
    }
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
    let keys: std::collections::BTreeSet<_> = own.responses.iter().map(|it| &it.key).collect();
    if keys.len() < own.responses.len() {
        let key = own.responses.last().map(|it| it.key.clone()).unwrap_or_default();
        return Err(Error::ResponseExists { what: WHAT, key });
    }
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
    check_templates("responseTemplates", &response.templates)
}
