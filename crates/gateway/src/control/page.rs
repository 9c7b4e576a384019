//! Pages of a list: `maxResults` and `nextToken`.

use gatemill_store::{Key, Reader, Record, Table};
use gatemill_wire::pagination;

use crate::{
    error::{Error, Result},
    limits::{PAGE_DEFAULT, PAGE_MAX},
};

/// A page of the records below `prefix`, in the order of their last key part, and the token for the rest.
pub(crate) fn page<R: Record>(
    table: &Table<R>,
    from: &impl Reader,
    prefix: &Key,
    max_results: Option<&str>,
    next_token: Option<&str>,
) -> Result<(Vec<R>, Option<String>)> {
    let limit = limit(max_results)?;
    let after = next_token.map(|token| after(prefix, token)).transpose()?;
    let found = table.scan(from, prefix, after.as_ref(), limit + 1)?;
    let depth = prefix.parts().len();
    let name = |(key, _): &(Key, R)| key.text(depth).unwrap_or_default().as_bytes().to_vec();
    let (page, next) = pagination::page(found, limit, name);
    Ok((page.into_iter().map(|(_, record)| record).collect(), next))
}

pub(crate) fn limit(max_results: Option<&str>) -> Result<usize> {
    let Some(text) = max_results else { return Ok(PAGE_DEFAULT) };
    match text.parse::<usize>() {
        Ok(limit) if limit > 0 => Ok(limit.min(PAGE_MAX)),
        Ok(_) | Err(_) => Err(Error::invalid("Invalid value for maxResults")),
    }
}

fn after(prefix: &Key, token: &str) -> Result<Key> {
    let name = pagination::key(token).and_then(|bytes| String::from_utf8(bytes).ok());
    let name = name.ok_or_else(|| Error::invalid("Invalid value for nextToken"))?;
    Ok(prefix.clone().and(name))
}
