//! The CORS configuration of an API: its checks, and `DeleteCorsConfiguration`.

use gatemill_api::apigatewayv2::{Cors as CorsMembers, DeleteCorsConfigurationRequest};
use gatemill_wire::Cx;

use crate::{
    Gateway,
    error::{Error, Result},
    record::Cors,
};

/// `DeleteCorsConfiguration`.
pub(crate) async fn delete(
    gateway: &Gateway,
    cx: &Cx,
    req: DeleteCorsConfigurationRequest,
) -> Result<()> {
    gateway
        .edit(cx, &req.api_id, |edition| {
            edition.api.settings.cors = None;
            edition.note_settings()
        })
        .await
}

/// Checks a configuration and makes it a record.
pub(crate) fn accept(cors: CorsMembers) -> Result<Cors> {
    let any_origin = cors.allow_origins.iter().flatten().any(|origin| origin == "*");
    if cors.allow_credentials == Some(true) && any_origin {
        return Err(Error::invalid("allow-credentials is not supported if 'allow-origin' is *"));
    }
    if let Some(origin) = cors.allow_origins.iter().flatten().find(|origin| !is_origin(origin)) {
        return Err(Error::invalid(format!("Invalid format for origin {origin}")));
    }
    if cors.max_age.is_some_and(|age| !(-1..=86_400).contains(&age)) {
        return Err(Error::invalid("max-age must be between -1 and 86400"));
    }
    let lists =
        [&cors.allow_headers, &cors.allow_methods, &cors.allow_origins, &cors.expose_headers];
    for entry in lists.into_iter().flatten().flatten() {
        // Each becomes part of a header.
        if entry.is_empty() || !entry.bytes().all(|byte| (0x21..0x7f).contains(&byte)) {
            return Err(Error::invalid("Invalid value in corsConfiguration"));
        }
    }
    Ok(Cors {
        allow_credentials: cors.allow_credentials,
        allow_headers: cors.allow_headers,
        allow_methods: cors.allow_methods,
        allow_origins: cors.allow_origins,
        expose_headers: cors.expose_headers,
        max_age: cors.max_age,
    })
}

/// Every origin, every one of a scheme, or one. A star within a name stands for nothing.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    text == "*" || host.is_some_and(|host| host == "*" || !(host.is_empty() || host.contains('*')))
}

/// A configuration in answers.
pub(crate) fn answer(cors: &Cors) -> CorsMembers {
    let cors = cors.clone();
    CorsMembers {
        allow_credentials: cors.allow_credentials,
        allow_headers: cors.allow_headers,
        allow_methods: cors.allow_methods,
        allow_origins: cors.allow_origins,
        expose_headers: cors.expose_headers,
        max_age: cors.max_age,
    }
}
