//! Calling functions.

use std::sync::Arc;

use bytes::Bytes;
use gatemill_lambda::{Author, FunctionTarget, Invocation, Lambda, Outcome};
use gatemill_wire::{RequestId, routes::BoxFuture};

use crate::CallError;

/// Who calls functions.
pub trait Functions: Send + Sync {
    /// Calls one, and waits for its answer.
    fn call(
        &self,
        target: FunctionTarget,
        event: Bytes,
        request_id: RequestId,
    ) -> BoxFuture<'_, Result<Outcome, CallError>>;

    /// A function is called with records of a stream, the last of which is this old.
    fn called_with_records(&self, target: &FunctionTarget, age_ms: i64);
}

impl Functions for Arc<Lambda> {
    fn call(
        &self,
        target: FunctionTarget,
        event: Bytes,
        request_id: RequestId,
    ) -> BoxFuture<'_, Result<Outcome, CallError>> {
        Box::pin(async move {
            let call = Invocation {
                target,
                payload: event,
                author: Author::Caller,
                request_id,
                trace_id: None,
                client_context: None,
                tenant_id: None,
                log_tail: false,
            };
            self.invoke(call).await.map_err(|error| match error {
                gatemill_lambda::Error::Throttled(_) => CallError::Throttled,
                error => CallError::Failed(error.to_string()),
            })
        })
    }

    fn called_with_records(&self, target: &FunctionTarget, age_ms: i64) {
        Lambda::called_with_records(self, target, age_ms);
    }
}
