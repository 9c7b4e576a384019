//! The forms in which a group is named: its name, and its ARN without `:*` at the end (the shapes refuse that form, as
//! AWS does).

use gatemill_store::Reader;
use gatemill_wire::{Arn, Cx};

use crate::{
    Error,
    records::{GROUPS, GroupRecord, STREAMS, StreamRecord, group_key, stream_key},
};

/// The ARN of a group, without the `:*` at the end.
pub(crate) fn group_arn(account: &str, region: &str, name: &str) -> String {
    Arn::new("logs", region, account, format!("log-group:{name}")).to_string()
}

/// The name in a group's ARN, if that is what the text is.
pub(crate) fn group_of_arn(cx: &Cx, text: &str) -> Option<String> {
    let arn: Arn = text.parse().ok()?;
    let ours = arn.service == "logs" && arn.region == cx.region && arn.account == cx.account();
    let name = arn.resource.strip_prefix("log-group:")?;
    (ours && !name.is_empty() && !name.contains(':')).then(|| name.to_owned())
}

/// The group that a request names by `logGroupName` or `logGroupIdentifier`.
pub(crate) fn group_name(
    cx: &Cx,
    name: Option<String>,
    identifier: Option<String>,
) -> Result<String, Error> {
    match (name, identifier) {
        (Some(_), Some(_)) => {
            Err(Error::invalid("LogGroup name and LogGroup ARN are mutually exclusive parameters."))
        }
        (None, None) => {
            Err(Error::invalid("Either logGroupName or logGroupIdentifier must be specified."))
        }
        (Some(name), None) => Ok(name),
        (None, Some(text)) if text.starts_with("arn:") => {
            group_of_arn(cx, &text).ok_or(Error::NoGroup)
        }
        (None, Some(name)) => Ok(name),
    }
}

/// The group of the caller's account and region.
pub(crate) fn find_group(cx: &Cx, from: &impl Reader, name: &str) -> Result<GroupRecord, Error> {
    GROUPS.get(from, &group_key(cx.account(), &cx.region, name))?.ok_or(Error::NoGroup)
}

/// A stream of a group.
pub(crate) fn find_stream(
    from: &impl Reader,
    group: u64,
    name: &str,
) -> Result<StreamRecord, Error> {
    STREAMS.get(from, &stream_key(group, name))?.ok_or(Error::NoStream)
}
