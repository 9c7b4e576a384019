//! Routes of WebSocket APIs: `$connect`, `$disconnect`, `$default` and those of the owner's own keys.

use gatemill_api::apigatewayv2::{
    CreateRouteRequest, CreateRouteResult, UpdateRouteRequest, UpdateRouteResult,
};
use gatemill_wire::Cx;

use crate::{
    Gateway,
    control::{authorizer, holds, route, says, unbuilt},
    error::{Error, Result},
    limits::ROUTE_KEY_MAX,
    record::{Authorization, AuthorizationKind, RouteRecord, WebSocketRoute},
};

/// The members of a route in an answer.
macro_rules! members {
    ($answer:ident, $record:expr, $own:expr) => {{
        let (record, own): (&RouteRecord, &WebSocketRoute) = ($record, $own);
        $answer {
            api_gateway_managed: None,
            api_key_required: Some(false),
            authorization_scopes: None,
            authorization_type: Some(authorizer::kind_text(record.authorization.kind).to_owned()),
            authorizer_id: record.authorization.authorizer.clone(),
            model_selection_expression: None,
            operation_name: record.operation_name.clone(),
            request_models: None,
            request_parameters: None,
            route_id: Some(record.id.clone()),
            route_key: record.key.clone().into(),
            route_response_selection_expression: own.response_selection.clone(),
            target: record.integration.as_ref().map(|id| format!("integrations/{id}")),
        }
    }};
}

/// Refuses what create and update have in common and is not built.
macro_rules! refuse_unbuilt {
    ($req:expr) => {{
        let req = $req;
        unbuilt("apiKeyRequired", req.api_key_required == Some(true))?;
        unbuilt("modelSelectionExpression", says(req.model_selection_expression.as_deref()))?;
        unbuilt("requestModels", holds(req.request_models.as_ref()))?;
        unbuilt("requestParameters", holds(req.request_parameters.as_ref()))?;
        if req.authorization_scopes.as_ref().is_some_and(|list| !list.is_empty()) {
            return Err(Error::invalid(
                "Authorization scopes are not supported on protocolType WEBSOCKET",
            ));
        }
    }};
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
    refuse_unbuilt!(&req);
    check_key(&req.route_key)?;
    let own = WebSocketRoute {
        response_selection: selection(req.route_response_selection_expression.as_deref())?,
        responses: Vec::new(),
    };
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
    gateway.edit(cx, &req.api_id, move |edition| route::insert(edition, &route)).await?;
    Ok(answer)
}

/// `UpdateRoute`.
pub(crate) async fn update(
    gateway: &Gateway,
    cx: &Cx,
    req: UpdateRouteRequest,
) -> Result<UpdateRouteResult> {
    refuse_unbuilt!(&req);
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
            route.websocket = Some(own.clone());
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
