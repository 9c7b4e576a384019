//! What an account may have, and has.

use gatemill_api::lambda as api;
use gatemill_wire::Cx;

use crate::{
    Error, Lambda,
    limits::{CODE_STORAGE_BYTES_MAX, UNPACKED_BYTES_MAX, ZIP_BYTES_MAX},
    record::{USAGE, usage_key},
};

/// `GetAccountSettings`.
pub(crate) async fn get_settings(
    lambda: &Lambda,
    cx: &Cx,
    _request: api::GetAccountSettingsRequest,
) -> Result<api::GetAccountSettingsResponse, Error> {
    let key = usage_key(cx.account(), &cx.region);
    let usage = lambda.store.read(|tx| Ok::<_, Error>(USAGE.get(tx, &key)?))?.unwrap_or_default();
    let concurrency = i32::try_from(lambda.settings.account_concurrency).ok();
    let unreserved = lambda.loads.unreserved(usage.allotted);
    let long = |number: u64| i64::try_from(number).ok();
    Ok(api::GetAccountSettingsResponse {
        account_limit: Some(api::AccountLimit {
            total_code_size: long(CODE_STORAGE_BYTES_MAX),
            code_size_unzipped: long(UNPACKED_BYTES_MAX),
            code_size_zipped: long(ZIP_BYTES_MAX as u64),
            concurrent_executions: concurrency,
            unreserved_concurrent_executions: i32::try_from(unreserved).ok(),
        }),
        account_usage: Some(api::AccountUsage {
            total_code_size: long(usage.code_bytes),
            function_count: long(usage.functions),
        }),
    })
}
