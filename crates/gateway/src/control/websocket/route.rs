//! Routes of WebSocket APIs: `$connect`, `$disconnect`, `$default` and those of the owner's own keys.

use gatemill_api::apigatewayv2::{
    CreateRouteRequest, CreateRouteResult, DeleteRouteRequestParameterRequest, UpdateRouteRequest,
    UpdateRouteResult,
};
use gatemill_wire::Cx;

use crate::{
    Gateway,
    control::{authorizer, edition::Edition, gaps, route, unbuilt, websocket::merge},
    error::{Error, Result},
    limits::ROUTE_KEY_MAX,
    record::{Authorization, AuthorizationKind, MODEL_NAMES, RouteRecord, WebSocketRoute},
    websocket::select::Selection,
};

/// The members of a route in an answer.
macro_rules! members {
    ($answer:ident, $record:expr, $own:expr) => {{
        let (record, own): (&RouteRecord, &WebSocketRoute) = ($record, $own);
        $answer {
            api_gateway_managed: None,
            api_key_required: Some(own.api_key_required),
            authorization_scopes: None,
            authorization_type: Some(authorizer::kind_text(record.authorization.kind).to_owned()),
            authorizer_id: record.authorization.authorizer.clone(),
            model_selection_expression: own.model_selection.clone(),
            operation_name: record.operation_name.clone(),
            request_models: Some(own.request_models.clone()).filter(|models| !models.is_empty()),
            request_parameters: route::parameters(&own.request_parameters),
            route_id: Some(record.id.clone()),
            route_key: record.key.clone().into(),
            route_response_selection_expression: own.response_selection.clone(),
            target: record.integration.as_ref().map(|id| format!("integrations/{id}")),
        }
    }};
}

/// Refuses what neither create nor update takes.
macro_rules! refuse_unsupported {
    ($req:expr) => {{
        let req = $req;
        if req.authorization_scopes.as_ref().is_some_and(|list| !list.is_empty()) {
            return Err(Error::invalid(
                "Authorization scopes are not supported on protocolType WEBSOCKET",
            ));
        }
    }};
}

/// Sets what a request says of what a route asks of messages and handshakes, keys among it. A model that is set to nothing is removed.
macro_rules! take_validation {
    ($own:ident, $req:expr) => {{
        let req = $req;
        if let Some(text) = &req.model_selection_expression {
            $own.model_selection = Some(text.clone()).filter(|text| !text.is_empty());
        }
        if let Some(required) = req.api_key_required {
            $own.api_key_required = required;
        }
        merge(&mut $own.request_models, req.request_models.as_ref());
        for (name, constraints) in req.request_parameters.iter().flatten() {
            $own.request_parameters.insert(name.clone(), constraints.required == Some(true));
        }
    }};
}

/// Checks what a route asks of messages and handshakes.
fn check_validation(edition: &Edition<'_>, route: &RouteRecord) -> Result<()> {
    let Some(own) = &route.websocket else { return Ok(()) };
    if own.model_selection.as_deref().is_some_and(|text| Selection::parse(text).is_none()) {
        return Err(Error::invalid("Invalid ModelSelectionExpression specified"));
    }
    unbuilt(&gaps::DISCONNECT_API_KEY, own.api_key_required && route.key == "$disconnect")?;
    let is_connect = route.key == "$connect";
    let has_models = !own.request_models.is_empty() || own.model_selection.is_some();
    if has_models && (is_connect || route.key == "$disconnect") {
        return Err(Error::invalid("Request models are supported for routes of messages only"));
    }
    if !is_connect && !own.request_parameters.is_empty() {
        return Err(Error::invalid("Request parameters are supported for the $connect route only"));
    }
    for name in own.request_parameters.keys() {
        let known = ["route.request.header.", "route.request.querystring."];
        if !known.iter().any(|root| name.strip_prefix(root).is_some_and(|name| !name.is_empty())) {
            return Err(Error::invalid(format!("Invalid request parameter specified: {name}")));
        }
    }
    for name in own.request_models.values() {
        if !MODEL_NAMES.contains(edition.tx, &edition.at.of(name))? {
            return Err(Error::NoSuchModel(name.clone()));
        }
    }
    Ok(())
}

/// `DeleteRouteRequestParameter`.
pub(crate) async fn delete_request_parameter(
    gateway: &Gateway,
    cx: &Cx,
    req: DeleteRouteRequestParameterRequest,
) -> Result<()> {
    gateway
        .edit(cx, &req.api_id.clone(), move |edition| {
            let before = route::find(edition.tx, edition.at, &req.route_id)?;
            let mut after = before.clone();
            let own = after.websocket.as_mut();
            let removed =
                own.and_then(|own| own.request_parameters.remove(&req.request_parameter_key));
            if removed.is_none() {
                return Err(Error::NoSuchRequestParameter(req.request_parameter_key.clone()));
            }
            route::replace(edition, &before, &after)
        })
        .await
}

