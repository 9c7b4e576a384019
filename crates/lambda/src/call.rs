//! What a call of a function is given and what it gives: the face of the second path.

use bytes::Bytes;
use gatemill_wire::RequestId;

use crate::FunctionTarget;

/// One synchronous call.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Which function.
    pub target: FunctionTarget,
    /// The event, as the caller sent it: JSON in UTF-8, or nothing, which the runtime gets as `{}`.
    pub payload: Bytes,
    /// Who wrote the event.
    pub author: Author,
    /// The id of this call: in the runtime's context, in the log, in error texts.
    pub request_id: RequestId,
    /// `Root=…;Parent=…;Sampled=…`, where the caller has one.
    pub trace_id: Option<String>,
    /// The client context as JSON text (not base64).
    pub client_context: Option<String>,
    /// The tenant that the call is for: needed by functions that isolate tenants, refused by others.
    pub tenant_id: Option<String>,
    /// Whether [`Outcome::log_tail`] is wanted.
    pub log_tail: bool,
}

/// Who wrote an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// Whoever calls: nothing is known of it, not even that it is JSON.
    Caller,
    /// This server, from a request: it is JSON and need not be read again.
    Server,
}

/// What a call gave. A function that failed is an outcome, too: the caller's status is 200 then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The runtime's bytes, or the error document.
    pub payload: Bytes,
    /// `Unhandled` when the function failed; AWS answers no other value.
    pub function_error: Option<&'static str>,
    /// The version that ran: `$LATEST` or a number.
    pub executed_version: String,
    /// The last 4 KB of the call's log, where asked for.
    pub log_tail: Option<Bytes>,
    /// The durable execution that the call began or found.
    pub durable_execution_arn: Option<String>,
}
