//! Errors as AWS's clients see them.
//!
//! Crates have typed errors of their own; each turns them into an [`ApiError`] in one exhaustive match. Only the
//! [`protocol`](crate::protocol) modules write status lines and envelopes.

use std::{borrow::Cow, fmt};

use serde_json::{Map, Value};

/// An exception of a service model: code, status and the casing of its body.
#[derive(Debug, PartialEq, Eq)]
pub struct ErrorShape {
    /// The code, such as `ResourceNotFoundException`.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The body member that carries the text: `message` or `Message`; `None` where the model has none.
    pub message_member: Option<&'static str>,
    /// Whether the body has a `Type` member (`User` or `Service`), as Lambda's do.
    pub typed: bool,
}

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The caller's.
    User,
    /// Ours.
    Service,
}

/// An error on its way to a client.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    /// Which exception.
    pub shape: &'static ErrorShape,
    /// The text for the client; nothing internal stands in it.
    pub message: Cow<'static, str>,
    /// What few errors have, kept apart so that a `Result` stays small.
    pub more: Option<Box<More>>,
}

/// What few errors have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct More {
    /// Further members of the body, such as `Reason`.
    pub members: Map<String, Value>,
    /// Further headers, such as `Retry-After`.
    pub headers: Vec<(&'static str, String)>,
    /// What went wrong inside, for the log alone.
    pub internal: Option<String>,
}

impl ApiError {
    /// An error of the given shape and text.
    pub fn new(shape: &'static ErrorShape, message: impl Into<Cow<'static, str>>) -> Self {
        Self { shape, message: message.into(), more: None }
    }

    /// A fault of ours: the client learns nothing but that; the log gets `internal`.
    pub fn internal(shape: &'static ErrorShape, internal: impl fmt::Display) -> Self {
        Self::new(shape, "An error occurred and the request cannot be processed.")
            .with_internal(internal)
    }

    /// Adds a member to the body.
    #[must_use]
    pub fn with_member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more_mut().members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.more_mut().headers.push((name, value.into()));
        self
    }

    /// Adds what only the log may know.
    #[must_use]
    pub fn with_internal(mut self, internal: impl fmt::Display) -> Self {
        self.more_mut().internal = Some(internal.to_string());
        self
    }

    /// What went wrong inside, for the log.
    pub fn internal_text(&self) -> Option<&str> {
        self.more.as_ref().and_then(|more| more.internal.as_deref())
    }

    /// Further members of the body.
    pub fn members(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.more.iter().flat_map(|more| more.members.iter())
    }

    /// Further headers.
    pub fn headers(&self) -> impl Iterator<Item = &(&'static str, String)> {
        self.more.iter().flat_map(|more| more.headers.iter())
    }

    fn more_mut(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// Whose fault it is, by the status.
    pub fn fault(&self) -> Fault {
        if self.shape.status < 500 { Fault::User } else { Fault::Service }
    }
}

/// Errors that no service model declares, because they arise before an operation is known.
pub mod common {
    use super::ErrorShape;

    const fn shape(code: &'static str, status: u16) -> ErrorShape {
        ErrorShape { code, status, message_member: Some("message"), typed: false }
    }

    /// No signature at all.
    pub static MISSING_AUTHENTICATION_TOKEN: ErrorShape =
        shape("MissingAuthenticationTokenException", 403);
    /// A signature whose parts are missing or malformed.
    pub static INCOMPLETE_SIGNATURE: ErrorShape = shape("IncompleteSignatureException", 403);
    /// A signature that is wrong, early or late.
    pub static INVALID_SIGNATURE: ErrorShape = shape("InvalidSignatureException", 403);
    /// An access key that nobody has.
    pub static UNRECOGNIZED_CLIENT: ErrorShape = shape("UnrecognizedClientException", 403);
    /// The credentials of a session that is over.
    pub static EXPIRED_TOKEN: ErrorShape = shape("ExpiredTokenException", 403);
    /// The caller may not do this.
    pub static ACCESS_DENIED: ErrorShape = ErrorShape {
        code: "AccessDeniedException",
        status: 403,
        message_member: Some("Message"),
        typed: false,
    };
    /// No operation has this path or target.
    pub static UNKNOWN_OPERATION: ErrorShape = shape("UnknownOperationException", 404);
    /// The operation exists in AWS and is not built here.
    pub static NOT_IMPLEMENTED: ErrorShape = shape("NotImplementedException", 501);
    /// A member cannot be read as its type.
    pub static SERIALIZATION: ErrorShape = shape("SerializationException", 400);
    /// Constraints are violated, where a service has no error of its own for that.
    pub static VALIDATION: ErrorShape = shape("ValidationException", 400);
    /// The request is larger than the service takes.
    pub static REQUEST_ENTITY_TOO_LARGE: ErrorShape = shape("RequestEntityTooLargeException", 413);
    /// A fault of ours, where a service has no error of its own for that.
    pub static INTERNAL_FAILURE: ErrorShape = shape("InternalFailure", 500);
}
