//! What the gateway asks about those who sign their requests, in its own words.
//!
//! The server gives it the real access keys; the tests of this crate give it doubles.

use bytes::Bytes;
use gatemill_wire::{Caller, Timestamp};
use http::request::Parts;

/// The service in the scope of signatures of requests to APIs.
pub const SIGNING_NAME: &str = "execute-api";

/// Knows access keys, and what their owners may do.
pub trait Callers: Send + Sync {
    /// Who signed a request to an API.
    ///
    /// # Errors
    /// Why the signature is none, for the log.
    fn signer(&self, now: Timestamp, head: &Parts, body: &Bytes) -> Result<Caller, String>;

    /// Whether the policies of an identity allow it an action such as `execute-api:Invoke`. Asked on every request, so
    /// answered from memory.
    fn may(&self, caller: &Caller, action: &str, resource: &str) -> bool;
}
