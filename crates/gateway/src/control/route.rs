//! The family of routes.

use std::collections::BTreeMap;

use gatemill_api::apigatewayv2::{
    CreateRouteRequest, CreateRouteResult, DeleteRouteRequest, GetRouteRequest, GetRouteResult,
    GetRoutesRequest, GetRoutesResponse, ParameterConstraints, Route, UpdateRouteRequest,
    UpdateRouteResult,
};
use gatemill_store::Reader;
use gatemill_wire::Cx;

use crate::{
    Gateway,
    control::{
        authorizer,
        edition::{Edition, Kind},
        gaps, holds, length,
        page::page,
        says, unbuilt, websocket,
    },
    error::{Error, Result},
    limits::{OPERATION_NAME_MAX, ROUTE_KEY_MAX, ROUTES_PER_API_MAX},
    record::{
        ApiKey, Authorization, INTEGRATIONS, IdRecord, ROUTE_KEYS, ROUTE_TARGETS, ROUTES,
        RouteRecord, Version,
    },
    trie::RouteKey,
};

/// The members of a route in an answer; the answers of four operations have the same.
macro_rules! members {
    ($answer:ident, $record:expr) => {{
        let record: &RouteRecord = $record;
        $answer {
            api_gateway_managed: record.managed.then_some(true),
            api_key_required: Some(
                record.websocket.as_ref().is_some_and(|own| own.api_key_required),
            ),
            authorization_scopes: Some(record.authorization.scopes.clone())
                .filter(|scopes| !scopes.is_empty()),
            authorization_type: Some(authorizer::kind_text(record.authorization.kind).to_owned()),
            authorizer_id: record.authorization.authorizer.clone(),
            model_selection_expression: record
                .websocket
                .as_ref()
                .and_then(|own| own.model_selection.clone()),
            operation_name: record.operation_name.clone(),
            request_models: record
                .websocket
                .as_ref()
                .map(|own| own.request_models.clone())
                .filter(|models| !models.is_empty()),
            request_parameters: record
                .websocket
                .as_ref()
                .and_then(|own| parameters(&own.request_parameters)),
            route_id: Some(record.id.clone()),
            route_key: record.key.clone().into(),
            route_response_selection_expression: record
                .websocket
                .as_ref()
                .and_then(|websocket| websocket.response_selection.clone()),
            target: record.integration.as_ref().map(|id| format!("integrations/{id}")),
        }
    }};
}

/// What a route of a WebSocket API asks of handshakes, as it is on the wire.
pub(crate) fn parameters(
    all: &BTreeMap<String, bool>,
) -> Option<BTreeMap<String, ParameterConstraints>> {
    let constraints = |required: &bool| ParameterConstraints { required: Some(*required) };
    let parameters = all.iter().map(|(name, required)| (name.clone(), constraints(required)));
    Some(parameters.collect()).filter(|_| !all.is_empty())
}

/// `CreateRoute`.
pub(crate) async fn create(
    gateway: &Gateway,
    cx: &Cx,
    req: CreateRouteRequest,
) -> Result<CreateRouteResult> {
    check_operation(req.operation_name.as_deref())?;
    if gateway.is_websocket(cx, &req.api_id)? {
        return websocket::route::create(gateway, cx, req).await;
    }
    unbuilt(&gaps::HTTP_API_KEY, req.api_key_required == Some(true))?;
    unbuilt(&gaps::HTTP_MODEL_SELECTION, says(req.model_selection_expression.as_deref()))?;
    unbuilt(&gaps::HTTP_MODELS, holds(req.request_models.as_ref()))?;
    unbuilt(&gaps::HTTP_REQUEST_PARAMETERS, holds(req.request_parameters.as_ref()))?;
    unbuilt(&gaps::HTTP_ROUTE_RESPONSE, says(req.route_response_selection_expression.as_deref()))?;
    check_key(&req.route_key)?;
    let route = RouteRecord {
        id: cx.id(7),
        key: req.route_key,
        integration: target(req.target.as_deref())?,
        operation_name: req.operation_name.filter(|text| !text.is_empty()),
        managed: false,
        websocket: None,
        authorization: authorizer::authorization(
            &Authorization::default(),
            req.authorization_type.as_deref(),
            req.authorizer_id.as_deref(),
            req.authorization_scopes.as_deref(),
        )?,
    };
    let answer = members!(CreateRouteResult, &route);
    gateway.edit(cx, &req.api_id, move |edition| insert(edition, &route)).await?;
    Ok(answer)
}

