//! `GetAccount`: what holds for all APIs of an account.

use gatemill_api::apigateway::{Account, GetAccountRequest, ThrottleSettings};
use gatemill_wire::Cx;

use crate::{Gateway, error::Result};

/// The version of API keys that AWS names since keys are in usage plans.
const API_KEY_VERSION: &str = "4";

/// `GetAccount`. The limits are those that the operator set; without them there are none, and none are shown.
pub(crate) async fn get(gateway: &Gateway, _: &Cx, _: GetAccountRequest) -> Result<Account> {
    let settings = &gateway.settings;
    let (rate_limit, burst_limit) = (settings.account_rate, settings.account_burst);
    let is_limited = rate_limit.is_some() || burst_limit.is_some();
    Ok(Account {
        cloudwatch_role_arn: None,
        throttle_settings: is_limited.then_some(ThrottleSettings { burst_limit, rate_limit }),
        features: Some(vec!["UsagePlans".to_owned()]),
        api_key_version: Some(API_KEY_VERSION.to_owned()),
    })
}
