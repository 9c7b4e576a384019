//! The credentials endpoint of an execution environment, for processes that were not given any among their variables: they
//! find it in `AWS_CONTAINER_CREDENTIALS_FULL_URI`, and AWS's SDKs ask it again before what they have ends.
//!
//! The document is the one of AWS's container credentials. It wants the token that only the environment's own processes
//! were given (`AWS_CONTAINER_AUTHORIZATION_TOKEN`), so that a function which fetches what strangers name does not fetch
//! this for them.

use http::{Method, StatusCode, header, request};
use serde_json::json;

use super::http1::Answer;
use crate::role::RoleSource;

/// The one path that it serves.
pub(crate) const PATH: &str = "/2021-04-23/credentials";

/// Answers a request to [`PATH`].
pub(crate) fn answer(head: &request::Parts, token: &str, role: Option<&RoleSource>) -> Answer {
    let refuse =
        |status: StatusCode, message: &str| Answer::error(status, "Credentials.Error", message);
    let given = head.headers.get(header::AUTHORIZATION).map(http::HeaderValue::as_bytes);
    if token.is_empty() || given != Some(token.as_bytes()) {
        return refuse(StatusCode::UNAUTHORIZED, "Missing or invalid token");
    }
    if head.method != Method::GET {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
    }
    let Some(credentials) = role.and_then(RoleSource::begin) else {
        return refuse(StatusCode::NOT_FOUND, "There are no credentials of the function's role");
    };
    let body = json!({
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "Token": credentials.session_token,
        "Expiration": credentials.expiration.iso8601(),
    });
    Answer::new(StatusCode::OK, body.to_string()).with("Cache-Control", "no-store")
}
