//! What integration responses and route responses have in common: they are kept in a list within their integration or
//! route, under a key that stands once.

use crate::{
    control::websocket::page_of,
    error::{Error, Result},
    record::{IntegrationResponseRecord, RouteResponseRecord},
};

/// A response that is kept within something else.
pub(super) trait Response: Clone {
    /// Its kind, in messages.
    const WHAT: &'static str;
    /// How many of them there may be, and what too many are called.
    const LIMIT: (usize, &'static str);

    fn id(&self) -> &str;
    fn key(&self) -> &str;
    /// That there is none of an id.
    fn none(id: &str) -> Error;
}

impl Response for IntegrationResponseRecord {
    const WHAT: &'static str = "IntegrationResponse";
    const LIMIT: (usize, &'static str) =
        (crate::limits::INTEGRATION_RESPONSES_MAX, "IntegrationResponses");

    fn id(&self) -> &str {
        &self.id
    }

    fn key(&self) -> &str {
        &self.key
    }

    fn none(id: &str) -> Error {
        Error::NoSuchIntegrationResponse(id.to_owned())
    }
}

impl Response for RouteResponseRecord {
    const WHAT: &'static str = "RouteResponse";
    /// There is one key.
    const LIMIT: (usize, &'static str) = (1, "RouteResponses");

    fn id(&self) -> &str {
        &self.id
    }

    fn key(&self) -> &str {
        &self.key
    }

    fn none(id: &str) -> Error {
        Error::NoSuchRouteResponse(id.to_owned())
    }
}

/// The response of an id.
pub(super) fn find<'r, R: Response>(all: &'r [R], id: &str) -> Result<&'r R> {
    all.iter().find(|response| response.id() == id).ok_or_else(|| R::none(id))
}

/// Adds a response.
pub(super) fn add<R: Response>(all: &mut Vec<R>, response: R) -> Result<()> {
    all.push(response);
    check_keys(all, all.last().map_or("", R::key))?;
    let (max, what) = R::LIMIT;
    if all.len() > max { Err(Error::TooMany(what)) } else { Ok(()) }
}

/// Changes the response of an id; gives what it is then.
pub(super) fn change<R: Response>(
    all: &mut [R],
    id: &str,
    change: impl FnOnce(&mut R) -> Result<()>,
) -> Result<R> {
    let found = all.iter_mut().find(|response| response.id() == id);
    let response = found.ok_or_else(|| R::none(id))?;
    change(response)?;
    let changed = response.clone();
    check_keys(all, changed.key())?;
    Ok(changed)
}

/// Removes the response of an id.
pub(super) fn remove<R: Response>(all: &mut Vec<R>, id: &str) -> Result<()> {
    find(all, id)?;
    all.retain(|response| response.id() != id);
    Ok(())
}

/// A page of responses, by id.
pub(super) fn page<R: Response>(
    all: &[R],
    max_results: Option<&str>,
    next_token: Option<&str>,
) -> Result<(Vec<R>, Option<String>)> {
    page_of(all, R::id, max_results, next_token)
}

fn check_keys<R: Response>(all: &[R], key: &str) -> Result<()> {
    match all.iter().filter(|response| response.key() == key).count() {
        0 | 1 => Ok(()),
        _ => Err(Error::ResponseExists { what: R::WHAT, key: key.to_owned() }),
    }
}
