//! The lines that the platform writes into a function's log: INIT_START, START, END, REPORT and their like.
//!
//! Source: lines recorded from AWS, tabs and all; since August 2025 the billed duration includes initialisation. With
//! `LogFormat: JSON` the same events are objects in the form of the Telemetry API, and `SystemLogLevel` decides which are
//! written: `INFO` has starts and reports, `DEBUG` adds what went well on the way, `WARN` has only what did not.

use std::{fmt::Write as _, time::Duration};

use gatemill_sandbox::runtime::Pack;
use gatemill_store::Digest;
use gatemill_wire::{RequestId, Timestamp};
use serde_json::{Value, json};

use crate::{
    call_log::CallLog,
    failure,
    invoke::resolve::{Initialization, Version},
    record::LogFormat,
    runtime_api::{extension::Extension, telemetry::Subscription},
    start::InitEnd,
    trace::Sampled,
};

const MIB: u64 = 1024 * 1024;

/// The importance of an event of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Debug,
    Info,
    Warn,
}

impl Level {
    /// The least level that a function with JSON logging wants; `None` with text.
    fn wanted(version: &Version) -> Option<Self> {
        match &version.configuration.logging.format {
            LogFormat::Text => None,
            LogFormat::Json { system, .. } => Some(match system.as_str() {
                "DEBUG" => Self::Debug,
                "WARN" => Self::Warn,
                _ => Self::Info,
            }),
        }
    }
}

/// Writes an event: `text` with text logging, `record` with JSON logging if its level is wanted; subscribers of the Telemetry
/// API are told of it in either case.
fn write(
    log: &mut CallLog,
    now: Timestamp,
    version: &Version,
    text: impl FnOnce() -> Option<String>,
    event: impl FnOnce() -> (Level, &'static str, Value),
) {
    let wanted = Level::wanted(version);
    if wanted.is_none()
        && let Some(text) = text()
    {
        log.line(now, text);
    }
    if wanted.is_none() && !log.is_heard() {
        return;
    }
    let (level, kind, record) = event();
    if log.is_heard() {
        log.tell(now, kind, record.clone());
    }
    if wanted.is_some_and(|wanted| level >= wanted) {
        let line = json!({ "time": now.iso8601_millis(), "type": kind, "record": record });
        log.line(now, format!("{line}\n"));
    }
}

/// What a REPORT line says.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) request_id: RequestId,
    pub(crate) duration: Duration,
    /// Only on the first call of an environment.
    pub(crate) init: Option<Duration>,
    /// Only on the first call of an environment that was restored from a snapshot.
    pub(crate) restore: Option<Duration>,
    pub(crate) memory_mb: u32,
    pub(crate) memory_peak_bytes: u64,
    /// Bytes of the answer.
    pub(crate) produced: usize,
    /// Its trace, if it is sampled.
    pub(crate) trace: Option<Sampled<'a>>,
    pub(crate) status: Status<'a>,
    pub(crate) course: Course,
}

/// What subscribers are told of the course of a call, and no line of the log.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Course {
    /// How long it took to the first byte of an answer in pieces.
    pub(crate) first_byte: Option<Duration>,
    /// How long extensions went on after the answer; `None` where no extension is told of calls.
    pub(crate) extensions: Option<Duration>,
    /// The handler failed, which is the runtime's word and no failure of the runtime.
    pub(crate) handler_failed: bool,
}