/// `GetRoute`.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: &Cx,
    req: GetRouteRequest,
) -> Result<GetRouteResult> {
    let route = gateway.read(cx, &req.api_id, |tx, at, _| find(tx, at, &req.route_id))?;
    Ok(members!(GetRouteResult, &route))
}

/// `GetRoutes`.
pub(crate) async fn list(
    gateway: &Gateway,
    cx: &Cx,
    req: GetRoutesRequest,
) -> Result<GetRoutesResponse> {
    let (routes, next_token) = gateway.read(cx, &req.api_id, |tx, at, _| {
        page(&ROUTES, tx, &at.key(), req.max_results.as_deref(), req.next_token.as_deref())
    })?;
    let items = routes.iter().map(|route| members!(Route, route)).collect();
    Ok(GetRoutesResponse { items: Some(items), next_token })
}

/// `UpdateRoute`.
pub(crate) async fn update(
    gateway: &Gateway,
    cx: &Cx,
    req: UpdateRouteRequest,
) -> Result<UpdateRouteResult> {
    check_operation(req.operation_name.as_deref())?;
    if gateway.is_websocket(cx, &req.api_id)? {
        return websocket::route::update(gateway, cx, req).await;
    }
    unbuilt(&gaps::HTTP_API_KEY, req.api_key_required == Some(true))?;
    unbuilt(&gaps::HTTP_MODEL_SELECTION, says(req.model_selection_expression.as_deref()))?;
    unbuilt(&gaps::HTTP_MODELS, holds(req.request_models.as_ref()))?;
    unbuilt(&gaps::HTTP_REQUEST_PARAMETERS, holds(req.request_parameters.as_ref()))?;
    unbuilt(&gaps::HTTP_ROUTE_RESPONSE, says(req.route_response_selection_expression.as_deref()))?;
    if let Some(key) = &req.route_key {
        check_key(key)?;
    }
    let target = req.target.as_deref().map(|text| target(Some(text))).transpose()?;
    let api_id = req.api_id.clone();
    let route = gateway
        .edit(cx, &api_id, move |edition| {
            let before = find(edition.tx, edition.at, &req.route_id)?;
            let mut route = before.clone();
            if let Some(key) = &req.route_key {
                if route.managed && *key != route.key {
                    return Err(Error::invalid(
                        "The route key of a route managed by API Gateway cannot be updated.",
                    ));
                }
                route.key.clone_from(key);
            }
            if let Some(target) = &target {
                route.integration.clone_from(target);
            }
            if let Some(name) = &req.operation_name {
                route.operation_name = Some(name.clone()).filter(|text| !text.is_empty());
            }
            route.authorization = authorizer::authorization(
                &before.authorization,
                req.authorization_type.as_deref(),
                req.authorizer_id.as_deref(),
                req.authorization_scopes.as_deref(),
            )?;
            replace(edition, &before, &route)?;
            Ok(route)
        })
        .await?;
    Ok(members!(UpdateRouteResult, &route))
}

/// `DeleteRoute`.
pub(crate) async fn delete(gateway: &Gateway, cx: &Cx, req: DeleteRouteRequest) -> Result<()> {
    gateway
        .edit(cx, &req.api_id.clone(), move |edition| {
            let route = find(edition.tx, edition.at, &req.route_id)?;
            unlink(edition, &route)?;
            ROUTES.delete(edition.tx, &edition.at.of(&route.id))?;
            edition.api.routes = edition.api.routes.saturating_sub(1);
            if edition.api.quick.as_ref().is_some_and(|quick| quick.route == route.id) {
                edition.api.quick = None;
            }
            edition.note(Kind::Route, &route.id, &Version::Removed)
        })
        .await
}

