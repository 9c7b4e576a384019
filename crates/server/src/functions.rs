//! Lambda as the gateway knows it: each has words of its own, since neither depends on the other.

use std::sync::Arc;

use gatemill_gateway::functions::{Answer, Call, CallError, FunctionTarget, Functions};
use gatemill_lambda::{Author, Error, Invocation, Lambda};
use gatemill_wire::routes::BoxFuture;

/// The principal under which API Gateway asks a function's policy.
const GATEWAY: &str = "apigateway.amazonaws.com";

/// The functions of this server, for its gateway.
#[derive(Debug)]
pub(crate) struct GatewayFunctions(pub(crate) Arc<Lambda>);

impl Functions for GatewayFunctions {
    fn invoke<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Answer, CallError>> {
        Box::pin(async move {
            let outcome = self.0.invoke(invocation(call)).await.map_err(call_error)?;
            Ok(Answer { payload: outcome.payload, failed: outcome.function_error.is_some() })
        })
    }

    fn accept<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(async move { self.0.accept(invocation(call)).await.map_err(call_error) })
    }

    fn allows(&self, function: &FunctionTarget, source_arn: &str, source_account: &str) -> bool {
        let asked = self.0.allows_service(&target(function), GATEWAY, source_arn, source_account);
        asked.unwrap_or_else(|error| {
            tracing::error!(%error, function = function.arn(), "a policy cannot be evaluated");
            false
        })
    }
}

fn invocation(call: Call<'_>) -> Invocation {
    Invocation {
        target: target(call.function),
        payload: call.payload,
        author: Author::Server,
        request_id: call.request_id,
        trace_id: Some(call.trace_id.to_owned()),
        client_context: None,
        tenant_id: None,
        log_tail: false,
    }
}

fn target(function: &FunctionTarget) -> gatemill_lambda::FunctionTarget {
    let FunctionTarget { account, region, name, qualifier } = function.clone();
    gatemill_lambda::FunctionTarget { account, region, name, qualifier }
}

/// What the gateway has to tell apart: the answers differ.
fn call_error(error: Error) -> CallError {
    match error {
        Error::FunctionNotFound(_) | Error::OtherRegion { .. } | Error::NotFound(_) => {
            CallError::NotFound
        }
        Error::Throttled(_) => CallError::Throttled,
        Error::EventTooLarge { .. } => CallError::TooLarge,
        other => {
            let error = gatemill_wire::ApiError::from(other);
            let why = error.internal_text().unwrap_or(&error.message).to_owned();
            CallError::Unavailable(why)
        }
    }
}
