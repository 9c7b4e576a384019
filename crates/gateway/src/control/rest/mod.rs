//! What is built of `apigateway`, the first generation of the API: keys, usage plans, and the tags of both.
//!
//! REST APIs themselves are not built, so that plans are for stages of WebSocket APIs, which keys can be asked for as well. Lists
//! have `limit` and `position`, changes are patches, and times are whole seconds here, unlike in `apigatewayv2`.

pub(crate) mod account;
pub(crate) mod api_key;
pub(crate) mod csv;
mod import;
mod patch;
mod plan_patch;
mod tag;
mod usage;
pub(crate) mod usage_plan;
mod usage_plan_key;

use gatemill_api::apigateway as aws;
use gatemill_wire::{Table, pagination};

pub(crate) use self::usage_plan::{forget_api, forget_stage};
use crate::{
    Error, Gateway,
    error::Result,
    limits::{PAGE_MAX, REST_PAGE_DEFAULT},
};

/// Which operation of `apigateway` is served by which handler.
pub fn table() -> Table<Gateway, Error> {
    Table::new(&aws::SERVICE)
        .on::<aws::GetAccount>(account::get)
        .on::<aws::CreateApiKey>(api_key::create)
        .on::<aws::GetApiKey>(api_key::get)
        .on::<aws::GetApiKeys>(api_key::list)
        .on::<aws::UpdateApiKey>(api_key::update)
        .on::<aws::DeleteApiKey>(api_key::delete)
        .on::<aws::ImportApiKeys>(import::import)
        .on::<aws::CreateUsagePlan>(usage_plan::create)
        .on::<aws::GetUsagePlan>(usage_plan::get)
        .on::<aws::GetUsagePlans>(usage_plan::list)
        .on::<aws::UpdateUsagePlan>(usage_plan::update)
        .on::<aws::DeleteUsagePlan>(usage_plan::delete)
        .on::<aws::CreateUsagePlanKey>(usage_plan_key::create)
        .on::<aws::GetUsagePlanKey>(usage_plan_key::get)
        .on::<aws::GetUsagePlanKeys>(usage_plan_key::list)
        .on::<aws::DeleteUsagePlanKey>(usage_plan_key::delete)
        .on::<aws::GetUsage>(usage::get)
        .on::<aws::UpdateUsage>(usage::update)
        .on::<aws::TagResource>(tag::tag)
        .on::<aws::UntagResource>(tag::untag)
        .on::<aws::GetTags>(tag::get)
}

/// A page of a list that is in order of its names, and the position of the rest. As in AWS, a limit that makes no sense is
/// none.
fn page<T>(
    items: Vec<T>,
    limit: Option<i32>,
    position: Option<&str>,
    name: impl Fn(&T) -> String,
) -> Result<(Vec<T>, Option<String>)> {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let limit = limit.unwrap_or(REST_PAGE_DEFAULT).min(PAGE_MAX);
    let after = position.filter(|position| !position.is_empty()).map(|position| {
        let name = pagination::key(position).and_then(|bytes| String::from_utf8(bytes).ok());
        name.ok_or_else(|| Error::invalid("Invalid position parameter specified"))
    });
    let after = after.transpose()?;
    let is_after = |item: &T| after.as_ref().is_none_or(|after| name(item) > *after);
    let found = items.into_iter().filter(is_after).take(limit + 1).collect();
    Ok(pagination::page(found, limit, |item| name(item).into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_and_limits_are_lenient() {
        let all: Vec<String> = (10..99).map(|number: u32| number.to_string()).collect();
        let (first, position) = page(all.clone(), Some(80), None, String::clone).unwrap();
        let (rest, end) = page(all.clone(), Some(80), position.as_deref(), String::clone).unwrap();
        assert_eq!(([first, rest].concat(), end), (all.clone(), None));
        for lenient in [None, Some(0), Some(-3)] {
            let (page, _) = page(all.clone(), lenient, Some(""), String::clone).unwrap();
            assert_eq!(page.len(), REST_PAGE_DEFAULT, "{lenient:?}");
        }
        assert!(page(all, None, Some("!"), String::clone).is_err());
    }
}