/// A part of a call, which ended `ago`.
fn span(name: &str, now: Timestamp, ago: Duration, took: Duration) -> Value {
    let back = i64::try_from((ago + took).as_millis()).unwrap_or(0);
    json!({ "name": name, "start": now.plus_ms(-back).iso8601_millis(), "durationMs": rounded(took) })
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

/// The runtime as AWS's lines name it, such as `python:3.12.1`.
fn runtime_version(pack: &Pack) -> String {
    match pack.name.strip_prefix("provided.") {
        Some(system) => format!("provided:{system}"),
        None => {
            let family: String = pack.name.chars().take_while(char::is_ascii_alphabetic).collect();
            format!("{family}:{}", pack.version)
        }
    }
}

pub(crate) fn init_start(log: &mut CallLog, now: Timestamp, version: &Version, pack: &Pack) {
    let is_image = version.configuration.image.is_some();
    let arn = runtime_version_arn(&version.key.region, pack);
    let runtime = runtime_version(pack);
    write(
        log,
        now,
        version,
        // An image has no version of a runtime that the platform knew.
        || {
            (!is_image).then(|| {
                format!("INIT_START Runtime Version: {runtime}\tRuntime Version ARN: {arn}\n")
            })
        },
        || {
            if is_image {
                let record = json!({
                    "initializationType": "on-demand", "phase": "init",
                    "functionName": version.key.name, "functionVersion": version.name(),
                });
                return (Level::Info, "platform.initStart", record);
            }
            let record = json!({
                "initializationType": version.initialization.as_str(), "phase": "init", "runtimeVersion": runtime,
                "runtimeVersionArn": arn, "functionName": version.key.name,
                "functionVersion": version.name(),
            });
            (Level::Info, "platform.initStart", record)
        },
    );
}

pub(crate) fn restore_start(log: &mut CallLog, now: Timestamp, version: &Version, pack: &Pack) {
    let arn = runtime_version_arn(&version.key.region, pack);
    let runtime = runtime_version(pack);
    write(
        log,
        now,
        version,
        || Some(format!("RESTORE_START Runtime Version: {runtime}\tRuntime Version ARN: {arn}\n")),
        || {
            let record = json!({
                "functionName": version.key.name, "functionVersion": version.name(),
                "runtimeVersion": runtime, "runtimeVersionArn": arn,
            });
            (Level::Info, "platform.restoreStart", record)
        },
    );
}

/// The end of a restore, hooks included.
pub(crate) fn restore_report(
    log: &mut CallLog,
    now: Timestamp,
    version: &Version,
    end: &InitEnd,
    took: Duration,
) {
    let (status, error_type) = status_of(end);
    let text = || {
        let ms = millis(took);
        let failed = match (status, &error_type) {
            ("success", _) => String::new(),
            (_, None) => format!("\tStatus: {status}"),
            (_, Some(kind)) => format!("\tStatus: {status}\tError Type: {kind}"),
        };
        Some(format!("RESTORE_REPORT Restore Duration: {ms} ms{failed}\n"))
    };
    let event = || {
        let mut record = json!({
            "status": status, "metrics": { "durationMs": rounded(took) },
        });
        if let Some(kind) = &error_type {
            record["errorType"] = json!(kind);
        }
        let level = if status == "success" { Level::Info } else { Level::Warn };
        (level, "platform.restoreReport", record)
    };
    write(log, now, version, text, event);
}

/// How an initialisation or a restore ended, in the words of the log, and the type of its failure.
fn status_of(end: &InitEnd) -> (&'static str, Option<String>) {
    let error_type = failure::init_error_type(end);
    let status = match (&error_type, end) {
        (Some(_), _) => "error",
        (None, InitEnd::TimedOut) => "timeout",
        (None, _) => "success",
    };
    (status, error_type)
}

/// The end of an initialisation; text logging has a line for failures alone.
pub(crate) fn init_report(
    log: &mut CallLog,
    now: Timestamp,
    version: &Version,
    end: &InitEnd,
    took: Duration,
    phase: &str,
) {
    let (status, error_type) = status_of(end);
    let text = || {
        let ms = millis(took);
        let kind = error_type.as_ref().map(|kind| format!("\tError Type: {kind}"));
        let kind = kind.unwrap_or_default();
        // A good one is told where no call's report will tell it.
        let told = status != "success" || version.initialization != Initialization::OnDemand;
        told.then(|| {
            format!("INIT_REPORT Init Duration: {ms} ms\tPhase: {phase}\tStatus: {status}{kind}\n")
        })
    };
    let event = || {
        let level = match (status, version.initialization) {
            ("success", Initialization::OnDemand) => Level::Debug,
            ("success", Initialization::Provisioned) => Level::Info,
            _ => Level::Warn,
        };
        let mut record = json!({
            "initializationType": version.initialization.as_str(), "phase": phase, "status": status,
            "metrics": { "durationMs": rounded(took) },
        });
        if let Some(kind) = &error_type {
            record["errorType"] = json!(kind);
        }
        (level, "platform.initReport", record)
    };
    write(log, now, version, text, event);
}

/// A subscription of the Telemetry or Logs API.
pub(crate) fn subscription(
    log: &mut CallLog,
    now: Timestamp,
    version: &Version,
    subscription: &Subscription,
) {
    let types: Vec<_> = subscription.streams.iter().map(|stream| stream.name()).collect();
    let text = || {
        let api = subscription.dialect.name().to_uppercase();
        let (name, types) = (&subscription.name, types.join(", "));
        Some(format!("{api}\tName: {name}\tState: Subscribed\tTypes: [{types}]\n"))
    };
    let event = || (Level::Info, subscription.dialect.event(), subscription.record());
    write(log, now, version, text, event);
}

/// Why the platform ended a call; an event of the Logs API alone.
pub(crate) fn fault(log: &mut CallLog, now: Timestamp, text: &str) {
    if log.is_heard() {
        log.tell(now, "platform.fault", text.trim_end().into());
    }
}

/// The runtime is initialised; extensions may not be yet.
pub(crate) fn init_runtime_done(
    log: &mut CallLog,
    now: Timestamp,
    version: &Version,
    end: &InitEnd,
    phase: &str,
) {
    let event = || {
        let (status, error_type) = status_of(end);
        let mut record = json!({
            "initializationType": version.initialization.as_str(), "phase": phase, "status": status,
        });
        if let Some(kind) = error_type {
            record["errorType"] = json!(kind);
        }
        let level = if status == "success" { Level::Debug } else { Level::Warn };
        (level, "platform.initRuntimeDone", record)
    };
    write(log, now, version, || None, event);
}

/// An extension where initialisation is over, or has failed.
pub(crate) fn extension(
    log: &mut CallLog,
    now: Timestamp,
    version: &Version,
    extension: &Extension,
) {
    let events: Vec<_> = extension.wants.iter().map(|wanted| wanted.name()).collect();
    let (name, (state, error_type)) = (&extension.name, extension.state());
    write(
        log,
        now,
        version,
        || {
            let error_type = error_type.map(|kind| format!("\tError Type: {kind}"));
            let (events, error_type) = (events.join(", "), error_type.unwrap_or_default());
            Some(format!(
                "EXTENSION\tName: {name}\tState: {state}\tEvents: [{events}]{error_type}\n"
            ))
        },
        || {
            let mut record = json!({ "name": name, "state": state, "events": events });
            if let Some(kind) = error_type {
                record["errorType"] = json!(kind);
            }
            (Level::Info, "platform.extension", record)
        },
    );
}

pub(crate) fn start(log: &mut CallLog, now: Timestamp, request_id: RequestId, version: &Version) {
    let name = version.name();
    write(
        log,
        now,
        version,
        || Some(format!("START RequestId: {request_id} Version: {name}\n")),
        || {
            let mut record = json!({ "requestId": request_id.to_string(), "version": name });
            if let Some(tenant) = &version.tenant {
                record["tenantId"] = json!(tenant);
            }
            (Level::Info, "platform.start", record)
        },
    );
}

/// The runtime has answered, or never will; extensions may go on. With text logging it has no line.
pub(crate) fn runtime_done(
    log: &mut CallLog,
    now: Timestamp,
    version: &Version,
    report: &Report<'_>,
) {
    write(
        log,
        now,
        version,
        || None,
        || {
            let mut record = json!({
                "requestId": report.request_id.to_string(), "status": report.status.name(),
                "metrics": { "durationMs": rounded(report.duration), "producedBytes": report.produced },
            });
            report.status.explain(&mut record);
            if matches!(report.status, Status::Error(_)) {
                record["status"] = json!("failure");
            }
            if report.course.handler_failed && report.status == Status::Success {
                record["status"] = json!("error");
            }
            if report.status == Status::Success {
                let latency = report.course.first_byte.unwrap_or(report.duration);
                let duration = report.duration.saturating_sub(latency);
                record["spans"] = json!([
                    span("responseLatency", now, duration, latency),
                    span("responseDuration", now, Duration::ZERO, duration),
                ]);
            }
            let level = if record["status"] == "success" { Level::Debug } else { Level::Warn };
            (level, "platform.runtimeDone", record)
        },
    );
}

/// END and REPORT, or with JSON logging the report alone.
pub(crate) fn end(log: &mut CallLog, now: Timestamp, version: &Version, report: &Report<'_>) {
    let level = report.status.level();
    if Level::wanted(version).is_none() {
        log.line(now, format!("END RequestId: {}\n", report.request_id));
    }
    if log.is_heard() {
        let record = json!({ "requestId": report.request_id.to_string() });
        log.tell(now, "platform.end", record);
    }
    write(
        log,
        now,
        version,
        || Some(report.to_line()),
        || {
            let mut record = report.to_record();
            if let Some(extensions) = report.course.extensions {
                let span = span("extensionOverhead", now, Duration::ZERO, extensions);
                record["spans"] = json!([span]);
            }
            (level.unwrap_or(Level::Info), "platform.report", record)
        },
    );
}

impl Status<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Timeout => "timeout",
            Self::Error(_) => "error",
        }
    }

    /// The level of what did not go well.
    fn level(self) -> Option<Level> {
        (self != Self::Success).then_some(Level::Warn)
    }

    fn explain(self, record: &mut Value) {
        if let Self::Error(kind) = self {
            record["errorType"] = json!(kind);
        }
    }
}

