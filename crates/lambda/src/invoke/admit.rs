//! Admit: what may run now. The event is checked here, and then the [`load`](crate::load) of function and account.
//!
//! Over a limit a call is refused at once and never queued.

use serde::de::IgnoredAny;

use super::resolve::Version;
use crate::{Author, Error, Invocation, limits::EVENT_BYTES_MAX, load::Permit};

/// Checks the event, and takes a place for the call.
pub(crate) fn admit(version: &Version, call: &Invocation) -> Result<Permit, Error> {
    match call.author {
        Author::Caller => check_event(&call.payload, EVENT_BYTES_MAX)?,
        Author::Server => check_length(&call.payload, EVENT_BYTES_MAX)?,
    }
    version.load.enter(version.group.as_ref()).map_err(Error::Throttled)
}

fn check_length(payload: &[u8], max: usize) -> Result<(), Error> {
    if payload.len() > max { Err(Error::EventTooLarge { max }) } else { Ok(()) }
}

/// Whether an event is JSON of an allowed size. One pass; the bytes themselves go to the runtime untouched.
pub(crate) fn check_event(payload: &[u8], max: usize) -> Result<(), Error> {
    check_length(payload, max)?;
    if payload.is_empty() {
        return Ok(());
    }
    // `IgnoredAny` looks at structure alone, so UTF-8 is looked at here.
    let Ok(text) = std::str::from_utf8(payload) else {
        return Err(Error::InvalidRequestContent(
            "Could not parse request body into json: Invalid UTF-8".to_owned(),
        ));
    };
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::InvalidRequestContent(format!(
            "Could not parse request body into json: Could not parse payload into json: {} at [Source: (byte[]); \
             line: {}, column: {}]",
            reason(&error),
            error.line(),
            error.column()
        ))),
    }
}

/// What is wrong, in words of ours: the parser's own text may quote the event.
fn reason(error: &serde_json::Error) -> &'static str {
    if error.is_eof() { "Unexpected end-of-input" } else { "Unexpected character" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events() {
        for good in ["", "{}", " [1, 2] ", "\"ü\"", "null", "0.0", "{\"a\":\"\\u00fc\"}"] {
            assert!(check_event(good.as_bytes(), EVENT_BYTES_MAX).is_ok(), "{good}");
        }
        for bad in [&b"{"[..], b"x", b"{}x", b"\xFF", b"\"\xFF\"", b"{'a':1}", b"nul"] {
            assert!(
                matches!(check_event(bad, EVENT_BYTES_MAX), Err(Error::InvalidRequestContent(_))),
                "{bad:?}"
            );
        }
        let large = vec![b' '; EVENT_BYTES_MAX + 1];
        let error = check_event(&large, EVENT_BYTES_MAX).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
        );
        let deep = "[".repeat(100_000);
        assert!(check_event(deep.as_bytes(), EVENT_BYTES_MAX).is_err());
    }
}
