//! What WebSocket APIs have of their own in `CreateApi` and `UpdateApi`.

use gatemill_api::apigatewayv2::{CreateApiRequest, UpdateApiRequest};

use crate::{
    control::says,
    error::{Error, Result},
    record::WebSocketSettings,
    websocket::{key::BY_AUTHORIZER, select::Selection},
};

/// What AWS answers where nothing was asked for.
const API_KEY_SELECTION: &str = "$request.header.x-api-key";

/// What a new API has.
pub(crate) fn accept(req: &CreateApiRequest) -> Result<WebSocketSettings> {
    if req.cors_configuration.is_some() {
        return Err(Error::invalid("CORS is not supported on protocolType WEBSOCKET"));
    }
    if says(req.target.as_deref()) || says(req.route_key.as_deref()) {
        return Err(Error::invalid("Quick create is not supported on protocolType WEBSOCKET"));
    }
    let route_selection = req.route_selection_expression.as_deref().unwrap_or_default();
    if route_selection.is_empty() {
        return Err(Error::invalid(
            "RouteSelectionExpression is a required parameter for APIs of protocol type WEBSOCKET",
        ));
    }
    check_route_selection(route_selection)?;
    let api_key_selection = req.api_key_selection_expression.as_deref().unwrap_or_default();
    Ok(WebSocketSettings {
        route_selection: route_selection.to_owned(),
        api_key_selection: api_key_selection_of(api_key_selection)?.to_owned(),
        disable_schema_validation: req.disable_schema_validation.unwrap_or(false),
    })
}

/// Changes what an API has.
pub(crate) fn apply(settings: &mut WebSocketSettings, req: &UpdateApiRequest) -> Result<()> {
    if req.cors_configuration.is_some() {
        return Err(Error::invalid("CORS is not supported on protocolType WEBSOCKET"));
    }
    if let Some(text) = req.route_selection_expression.as_deref().filter(|text| !text.is_empty()) {
        check_route_selection(text)?;
        text.clone_into(&mut settings.route_selection);
    }
    if let Some(disable) = req.disable_schema_validation {
        settings.disable_schema_validation = disable;
    }
    if let Some(text) = req.api_key_selection_expression.as_deref() {
        api_key_selection_of(text)?.clone_into(&mut settings.api_key_selection);
    }
    Ok(())
}

fn check_route_selection(text: &str) -> Result<()> {
    match Selection::parse(text) {
        Some(_) => Ok(()),
        None => Err(Error::invalid("Invalid RouteSelectionExpression specified")),
    }
}

/// There are two places that a key can come from.
fn api_key_selection_of(text: &str) -> Result<&'static str> {
    match text {
        BY_AUTHORIZER => Ok(BY_AUTHORIZER),
        "" | API_KEY_SELECTION => Ok(API_KEY_SELECTION),
        _ => Err(Error::invalid("Invalid ApiKeySelectionExpression specified")),
    }
}
