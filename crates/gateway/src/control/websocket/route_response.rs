//! The family of route responses: what makes a route of a WebSocket API answer its messages. A route has one at most,
//! of the key `$default`.

use std::collections::BTreeMap;

use gatemill_api::apigatewayv2::{
    CreateRouteResponseRequest, CreateRouteResponseResponse, DeleteRouteResponseRequest,
    GetRouteResponseRequest, GetRouteResponseResponse, GetRouteResponsesRequest,
    GetRouteResponsesResponse, ParameterConstraints, RouteResponse, UpdateRouteResponseRequest,
    UpdateRouteResponseResponse,
};
use gatemill_wire::Cx;
use http::HeaderName;

use crate::{
    Gateway,
    control::{
        edition::Edition,
        route,
        websocket::response::{self, Response as _},
    },
    error::{Error, Result},
    record::{RouteRecord, RouteResponseRecord, WebSocketRoute},
};

/// The members of a route response in an answer; the answers of four operations have the same.
macro_rules! members {
    ($answer:ident, $record:expr) => {{
        let record: &RouteResponseRecord = $record;
        $answer {
            model_selection_expression: record.model_selection.clone(),
            response_models: record.models.clone(),
            response_parameters: route::parameters(&record.parameters),
            route_response_id: Some(record.id.clone()),
            route_response_key: record.key.clone().into(),
        }
    }};
}

/// `CreateRouteResponse`.
pub(crate) async fn create(
    gateway: &Gateway,
    cx: &Cx,
    req: CreateRouteResponseRequest,
) -> Result<CreateRouteResponseResponse> {
    gateway.need_websocket(cx, &req.api_id, RouteResponseRecord::WHAT)?;
    check_key(&req.route_response_key)?;
    let response = RouteResponseRecord {
        parameters: declared(req.response_parameters.as_ref())?,
        id: cx.id(7),
        key: req.route_response_key,
        model_selection: req.model_selection_expression.filter(|text| !text.is_empty()),
        models: req.response_models.filter(|models| !models.is_empty()),
    };
    let answer = members!(CreateRouteResponseResponse, &response);
    gateway
        .edit(cx, &req.api_id, move |edition| {
            change(edition, &req.route_id, |own| {
                response::add(&mut own.responses, response.clone())
            })
        })
        .await?;
    Ok(answer)
}

/// `GetRouteResponse`.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: &Cx,
    req: GetRouteResponseRequest,
) -> Result<GetRouteResponseResponse> {
    let route = gateway.read(cx, &req.api_id, |tx, at, _| route::find(tx, at, &req.route_id))?;
    let own = route.websocket.unwrap_or_default();
    let found = response::find(&own.responses, &req.route_response_id)?;
    Ok(members!(GetRouteResponseResponse, found))
}

/// `GetRouteResponses`.
pub(crate) async fn list(
    gateway: &Gateway,
    cx: &Cx,
    req: GetRouteResponsesRequest,
) -> Result<GetRouteResponsesResponse> {
    let route = gateway.read(cx, &req.api_id, |tx, at, _| route::find(tx, at, &req.route_id))?;
    let own = route.websocket.unwrap_or_default();
    let (max, token) = (req.max_results.as_deref(), req.next_token.as_deref());
    let (page, next_token) = response::page(&own.responses, max, token)?;
    let items = page.iter().map(|response| members!(RouteResponse, response)).collect();
    Ok(GetRouteResponsesResponse { items: Some(items), next_token })
}

/// `UpdateRouteResponse`.
pub(crate) async fn update(
    gateway: &Gateway,
    cx: &Cx,
    req: UpdateRouteResponseRequest,
) -> Result<UpdateRouteResponseResponse> {
    let parameters = declared(req.response_parameters.as_ref())?;
    if let Some(key) = &req.route_response_key {
        check_key(key)?;
    }
    let response = gateway
        .edit(cx, &req.api_id.clone(), move |edition| {
            change(edition, &req.route_id, |own| {
                response::change(&mut own.responses, &req.route_response_id, |response| {
                    if let Some(text) = &req.model_selection_expression {
                        response.model_selection =
                            Some(text.clone()).filter(|text| !text.is_empty());
                    }
                    if let Some(models) = &req.response_models {
                        response.models = Some(models.clone()).filter(|models| !models.is_empty());
                    }
                    response.parameters.extend(parameters.clone());
                    Ok(())
                })
            })
        })
        .await?;
    Ok(members!(UpdateRouteResponseResponse, &response))
}

/// `DeleteRouteResponse`.
pub(crate) async fn delete(
    gateway: &Gateway,
    cx: &Cx,
    req: DeleteRouteResponseRequest,
) -> Result<()> {
    gateway
        .edit(cx, &req.api_id.clone(), move |edition| {
            change(edition, &req.route_id, |own| {
                response::remove(&mut own.responses, &req.route_response_id)
            })
        })
        .await
}

/// Changes what a route has of its own, and stores the route.
fn change<T>(
    edition: &mut Edition<'_>,
    route_id: &str,
    change: impl FnOnce(&mut WebSocketRoute) -> Result<T>,
) -> Result<T> {
    let before = route::find(edition.tx, edition.at, route_id)?;
    let mut own = before.websocket.clone().unwrap_or_default();
    let value = change(&mut own)?;
    let after = RouteRecord { websocket: Some(own), ..before.clone() };
    route::replace(edition, &before, &after)?;
    Ok(value)
}

/// What a route response declares: headers, by name.
fn declared(
    given: Option<&BTreeMap<String, ParameterConstraints>>,
) -> Result<BTreeMap<String, bool>> {
    let mut declared = BTreeMap::new();
    for (name, constraints) in given.into_iter().flatten() {
        let header = name.strip_prefix("route.response.header.");
        if header.is_none_or(|header| HeaderName::from_bytes(header.as_bytes()).is_err()) {
            return Err(Error::invalid(format!("Invalid response parameter specified: {name}")));
        }
        declared.insert(name.clone(), constraints.required == Some(true));
    }
    Ok(declared)
}

fn check_key(key: &str) -> Result<()> {
    match key {
        "$default" => Ok(()),
        _ => Err(Error::invalid(
            "Invalid RouteResponseKey specified. Only \"$default\" is supported",
        )),
    }
}