impl Report<'_> {
    /// Since August 2025 initialisation is billed, too; rounded up to whole milliseconds.
    fn billed_ms(&self) -> u64 {
        billed(self.duration + self.init.unwrap_or_default())
    }

    fn peak_mb(&self) -> u64 {
        self.memory_peak_bytes.div_ceil(MIB).min(u64::from(self.memory_mb))
    }

    fn to_record(&self) -> Value {
        let mut record = json!({
            "requestId": self.request_id.to_string(),
            "metrics": {
                "durationMs": rounded(self.duration), "billedDurationMs": self.billed_ms(),
                "memorySizeMB": self.memory_mb, "maxMemoryUsedMB": self.peak_mb(),
            },
            "status": self.status.name(),
        });
        if let Some(init) = self.init {
            record["metrics"]["initDurationMs"] = json!(rounded(init));
        }
        if let Some(restore) = self.restore {
            record["metrics"]["restoreDurationMs"] = json!(rounded(restore));
            record["metrics"]["billedRestoreDurationMs"] = json!(billed(restore));
        }
        self.status.explain(&mut record);
        if let Some(trace) = self.trace {
            record["tracing"] = json!({
                "spanId": trace.parent, "type": "X-Amzn-Trace-Id", "value": trace.header,
            });
        }
        record
    }

    fn to_line(&self) -> String {
        let (billed_ms, peak_mb) = (self.billed_ms(), self.peak_mb());
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
        if let Some(restore) = self.restore {
            let (ms, billed) = (millis(restore), billed(restore));
            let _ =
                write!(line, "Restore Duration: {ms} ms\tBilled Restore Duration: {billed} ms\t");
        }
        match self.status {
            Status::Success => {}
            Status::Timeout => line.push_str("Status: timeout"),
            Status::Error(kind) => {
                let _ = write!(line, "Status: error\tError Type: {kind}");
            }
        }
        line.push('\n');
        if let Some(Sampled { root, parent, .. }) = self.trace {
            let _ = writeln!(line, "XRAY TraceId: {root}\tSegmentId: {parent}\tSampled: true\t");
        }
        line
    }
}

