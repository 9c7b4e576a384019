//! What a caller reads when a function, and not the handler inside it, failed.
//!
//! Source: error documents recorded from AWS in November 2025, and the open-source runtime agent for the texts of exits.
//! What a runtime itself says about its failure passes through untouched.

use bytes::Bytes;
use gatemill_sandbox::{Exit, ExitStatus};
use gatemill_wire::RequestId;
use serde::Deserialize;

use crate::{error::Entrypoint, runtime_api::extension, start::InitEnd};

/// The type of an exit.
pub(crate) const EXIT_ERROR: &str = "Runtime.ExitError";
/// The type that REPORT names when the kernel ended a function for its memory; the document says `Runtime.ExitError`.
pub(crate) const OUT_OF_MEMORY: &str = "Runtime.OutOfMemory";
/// The type of an answer that is too large.
pub(crate) const RESPONSE_TOO_LARGE: &str = "Function.ResponseSizeTooLarge";

/// `{"errorType":…,"errorMessage":…}`
fn document(kind: &str, message: &str) -> Bytes {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    Bytes::from(format!("{{\"errorType\":{},\"errorMessage\":{}}}", text(kind), text(message)))
}

pub(crate) fn timed_out(request_id: RequestId, timeout_s: u32) -> Bytes {
    let message =
        format!("RequestId: {request_id} Error: Task timed out after {timeout_s}.00 seconds");
    document("Sandbox.Timedout", &message)
}

/// The log line of a timeout, without its time: AWS writes `<time> <id> Task timed out …`.
pub(crate) fn timed_out_line(time: &str, request_id: RequestId, timeout_s: u32) -> String {
    format!("{time} {request_id} Task timed out after {timeout_s}.00 seconds\n\n")
}

pub(crate) fn exited(request_id: RequestId, exit: &Exit) -> Bytes {
    document(EXIT_ERROR, &exit_message(request_id, exit))
}

/// `RequestId: … Error: …`, in the document and in the log.
pub(crate) fn exit_message(request_id: RequestId, exit: &Exit) -> String {
    let reason = match exit.status {
        ExitStatus::Code(0) => "Runtime exited without providing a reason".to_owned(),
        ExitStatus::Code(code) => format!("Runtime exited with error: exit status {code}"),
        ExitStatus::Signal(signal) => {
            format!("Runtime exited with error: signal: {}", signal_name(signal))
        }
    };
    format!("RequestId: {request_id} Error: {reason}")
}

/// What REPORT calls an exit.
pub(crate) fn exit_type(exit: &Exit) -> &'static str {
    if exit.oom_killed { OUT_OF_MEMORY } else { EXIT_ERROR }
}

/// A runtime that broke the protocol was killed by us, and that is what the caller reads.
pub(crate) fn broken(request_id: RequestId) -> (Bytes, String) {
    let message =
        format!("RequestId: {request_id} Error: Runtime exited with error: signal: killed");
    (document(EXIT_ERROR, &message), message)
}

/// `RequestId: … Error: …` for an extension that gave up.
pub(crate) fn extension_message(request_id: RequestId, failure: &extension::Failure) -> String {
    format!("RequestId: {request_id} Error: {}", failure.message)
}

/// `RequestId: … Error: …` for an entry point that cannot be started.
pub(crate) fn entrypoint_message(request_id: RequestId, entrypoint: &Entrypoint) -> String {
    format!("RequestId: {request_id} Error: {}", entrypoint.problem)
}

pub(crate) fn entrypoint(request_id: RequestId, entrypoint: &Entrypoint) -> Bytes {
    document(entrypoint.kind, &entrypoint_message(request_id, entrypoint))
}

pub(crate) fn extension_failed(request_id: RequestId, failure: &extension::Failure) -> Bytes {
    document(failure.kind, &extension_message(request_id, failure))
}