/// Checks a route key. The text is AWS's.
pub(crate) fn check_key(key: &str) -> Result<()> {
    let fits = key.len() <= ROUTE_KEY_MAX && RouteKey::parse(key).is_some();
    fits.then_some(()).ok_or_else(|| {
        Error::invalid(
            "The provided route key is not formatted properly for HTTP protocol. Format should be \"<HTTP METHOD> \
             /<RESOURCE PATH>\" or \"$default\"",
        )
    })
}

/// Checks the name of a route's operation.
pub(crate) fn check_operation(name: Option<&str>) -> Result<()> {
    length("operationName", name.unwrap_or_default(), 0, OPERATION_NAME_MAX)
}

/// The route of quick create.
pub(crate) fn quick(id: &str, key: &str, integration: &str) -> RouteRecord {
    RouteRecord {
        id: id.to_owned(),
        key: key.to_owned(),
        integration: Some(integration.to_owned()),
        operation_name: None,
        managed: true,
        websocket: None,
        authorization: Authorization::default(),
    }
}

/// Adds a route.
pub(crate) fn insert(edition: &mut Edition<'_>, route: &RouteRecord) -> Result<()> {
    if edition.api.routes >= ROUTES_PER_API_MAX {
        return Err(Error::TooMany("Routes"));
    }
    link(edition, route)?;
    edition.api.routes += 1;
    store(edition, route)
}

/// Gives the route of quick create another key.
pub(crate) fn rename(edition: &mut Edition<'_>, id: &str, key: &str) -> Result<()> {
    let before = find(edition.tx, edition.at, id)?;
    let route = RouteRecord { key: key.to_owned(), ..before.clone() };
    replace(edition, &before, &route)
}

/// Stores a route anew.
pub(crate) fn replace(
    edition: &mut Edition<'_>,
    before: &RouteRecord,
    route: &RouteRecord,
) -> Result<()> {
    if before == route {
        return Ok(());
    }
    unlink(edition, before)?;
    link(edition, route)?;
    store(edition, route)
}

/// Stores a route whose key and integration are linked.
pub(crate) fn store(edition: &mut Edition<'_>, route: &RouteRecord) -> Result<()> {
    ROUTES.put(edition.tx, &edition.at.of(&route.id), route)?;
    edition.note(Kind::Route, &route.id, &Version::Route(route.clone()))
}

/// Takes the key, and notes which integration is used.
pub(crate) fn link(edition: &mut Edition<'_>, route: &RouteRecord) -> Result<()> {
    let by_key = edition.at.of(&route.key);
    if ROUTE_KEYS.contains(edition.tx, &by_key)? {
        return Err(Error::RouteExists(route.key.clone()));
    }
    let id = IdRecord { id: route.id.clone() };
    ROUTE_KEYS.put(edition.tx, &by_key, &id)?;
    if let Some(integration) = &route.integration {
        let key = edition.at.of(integration);
        if !INTEGRATIONS.contains(edition.tx, &key)? {
            return Err(Error::NoSuchIntegration(integration.clone()));
        }
        ROUTE_TARGETS.put(edition.tx, &key.and(&route.id), &id)?;
    }
    authorizer::link(edition, route)
}

/// Undoes [`link`].
pub(crate) fn unlink(edition: &mut Edition<'_>, route: &RouteRecord) -> Result<()> {
    ROUTE_KEYS.delete(edition.tx, &edition.at.of(&route.key))?;
    if let Some(integration) = &route.integration {
        ROUTE_TARGETS.delete(edition.tx, &edition.at.of(integration).and(&route.id))?;
    }
    authorizer::unlink(edition, route)
}

/// The route of this id, which has to be there.
pub(crate) fn find(from: &impl Reader, at: &ApiKey, id: &str) -> Result<RouteRecord> {
    ROUTES.get(from, &at.of(id))?.ok_or_else(|| Error::NoSuchRoute(id.to_owned()))
}

/// The integration that a target names; an empty target is none.
pub(crate) fn target(text: Option<&str>) -> Result<Option<String>> {
    match text {
        None | Some("") => Ok(None),
        Some(text) => match text.strip_prefix("integrations/") {
            Some(id) if !id.is_empty() => Ok(Some(id.to_owned())),
            Some(_) | None => Err(Error::invalid(format!(
                "Invalid target {text} specified. Format should be \"integrations/<INTEGRATION ID>\""
            ))),
        },
    }
}
