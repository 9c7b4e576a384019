//! Route: the choice of a route for the request.

use super::{Exchange, Refusal, Refused, parse::Place};
use crate::snapshot::{Access, RouteSnapshot};

/// A request with its route.
#[derive(Debug)]
pub(crate) struct Routed<'e> {
    pub(crate) route: &'e RouteSnapshot,
    /// What the route's variables matched, in their order, percent-encoded.
    captures: Vec<&'e str>,
}

/// Chooses the route; none is a 404, and never a 405.
pub(super) fn route<'e>(place: &'e Place, exchange: &'e Exchange) -> Result<Routed<'e>, Refused> {
    let found = place.stage.trie.find(exchange.head.method.as_str(), place.path(exchange));
    let found = found.ok_or_else(|| Refusal::NotFound.because("no route matches"))?;
    let route = place.stage.routes.get(found.route);
    let route = route.ok_or_else(|| Refusal::Internal.because("a route without a number"))?;
    Ok(Routed { route, captures: found.captures })
}

impl<'e> Routed<'e> {
    /// Whether not everybody may use the route.
    pub(super) fn is_guarded(&self) -> bool {
        !matches!(self.route.access, Access::Open)
    }

    /// The route's variables and what they matched, percent-encoded.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&'e str, &'e str)> + '_ {
        self.route.variables.iter().map(String::as_str).zip(self.captures.iter().copied())
    }
}