/// Whole milliseconds, rounded up.
fn billed(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Milliseconds, rounded to thousandths.
fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// Milliseconds with two decimals.
fn millis(duration: Duration) -> String {
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
            restore: None,
            memory_mb: 128,
            memory_peak_bytes: 36 * MIB - 5,
            produced: 7,
            trace: None,
            status,
            course: Course::default(),
        }
        .to_line()
    }

    #[test]
    fn report_records() {
        let report = Report {
            request_id: RequestId(Uuid::nil()),
            duration: Duration::from_micros(3_010),
            init: Some(Duration::from_micros(110_100)),
            restore: None,
            memory_mb: 128,
            memory_peak_bytes: 36 * MIB,
            produced: 7,
            trace: None,
            status: Status::Error("Runtime.ExitError"),
            course: Course::default(),
        };
        assert_eq!(
            report.to_record().to_string(),
            r#"{"requestId":"00000000-0000-0000-0000-000000000000","metrics":{"durationMs":3.01,"billedDurationMs":114,"memorySizeMB":128,"maxMemoryUsedMB":36,"initDurationMs":110.1},"status":"error","errorType":"Runtime.ExitError"}"#
        );
    }

    #[test]
    fn a_restore_is_reported_and_billed_for_itself() {
        let report = Report {
            request_id: RequestId(Uuid::nil()),
            duration: Duration::from_micros(3_010),
            init: None,
            restore: Some(Duration::from_micros(1_520)),
            memory_mb: 128,
            memory_peak_bytes: 36 * MIB,
            produced: 7,
            trace: None,
            status: Status::Success,
            course: Course::default(),
        };
        assert!(report.to_line().ends_with(
            "Max Memory Used: 36 MB\tRestore Duration: 1.52 ms\tBilled Restore Duration: 2 ms\t\n"
        ));
        let metrics = &report.to_record()["metrics"];
        assert_eq!(metrics["restoreDurationMs"], 1.52);
        assert_eq!(metrics["billedRestoreDurationMs"], 2);
        assert_eq!(metrics["billedDurationMs"], 4);
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
