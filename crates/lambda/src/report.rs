//! The lines that the platform writes into a function's log: INIT_START, START, END, REPORT and their like.
//!
//! Source: lines recorded from AWS, tabs and all; since August 2025 the billed duration includes initialisation.

use std::{fmt::Write as _, time::Duration};

use gatemill_sandbox::runtime::Pack;
use gatemill_store::Digest;
use gatemill_wire::{RequestId, Timestamp};

use crate::{call_log::CallLog, failure, invoke::resolve::Version, start::InitEnd};

const MIB: u64 = 1024 * 1024;

/// What a REPORT line says.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) request_id: RequestId,
    pub(crate) duration: Duration,
    /// Only on the first call of an environment.
    pub(crate) init: Option<Duration>,
    pub(crate) memory_mb: u32,
    pub(crate) memory_peak_bytes: u64,
    pub(crate) status: Status<'a>,
}

/// How a call ended, for its REPORT line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status<'a> {
    /// The handler answered, well or not.
    Success,
    Timeout,
    /// The platform or the runtime failed; the type as in the error document.
    Error(&'a str),
}

/// The ARN of a runtime version: AWS's has a hash whose making it does not tell; ours is that of the interpreter's name
/// and full version.
pub(crate) fn runtime_version_arn(region: &str, pack: &Pack) -> String {
    let hash = Digest::of(format!("{} {}", pack.name, pack.version).as_bytes());
    format!("arn:aws:lambda:{region}::runtime:{hash}")
}

pub(crate) fn init_start(log: &mut CallLog, now: Timestamp, version: &Version, pack: &Pack) {
    let arn = runtime_version_arn(&version.key.region, pack);
    let family: String = pack.name.chars().take_while(char::is_ascii_alphabetic).collect();
    log.line(
        now,
        format!(
            "INIT_START Runtime Version: {family}:{}\tRuntime Version ARN: {arn}\n",
            pack.version
        ),
    );
}

pub(crate) fn init_report(
    log: &mut CallLog,
    now: Timestamp,
    _version: &Version,
    end: &InitEnd,
    took: Duration,
    phase: &str,
) {
    let status = match failure::init_error_type(end) {
        None if matches!(end, InitEnd::TimedOut) => "timeout".to_owned(),
        None => return,
        Some(kind) => format!("error\tError Type: {kind}"),
    };
    let ms = millis(took);
    log.line(
        now,
        format!("INIT_REPORT Init Duration: {ms} ms\tPhase: {phase}\tStatus: {status}\n"),
    );
}

pub(crate) fn start(log: &mut CallLog, now: Timestamp, request_id: RequestId, version: &Version) {
    log.line(now, format!("START RequestId: {request_id} Version: {}\n", version.name()));
}

pub(crate) fn end(log: &mut CallLog, now: Timestamp, request_id: RequestId) {
    log.line(now, format!("END RequestId: {request_id}\n"));
}

pub(crate) fn report(log: &mut CallLog, now: Timestamp, report: &Report<'_>) {
    log.line(now, report.to_line());
}

impl Report<'_> {
    fn to_line(&self) -> String {
        let billed = self.duration + self.init.unwrap_or_default();
        let billed_ms = billed.as_nanos().div_ceil(1_000_000);
        let peak_mb = self.memory_peak_bytes.div_ceil(MIB).min(u64::from(self.memory_mb));
        let mut line = format!(
            "REPORT RequestId: {}\tDuration: {} ms\tBilled Duration: {billed_ms} ms\tMemory Size: {} MB\tMax Memory \
             Used: {peak_mb} MB\t",
            self.request_id,
            millis(self.duration),
            self.memory_mb,
        );
        if let Some(init) = self.init {
            let _ = write!(line, "Init Duration: {} ms\t", millis(init));
        }
        match self.status {
            Status::Success => {}
            Status::Timeout => line.push_str("Status: timeout"),
            Status::Error(kind) => {
                let _ = write!(line, "Status: error\tError Type: {kind}");
            }
        }
        line.push('\n');
        line
    }
}

/// Milliseconds with two decimals.
pub(crate) fn millis(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn check(init_ms: Option<u64>, status: Status<'_>) -> String {
        Report {
            request_id: RequestId(Uuid::nil()),
            duration: Duration::from_micros(3_010),
            init: init_ms.map(|ms| Duration::from_micros(ms * 1000 + 100)),
            memory_mb: 128,
            memory_peak_bytes: 36 * MIB - 5,
            status,
        }
        .to_line()
    }

    #[test]
    fn report_lines() {
        let begin = "REPORT RequestId: 00000000-0000-0000-0000-000000000000\tDuration: 3.01 ms\t";
        let size = "Memory Size: 128 MB\tMax Memory Used: 36 MB\t";
        assert_eq!(check(None, Status::Success), format!("{begin}Billed Duration: 4 ms\t{size}\n"));
        assert_eq!(
            check(Some(110), Status::Success),
            format!("{begin}Billed Duration: 114 ms\t{size}Init Duration: 110.10 ms\t\n")
        );
        assert_eq!(
            check(None, Status::Timeout),
            format!("{begin}Billed Duration: 4 ms\t{size}Status: timeout\n")
        );
        assert_eq!(
            check(None, Status::Error("Runtime.OutOfMemory")),
            format!(
                "{begin}Billed Duration: 4 ms\t{size}Status: error\tError Type: Runtime.OutOfMemory\n"
            )
        );
    }
}
