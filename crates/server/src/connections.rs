//! Calls of the API Gateway Management API (`@connections`): AWS API calls at an endpoint of their own, the address of a
//! WebSocket API and its stage.

use gatemill_gateway::Target;
use gatemill_wire::RoutedAs;
use http::request::Parts;

use crate::server::Server;

/// Marks a request to the data plane as such a call, if it is one. The signature covers the path as it came; the operation
/// is found by what follows the stage.
pub(crate) fn mark(server: &Server, target: &Target, parts: &mut Parts) -> bool {
    let Some(call) = server.gateway.manages(target, parts) else { return false };
    let Some(uri) = call.uri() else { return false };
    parts.extensions.insert(RoutedAs { uri, endpoint: call.endpoint });
    true
}
