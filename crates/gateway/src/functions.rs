//! What the gateway asks of functions, in its own words.
//!
//! The server gives it the real ones; the tests of this crate give it doubles. The gateway knows nothing else of how
//! functions live.

use bytes::Bytes;
use gatemill_wire::{
    FunctionRef, Qualifier, RequestId, function_ref::function_arn, routes::BoxFuture,
};

/// Runs functions, and knows who may run them.
pub trait Functions: Send + Sync {
    /// Runs a function and waits for its answer. The future may be dropped at any time (the integration's time-out):
    /// the function then runs to its own end.
    fn invoke<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Answer, CallError>>;

    /// Takes a call that nobody waits for: when this returns, the event is durable, and runs some time later.
    fn accept<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<(), CallError>>;

    /// Whether the function's resource policy lets API Gateway invoke it on behalf of `source_arn`. Asked on every
    /// request, so answered from memory.
    fn allows(&self, function: &FunctionTarget, source_arn: &str, source_account: &str) -> bool;
}

/// A function as an integration names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FunctionTarget {
    /// The account it is in.
    pub account: String,
    /// The region it is in.
    pub region: String,
    /// Its name.
    pub name: String,
    /// The version or alias, where the integration names one.
    pub qualifier: Option<Qualifier>,
}

/// One call of a function.
#[derive(Debug)]
pub struct Call<'a> {
    /// Which function.
    pub function: &'a FunctionTarget,
    /// The event: JSON, which nobody reads again before the function does.
    pub payload: Bytes,
    /// The id of the call, which the function sees.
    pub request_id: RequestId,
    /// The trace header, such as `Root=1-…`.
    pub trace_id: &'a str,
}

/// How a function answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What it returned, as JSON; its error when `failed`.
    pub payload: Bytes,
    /// Whether it ended in an error of its own.
    pub failed: bool,
}

/// Why a function could not be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no such function.
    #[error("the function does not exist")]
    NotFound,
    /// Its concurrency is used up.
    #[error("the function is throttled")]
    Throttled,
    /// The event is larger than a function takes.
    #[error("the event is too large for a function")]
    TooLarge,
    /// Anything else, for the log.
    #[error("the function cannot be run: {0}")]
    Unavailable(String),
}

impl FunctionTarget {
    /// Reads a function's ARN, or the invocations URI
    /// `arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{function ARN}/invocations`.
    pub fn from_integration_uri(uri: &str) -> Option<Self> {
        let arn = match uri.split_once(":lambda:path/") {
            Some((service, path)) if service.starts_with("arn:aws") => {
                path.strip_prefix("2015-03-31/functions/")?.strip_suffix("/invocations")?
            }
            Some(_) => return None,
            None => uri,
        };
        if !arn.starts_with("arn:") {
            return None;
        }
        let function = FunctionRef::parse(arn, None).ok()?;
        let (account, region) = (function.account?, function.region?);
        let legal = gatemill_wire::arn::is_account(&account) && !region.is_empty();
        legal.then_some(Self {
            account,
            region,
            name: function.name,
            qualifier: function.qualifier,
        })
    }

    /// The function's ARN.
    pub fn arn(&self) -> String {
        function_arn(&self.account, &self.region, &self.name, self.qualifier.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_a_function() {
        let arn = "arn:aws:lambda:eu-west-1:123456789012:function:f:live";
        let uri = format!(
            "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/{arn}/invocations"
        );
        let target = FunctionTarget::from_integration_uri(&uri).unwrap();
        assert_eq!(target, FunctionTarget::from_integration_uri(arn).unwrap());
        assert_eq!(target.arn(), arn);
        for uri in [
            "",
            "f",
            "http://example.com",
            "arn:aws:lambda:eu-west-1:12:function:f",
            "arn:aws:s3:::bucket",
            "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/f/invocations",
            "arn:aws:apigateway:eu-west-1:lambda:path/2021-11-15/functions/x/response-streaming-invocations",
        ] {
            assert_eq!(FunctionTarget::from_integration_uri(uri), None, "{uri:?}");
        }
    }
}