/// What a route says of its authorization. Only `$connect` is asked, and by no token.
fn authorization(
    key: &str,
    before: &Authorization,
    kind: Option<&str>,
    authorizer: Option<&str>,
) -> Result<Authorization> {
    let authorization = authorizer::authorization(before, kind, authorizer, None)?;
    if authorization.kind == AuthorizationKind::Jwt {
        return Err(Error::invalid(
            "AuthorizationType JWT is not supported on protocolType WEBSOCKET",
        ));
    }
    if !authorization.is_open() && key != "$connect" {
        return Err(Error::invalid(
            "Currently, authorization is supported for the $connect route only",
        ));
    }
    Ok(authorization)
}

/// `CreateRoute`.
pub(crate) async fn create(
    gateway: &Gateway,
    cx: &Cx,
    req: CreateRouteRequest,
) -> Result<CreateRouteResult> {
    refuse_unsupported!(&req);
    check_key(&req.route_key)?;
    let mut own = WebSocketRoute {
        response_selection: selection(req.route_response_selection_expression.as_deref())?,
        ..WebSocketRoute::default()
    };
    take_validation!(own, &req);
    let authorization = authorization(
        &req.route_key,
        &Authorization::default(),
        req.authorization_type.as_deref(),
        req.authorizer_id.as_deref(),
    )?;
    let route = RouteRecord {
        id: cx.id(7),
        key: req.route_key,
        integration: route::target(req.target.as_deref())?,
        operation_name: req.operation_name.filter(|text| !text.is_empty()),
        managed: false,
        websocket: Some(own.clone()),
        authorization,
    };
    let answer = members!(CreateRouteResult, &route, &own);
    gateway
        .edit(cx, &req.api_id, move |edition| {
            check_validation(edition, &route)?;
            route::insert(edition, &route)
        })
        .await?;
    Ok(answer)
}

/// `UpdateRoute`.
pub(crate) async fn update(
    gateway: &Gateway,
    cx: &Cx,
    req: UpdateRouteRequest,
) -> Result<UpdateRouteResult> {
    refuse_unsupported!(&req);
    if let Some(key) = &req.route_key {
        check_key(key)?;
    }
    let target = req.target.as_deref().map(|text| route::target(Some(text))).transpose()?;
    let response = req.route_response_selection_expression.as_deref();
    let response = response.map(|text| selection(Some(text))).transpose()?;
    let api_id = req.api_id.clone();
    let (route, own) = gateway
        .edit(cx, &api_id, move |edition| {
            let before = route::find(edition.tx, edition.at, &req.route_id)?;
            let mut route = before.clone();
            let mut own = route.websocket.take().unwrap_or_default();
            if let Some(key) = &req.route_key {
                route.key.clone_from(key);
            }
            if let Some(target) = &target {
                route.integration.clone_from(target);
            }
            if let Some(name) = &req.operation_name {
                route.operation_name = Some(name.clone()).filter(|text| !text.is_empty());
            }
            route.authorization = authorization(
                &route.key,
                &before.authorization,
                req.authorization_type.as_deref(),
                req.authorizer_id.as_deref(),
            )?;
            if let Some(response) = &response {
                own.response_selection.clone_from(response);
            }
            take_validation!(own, &req);
            route.websocket = Some(own.clone());
            check_validation(edition, &route)?;
            route::replace(edition, &before, &route)?;
            Ok((route, own))
        })
        .await?;
    Ok(members!(UpdateRouteResult, &route, &own))
}

fn check_key(key: &str) -> Result<()> {
    let own = matches!(key, "$connect" | "$disconnect" | "$default");
    if (1..=ROUTE_KEY_MAX).contains(&key.len()) && (own || !key.starts_with('$')) {
        return Ok(());
    }
    Err(Error::invalid(
        "The provided route key is not formatted properly for WEBSOCKET protocol. It should be \"$connect\", \
         \"$disconnect\", \"$default\" or a custom key",
    ))
}

/// The one expression that there is, or none.
fn selection(text: Option<&str>) -> Result<Option<String>> {
    match text {
        None | Some("") => Ok(None),
        Some("$default") => Ok(Some("$default".to_owned())),
        Some(_) => Err(Error::invalid(
            "Invalid RouteResponseSelectionExpression specified. Only \"$default\" is supported",
        )),
    }
}