pub(crate) fn response_too_large(max: u64) -> Bytes {
    let message = too_large_message(max);
    // AWS writes this one the other way round.
    Bytes::from(format!(
        "{{\"errorMessage\":\"{message}\",\"errorType\":\"{RESPONSE_TOO_LARGE}\"}}"
    ))
}

/// What is said of an answer of more than `max` bytes.
pub(crate) fn too_large_message(max: u64) -> String {
    format!("Response payload size exceeded maximum allowed payload size ({max} bytes).")
}

/// The type of a failed initialisation, for INIT_REPORT and REPORT; `None` for a good one and for a timeout.
pub(crate) fn init_error_type(end: &InitEnd) -> Option<String> {
    match end {
        InitEnd::Ready | InitEnd::TimedOut => None,
        InitEnd::Error(document) => Some(declared_type(document)),
        InitEnd::Exited(exit) => Some(exit_type(exit).to_owned()),
        InitEnd::Broken(_) => Some(EXIT_ERROR.to_owned()),
        InitEnd::ExtensionFailed(failure) => Some(failure.kind.to_owned()),
    }
}

/// The error type of a document, if it has the form that AWS records; else `Runtime.Unknown`.
fn declared_type(document: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Document {
        #[serde(rename = "errorType")]
        error_type: String,
    }
    let declared = serde_json::from_slice::<Document>(document).map(|document| document.error_type);
    match declared {
        Ok(kind) if is_recorded(&kind) => kind,
        _ => "Runtime.Unknown".to_owned(),
    }
}

/// `(Runtime|Function)\.[A-Z][a-zA-Z]+`
fn is_recorded(kind: &str) -> bool {
    let Some((space, name)) = kind.split_once('.') else { return false };
    matches!(space, "Runtime" | "Function")
        && name.len() > 1
        && name.len() < 100
        && name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Signals by the names that Go gives them, which AWS's agent prints. The numbers are Linux's on x86-64 and arm64.
pub(crate) fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ID: RequestId = RequestId(Uuid::nil());

    fn text(bytes: &Bytes) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn documents() {
        let id = "00000000-0000-0000-0000-000000000000";
        assert_eq!(
            text(&timed_out(ID, 3)),
            format!(
                r#"{{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: {id} Error: Task timed out after 3.00 seconds"}}"#
            )
        );
        for (status, reason) in [
            (ExitStatus::Code(0), "Runtime exited without providing a reason"),
            (ExitStatus::Code(7), "Runtime exited with error: exit status 7"),
            (ExitStatus::Signal(9), "Runtime exited with error: signal: killed"),
            (ExitStatus::Signal(11), "Runtime exited with error: signal: segmentation fault"),
            (ExitStatus::Signal(6), "Runtime exited with error: signal: aborted"),
        ] {
            let exit = Exit { status, oom_killed: false, memory_peak_bytes: 0, left_tmp: false };
            assert_eq!(
                text(&exited(ID, &exit)),
                format!(
                    r#"{{"errorType":"Runtime.ExitError","errorMessage":"RequestId: {id} Error: {reason}"}}"#
                )
            );
        }
        assert_eq!(
            text(&response_too_large(6_291_556)),
            r#"{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}"#
        );
    }

    #[test]
    fn types_that_are_not_recorded_are_unknown() {
        for (document, kind) in [
            (
                r#"{"errorType":"Runtime.ImportModuleError","errorMessage":"x"}"#,
                "Runtime.ImportModuleError",
            ),
            (r#"{"errorType":"Function.Broken"}"#, "Function.Broken"),
            (r#"{"errorType":"ValueError"}"#, "Runtime.Unknown"),
            (r#"{"errorType":"Runtime.x\tStatus: success"}"#, "Runtime.Unknown"),
            ("[]", "Runtime.Unknown"),
            ("", "Runtime.Unknown"),
        ] {
            assert_eq!(declared_type(document.as_bytes()), kind, "{document}");
        }
    }
}
