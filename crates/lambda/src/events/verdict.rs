//! What becomes of an event after an attempt: again later, or settled, and with which condition. Decisions alone; nothing
//! here reads or writes.

use gatemill_wire::Timestamp;
use serde_json::value::RawValue;

use super::record::{EventRecord, InvokeConfigRecord, ResponseRecord};
use crate::{
    Error, Outcome,
    limits::{
        EVENT_AGE_MAX_S, EVENT_BACKOFF_FIRST_MS, EVENT_BACKOFF_MAX_MS, EVENT_LAST_BYTES_MAX,
        EVENT_RETRIES_MAX,
    },
};

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The function answered, well or not.
    Ran(ResponseRecord),
    /// The call did not begin: it was throttled, or we failed.
    Refused { status: u16, message: String },
    /// The function has reserved no concurrency at all.
    NoConcurrency,
    /// It was too old before the attempt.
    TooOld,
    /// It is one invocation too many of a loop.
    Recursive,
    /// There is no such function, version or alias.
    Gone,
}

/// What becomes of the event.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is written back like this and waits.
    Again(EventRecord),
    /// It is over.
    Settled(Settlement),
    /// It is over, and nobody is told.
    Dropped,
}

/// How an event was settled.
#[derive(Debug)]
pub(crate) struct Settlement {
    /// AWS's word.
    pub(crate) condition: &'static str,
    pub(crate) invoked: u32,
    pub(crate) response: Option<ResponseRecord>,
    /// For the dead-letter queue: `ErrorCode` and `ErrorMessage`.
    pub(crate) status: u16,
    pub(crate) message: String,
}

impl Settlement {
    pub(crate) fn succeeded(&self) -> bool {
        self.condition == "Success"
    }
}

impl Ended {
    /// Reads the end of a call; `None` when the server is about to stop and the event is to be left as it is.
    pub(crate) fn of(outcome: Result<Outcome, Error>) -> Option<Self> {
        Some(match outcome {
            Ok(outcome) => Self::Ran(ResponseRecord {
                executed_version: outcome.executed_version,
                function_error: outcome.function_error.map(str::to_owned),
                payload: json(&outcome.payload),
            }),
            Err(Error::Draining) => return None,
            Err(Error::FunctionNotFound(_)) => Self::Gone,
            Err(error @ Error::Throttled(_)) => {
                Self::Refused { status: 429, message: error.to_string() }
            }
            Err(error) => {
                tracing::warn!(error = error.chain(), "an event could not be run and waits");
                Self::Refused {
                    status: 500,
                    message: "The service encountered an error.".to_owned(),
                }
            }
        })
    }
}

/// Decides. `waits_ms` is how long an event waits after its first, second … failure; the last one counts for all further.
pub(crate) fn decide(
    event: &EventRecord,
    ended: Ended,
    config: &InvokeConfigRecord,
    now: Timestamp,
    waits_ms: &[i64],
) -> Verdict {
    let deadline_ms = deadline_ms(event, config);
    let again = |due_ms: i64, event: EventRecord| {
        // At its end it is looked at once more, and found too old.
        let due_ms = due_ms.min(deadline_ms);
        Verdict::Again(EventRecord { due_ms, epoch: event.epoch.wrapping_add(1), ..event })
    };
    let over = |condition, invoked, response: Option<ResponseRecord>, status, message: &str| {
        let message = match &response {
            Some(response) => error_message(&response.payload).unwrap_or_default(),
            None => message.to_owned(),
        };
        Verdict::Settled(Settlement { condition, invoked, response, status, message })
    };
    match ended {
        Ended::Ran(response) if response.function_error.is_none() => {
            over("Success", event.invoked() + 1, Some(response), 200, "")
        }
        Ended::Ran(response) => {
            let failures = event.failures + 1;
            if failures > config.retries_max.unwrap_or(EVENT_RETRIES_MAX) {
                return over("RetriesExhausted", failures, Some(response), 200, "");
            }
            let nth = usize::try_from(failures - 1).unwrap_or(usize::MAX);
            let wait = waits_ms.get(nth).or(waits_ms.last()).copied().unwrap_or(0);
            let kept = response.payload.get().len() <= EVENT_LAST_BYTES_MAX;
            let last = kept.then_some(response);
            again(
                now.millis().saturating_add(wait),
                EventRecord { failures, refusals: 0, last, ..event.clone() },
            )
        }
        Ended::Refused { status, message } => {
            if now.millis() >= deadline_ms {
                return over(
                    "EventAgeExceeded",
                    event.invoked(),
                    event.last.clone(),
                    status,
                    &message,
                );
            }
            let wait = EVENT_BACKOFF_FIRST_MS.saturating_mul(1 << event.refusals.min(30));
            let wait = wait.min(EVENT_BACKOFF_MAX_MS);
            let refusals = event.refusals.saturating_add(1);
            again(now.millis().saturating_add(wait), EventRecord { refusals, ..event.clone() })
        }
        Ended::NoConcurrency => {
            over("ZeroReservedConcurrency", event.invoked(), None, 429, "Rate Exceeded.")
        }
        Ended::TooOld => {
            let message = "The event was older than its function allows.";
            let status = if event.last.is_some() { 200 } else { 500 };
            over("EventAgeExceeded", event.invoked(), event.last.clone(), status, message)
        }
        Ended::Recursive => {
            let message = "The event was part of a recursive loop of functions.";
            over("RecursiveInvocation", event.invoked(), None, 400, message)
        }
        Ended::Gone => Verdict::Dropped,
    }
}

