//! Names: the ARN of an execution, the tokens of its checkpoints, and the ids of its callbacks.
//!
//! Tokens and ids are opaque to clients. An id of a callback leads back to its operation without a table; that it is
//! genuine is seen by comparing it with the one that was stored.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gatemill_wire::Qualifier;
use gatemill_wire::function_ref::function_arn;

use super::record::ExecutionKey;
use crate::{FunctionTarget, target::FunctionKey};

/// The ARN of the version that an execution runs.
pub(crate) fn of_version(function: &FunctionKey, version: &str) -> String {
    let FunctionKey { account, region, name } = function;
    function_arn(account, region, name, Some(&qualifier(version)))
}

/// The qualifier that a version's name is.
pub(crate) fn qualifier(version: &str) -> Qualifier {
    version.parse().map_or(Qualifier::Latest, Qualifier::Version)
}

/// `<function ARN>:<version>/durable-execution/<name>/<id>`.
pub(crate) fn of_execution(key: &ExecutionKey, version: &str, name: &str) -> String {
    format!("{}/durable-execution/{name}/{}", of_version(&key.function, version), key.id)
}

/// Reads back [`of_execution`].
pub(crate) fn parse(arn: &str) -> Option<ExecutionKey> {
    let (function, rest) = arn.split_once("/durable-execution/")?;
    let (_, id) = rest.split_once('/')?;
    let target = FunctionTarget::from_arn(function)?;
    target.qualifier.as_ref()?;
    let function = FunctionKey::new(&target.account, &target.region, &target.name);
    (!id.is_empty()).then(|| ExecutionKey { function, id: id.to_owned() })
}

/// The token that an invocation's next checkpoint must have.
pub(crate) fn token(key: &ExecutionKey, epoch: u64, nonce: &str) -> String {
    STANDARD.encode(format!("{}/{epoch}/{nonce}", key.id))
}

/// The id of a callback of an operation.
pub(crate) fn callback(key: &ExecutionKey, operation: &str, nonce: &str) -> String {
    let FunctionKey { account, region, name } = &key.function;
    STANDARD.encode([account, region, name, &key.id, operation, nonce].join("/"))
}

/// The execution and the operation of a callback's id.
pub(crate) fn parse_callback(id: &str) -> Option<(ExecutionKey, String)> {
    let text = String::from_utf8(STANDARD.decode(id).ok()?).ok()?;
    let mut parts = text.split('/');
    let function = FunctionKey::new(parts.next()?, parts.next()?, parts.next()?);
    let key = ExecutionKey { function, id: parts.next()?.to_owned() };
    let operation = parts.next()?.to_owned();
    parts.next()?;
    parts.next().is_none().then_some((key, operation))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ExecutionKey {
        ExecutionKey {
            function: FunctionKey::new("000000000000", "us-east-1", "f"),
            id: "1a2b".to_owned(),
        }
    }

    #[test]
    fn arns_lead_back() {
        for version in ["$LATEST", "7"] {
            let arn = of_execution(&key(), version, "order-1");
            let function = "arn:aws:lambda:us-east-1:000000000000:function:f";
            assert_eq!(arn, format!("{function}:{version}/durable-execution/order-1/1a2b"));
            assert_eq!(parse(&arn), Some(key()));
        }
        for bad in [
            "",
            "arn:aws:lambda:us-east-1:000000000000:function:f:1",
            "arn:aws:lambda:us-east-1:000000000000:function:f/durable-execution/n/i",
            "arn:aws:lambda:us-east-1:000000000000:function:f:1/durable-execution/n",
            "arn:aws:lambda:us-east-1:000000000000:function:f:1/durable-execution/n/",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn callbacks_lead_back() {
        let id = callback(&key(), "op", "nonce");
        assert_eq!(parse_callback(&id), Some((key(), "op".to_owned())));
        for bad in ["", "%", &STANDARD.encode("a/b/c/d"), &STANDARD.encode("a/b/c/d/e/f/g")] {
            assert_eq!(parse_callback(bad), None, "{bad}");
        }
    }
}
