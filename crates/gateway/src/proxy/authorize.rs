//! Authorize: whether the API answers at all, and whether it may use its integration.
//!
//! Routes have no authorization but `NONE` yet (the control plane refuses the others), so what is checked here is the
//! API's own endpoint and the function's resource policy: without `lambda:InvokeFunction` for API Gateway on behalf of
//! this route, the client gets a 500, as in AWS.

use super::{Refusal, Refused, parse::Place, route::Routed};
use crate::{Gateway, snapshot::To};

/// Checks what can be checked before the body is read.
pub(super) fn authorize(
    gateway: &Gateway,
    place: &Place,
    routed: &Routed<'_>,
) -> Result<(), Refused> {
    if place.stage.disabled {
        return Err(Refusal::NotFound.because("the API's own endpoint is disabled"));
    }
    let integration = routed.route.integration.as_deref();
    let integration =
        integration.ok_or_else(|| Refusal::Internal.because("the route has no integration"))?;
    match &integration.to {
        To::Http { .. } => Ok(()),
        To::Nowhere => {
            Err(Refusal::Internal.because("the integration's URI is none in this stage"))
        }
        To::Function { function, .. } => {
            let source_arn = &routed.route.source_arn;
            if gateway.functions.allows(function, source_arn, &place.stage.account) {
                return Ok(());
            }
            Err(Refusal::Internal.because(format!(
                "the policy of {} does not let apigateway.amazonaws.com invoke it for {source_arn}",
                function.arn()
            )))
        }
    }
}