/// From when on the event is too old.
pub(crate) fn deadline_ms(event: &EventRecord, config: &InvokeConfigRecord) -> i64 {
    let age_max_s = config.age_max_s.unwrap_or(EVENT_AGE_MAX_S);
    event.accepted_ms.saturating_add(i64::from(age_max_s) * 1000)
}

/// Bytes as JSON: as they are, or as a string where they are none.
pub(crate) fn json(bytes: &[u8]) -> Box<RawValue> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    RawValue::from_string(text).unwrap_or_else(|_| {
        serde_json::value::to_raw_value(&String::from_utf8_lossy(bytes))
            .unwrap_or_else(|_| RawValue::NULL.to_owned())
    })
}

/// The `errorMessage` of a function's error.
fn error_message(payload: &RawValue) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Document {
        #[serde(rename = "errorMessage")]
        error_message: Option<String>,
    }
    serde_json::from_str::<Document>(payload.get()).ok()?.error_message
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITS: [i64; 2] = [60_000, 120_000];

    fn event() -> EventRecord {
        EventRecord {
            request_id: "r".into(),
            qualifier: None,
            accepted_ms: 1_000,
            due_ms: 1_000,
            epoch: 0,
            failures: 0,
            refusals: 0,
            trace_id: String::new(),
            client_context: None,
            tenant_id: None,
            recursive: false,
            last: None,
            payload: json(b"{}"),
        }
    }

    fn failed() -> Ended {
        Ended::Ran(ResponseRecord {
            executed_version: "$LATEST".into(),
            function_error: Some("Unhandled".into()),
            payload: json(br#"{"errorMessage":"no"}"#),
        })
    }

    fn refused() -> Ended {
        Ended::Refused { status: 429, message: "Rate Exceeded.".into() }
    }

    fn again(verdict: Verdict) -> EventRecord {
        match verdict {
            Verdict::Again(event) => event,
            other => panic!("{other:?}"),
        }
    }

    fn settled(verdict: Verdict) -> Settlement {
        match verdict {
            Verdict::Settled(settlement) => settlement,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_failing_function_is_tried_three_times() {
        let config = InvokeConfigRecord::default();
        let first = again(decide(&event(), failed(), &config, Timestamp(2_000), &WAITS));
        assert_eq!((first.due_ms, first.epoch, first.failures), (62_000, 1, 1));
        let second = again(decide(&first, failed(), &config, Timestamp(62_000), &WAITS));
        assert_eq!((second.due_ms, second.epoch, second.failures), (182_000, 2, 2));
        let end = settled(decide(&second, failed(), &config, Timestamp(182_000), &WAITS));
        assert_eq!((end.condition, end.invoked, end.status), ("RetriesExhausted", 3, 200));
        assert_eq!((end.message.as_str(), end.succeeded()), ("no", false));
        let none = InvokeConfigRecord { retries_max: Some(0), ..config };
        let end = settled(decide(&event(), failed(), &none, Timestamp(2_000), &WAITS));
        assert_eq!((end.condition, end.invoked), ("RetriesExhausted", 1));
    }

    #[test]
    fn what_is_refused_waits_longer_and_longer_and_is_no_attempt() {
        let config = InvokeConfigRecord { age_max_s: Some(600), ..Default::default() };
        let mut event = event();
        let mut waits = Vec::new();
        let mut now = 1_000;
        loop {
            match decide(&event, refused(), &config, Timestamp(now), &WAITS) {
                Verdict::Again(next) => {
                    waits.push((next.due_ms - now) / 1000);
                    (now, event) = (next.due_ms, next);
                }
                other => {
                    let end = settled(other);
                    assert_eq!(
                        (end.condition, end.invoked, end.status),
                        ("EventAgeExceeded", 0, 429)
                    );
                    break;
                }
            }
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 89]);
        let long = EventRecord { refusals: 40, ..event };
        let default = InvokeConfigRecord::default();
        let next = again(decide(&long, refused(), &default, Timestamp(1_000), &WAITS));
        assert_eq!(next.due_ms, 301_000);
    }

    #[test]
    fn the_other_ends() {
        let config = InvokeConfigRecord { age_max_s: Some(60), ..Default::default() };
        let at =
            |event: &EventRecord, ended| decide(event, ended, &config, Timestamp(61_000), &WAITS);
        let first = again(decide(&event(), failed(), &config, Timestamp(30_000), &WAITS));
        assert_eq!(first.due_ms, 61_000);
        let end = settled(at(&first, Ended::TooOld));
        assert_eq!((end.condition, end.invoked, end.status), ("EventAgeExceeded", 1, 200));
        assert!(end.response.is_some());
        let end = settled(at(&event(), Ended::NoConcurrency));
        assert_eq!((end.condition, end.invoked, end.status), ("ZeroReservedConcurrency", 0, 429));
        assert!(end.response.is_none());
        assert_eq!(settled(at(&event(), Ended::Recursive)).condition, "RecursiveInvocation");
        assert!(matches!(at(&event(), Ended::Gone), Verdict::Dropped));
        let well = Ended::Ran(ResponseRecord {
            executed_version: "3".into(),
            function_error: None,
            payload: json(b"no JSON \xff"),
        });
        let end = settled(at(&first, well));
        assert_eq!((end.condition, end.invoked, end.succeeded()), ("Success", 2, true));
        assert_eq!(end.response.unwrap().payload.get(), "\"no JSON \u{fffd}\"");
    }
}
