//! A call to a service, in one of AWS's protocols.

use std::time::Duration;

use bytes::Bytes;
use gatemill_wire::percent;
use http::{HeaderName, HeaderValue, Method};
use serde::Serialize;

use crate::{
    Error,
    limits::{ANSWER_BYTES_MAX, ATTEMPT_WAIT, ATTEMPTS_MAX},
};

/// One call. It is kept whole, so that it can be sent again.
#[derive(Debug, Clone)]
pub struct Request {
    pub(crate) method: Method,
    /// Path and query, percent-encoded.
    pub(crate) path: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
    pub(crate) attempts_max: u32,
    pub(crate) wait: Duration,
    pub(crate) answer_bytes_max: usize,
}

impl Request {
    /// A call in the JSON protocol, version 1.0 (SQS and DynamoDB; the others take it, too, by
    /// [`json_1_1`](Self::json_1_1)). The target is `Prefix.Operation`, such as `AmazonSQS.SendMessage`.
    ///
    /// # Errors
    /// [`Error::Unsendable`] when the body cannot be written as JSON.
    pub fn json(target: &str, body: &impl Serialize) -> Result<Self, Error> {
        Self::json_of("application/x-amz-json-1.0", target, body)
    }

    /// A call in the JSON protocol, version 1.1 (Kinesis, EventBridge).
    ///
    /// # Errors
    /// [`Error::Unsendable`] when the body cannot be written as JSON.
    pub fn json_1_1(target: &str, body: &impl Serialize) -> Result<Self, Error> {
        Self::json_of("application/x-amz-json-1.1", target, body)
    }

    fn json_of(
        content_type: &'static str,
        target: &str,
        body: &impl Serialize,
    ) -> Result<Self, Error> {
        let body = serde_json::to_vec(body).map_err(unsendable)?;
        Self::rest(Method::POST, "/")
            .body(body)
            .header("content-type", content_type)?
            .header("x-amz-target", target)
    }

    /// A call in the query protocol (SNS): the parameters in their order, without `Action` and `Version`.
    ///
    /// # Errors
    /// None in practice: what stands here can stand in a header.
    pub fn query(action: &str, version: &str, parameters: &[(&str, &str)]) -> Result<Self, Error> {
        let pairs = [("Action", action), ("Version", version)];
        let pairs = pairs.iter().chain(parameters).map(|(name, value)| {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            format!("{}={}", percent::encode(name, b""), percent::encode(value, b""))
        });
        let body = pairs.collect::<Vec<_>>().join("&");
        Self::rest(Method::POST, "/")
            .body(body)
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
    }

    /// A call in a REST protocol (S3). The path begins with a slash; it and the query are percent-encoded.
    pub fn rest(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Bytes::new(),
            attempts_max: ATTEMPTS_MAX,
            wait: ATTEMPT_WAIT,
            answer_bytes_max: ANSWER_BYTES_MAX,
        }
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// With this header.
    ///
    /// # Errors
    /// [`Error::Unsendable`] when the value cannot stand in a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Result<Self, Error> {
        let value = value.parse().map_err(unsendable)?;
        self.headers.push((HeaderName::from_static(name), value));
        Ok(self)
    }

    /// Tried at most this often, instead of [`ATTEMPTS_MAX`] times.
    #[must_use]
    pub fn attempts(mut self, attempts_max: u32) -> Self {
        self.attempts_max = attempts_max.max(1);
        self
    }

    /// With room for an answer of this size, instead of [`ANSWER_BYTES_MAX`].
    #[must_use]
    pub fn answer_bytes_max(mut self, bytes: usize) -> Self {
        self.answer_bytes_max = bytes;
        self
    }

    /// With this long for each attempt, instead of [`ATTEMPT_WAIT`].
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

pub(crate) fn unsendable(error: impl std::fmt::Display) -> Error {
    Error::Unsendable(error.to_string())
}
