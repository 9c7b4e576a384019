//! `PutLogEvents`: a batch from a client, durable when it is answered.

use gatemill_api::logs::{
    InputLogEvent, PutLogEventsRequest, PutLogEventsResponse, RejectedLogEventsInfo,
};
use gatemill_wire::Cx;

use crate::{
    Error, Event, Logs, gaps, ingest,
    limits::{BATCH_BYTES_MAX, BATCH_SPAN_MS_MAX, EVENT_AGE_MS_MAX, EVENT_AHEAD_MS_MAX},
    names::find_stream,
    records::{GROUPS, StreamRecord, group_key},
};

pub(crate) async fn put(
    logs: &Logs,
    cx: &Cx,
    req: PutLogEventsRequest,
) -> Result<PutLogEventsResponse, Error> {
    if req.entity.is_some() {
        return Err(Error::NotBuilt(&gaps::ENTITY));
    }
    check(&req.log_events)?;
    let key = group_key(cx.account(), &cx.region, &req.log_group_name);
    let now_ms = cx.now.millis();
    logs.store
        .write(move |tx| {
            let group = GROUPS.get(tx, &key)?.ok_or(Error::NoGroup)?;
            let mut stream = find_stream(tx, group.id, &req.log_stream_name)?;
            let sorted = Sorted::of(&req.log_events, now_ms, group.kept_from_ms(now_ms));
            let events: Vec<Event> = sorted.accepted(&req.log_events).map(event).collect();
            check_span(&events)?;
            if !events.is_empty() {
                let name = &req.log_stream_name;
                stream = ingest::write(tx, group.id, name, stream, &events, now_ms)?;
            }
            Ok(PutLogEventsResponse {
                next_sequence_token: Some(sequence_token(&stream)),
                rejected_log_events_info: sorted.rejected(),
                rejected_entity_info: None,
            })
        })
        .await
}

/// The token that AWS still returns and no longer looks at.
pub(crate) fn sequence_token(stream: &StreamRecord) -> String {
    // AWS's tokens are 56 digits that begin with 496.
    format!("496{:053}", stream.next_chunk)
}

fn check(events: &[InputLogEvent]) -> Result<(), Error> {
    if !events.is_sorted_by_key(|event| event.timestamp) {
        return Err(Error::invalid(
            "Log events in a single PutLogEvents request must be in chronological order.",
        ));
    }
    let bytes: usize = events.iter().map(|event| ingest::counted(&event.message)).sum();
    if bytes > BATCH_BYTES_MAX {
        return Err(Error::invalid(format!(
            "Upload too large: {bytes} bytes exceeds limit of {BATCH_BYTES_MAX}"
        )));
    }
    Ok(())
}

fn check_span(events: &[Event]) -> Result<(), Error> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(()) };
    if last.timestamp - first.timestamp > BATCH_SPAN_MS_MAX {
        return Err(Error::invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    Ok(())
}

fn event(event: &InputLogEvent) -> Event {
    Event { timestamp: event.timestamp, message: event.message.clone() }
}

/// A batch in order, cut into what is expired, too old, welcome, and too new.
struct Sorted {
    /// The end of what is older than the group keeps.
    expired: usize,
    /// The end of what is older than any group takes.
    too_old: usize,
    /// The start of what is too far ahead.
    too_new: usize,
    count: usize,
}

impl Sorted {
    fn of(events: &[InputLogEvent], now_ms: i64, kept_from_ms: i64) -> Self {
        let before = |ms: i64| events.partition_point(|event| event.timestamp < ms);
        Self {
            expired: before(kept_from_ms),
            too_old: before(now_ms.saturating_sub(EVENT_AGE_MS_MAX)),
            too_new: before(now_ms.saturating_add(EVENT_AHEAD_MS_MAX).saturating_add(1)),
            count: events.len(),
        }
    }

    fn accepted<'a>(
        &self,
        events: &'a [InputLogEvent],
    ) -> impl Iterator<Item = &'a InputLogEvent> + use<'a> {
        let from = self.expired.max(self.too_old);
        events.iter().take(self.too_new).skip(from)
    }

    fn rejected(&self) -> Option<RejectedLogEventsInfo> {
        let index = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let info = RejectedLogEventsInfo {
            too_new_log_event_start_index: (self.too_new < self.count).then(|| index(self.too_new)),
            too_old_log_event_end_index: (self.too_old > 0).then(|| index(self.too_old)),
            expired_log_event_end_index: (self.expired > 0).then(|| index(self.expired)),
        };
        (info != RejectedLogEventsInfo::default()).then_some(info)
    }
}
