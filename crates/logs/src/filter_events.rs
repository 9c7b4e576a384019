//! `FilterLogEvents`: the events of a group or of some of its streams, by time, those that match a pattern.
//!
//! This is what `aws logs tail` calls in a loop: it follows `nextToken` while there is one, then starts again at the
//! last event's time and drops the events whose id it has seen. So ids never change, and the last page has no token.

use gatemill_api::logs::{FilterLogEventsRequest, FilterLogEventsResponse, FilteredLogEvent};
use gatemill_store::Read;
use gatemill_wire::Cx;

use crate::{
    Error, Logs,
    get_events::limit,
    ingest,
    limits::PAGE_BYTES_MAX,
    merge::{Found, Merge, Scope, Window},
    names::{find_group, find_stream, group_name},
    pattern::Pattern,
    position::{Direction, Position, group_token, parse_group_token},
};

/// 2024-01-01T00:00:00Z: newest first is served from here on, as in AWS.
const NEWEST_FIRST_FROM_MS: i64 = 1_704_067_200_000;

pub(crate) async fn filter(
    logs: &Logs,
    cx: &Cx,
    req: FilterLogEventsRequest,
) -> Result<FilterLogEventsResponse, Error> {
    let group = group_name(cx, req.log_group_name, req.log_group_identifier)?;
    if req.log_stream_names.is_some() && req.log_stream_name_prefix.is_some() {
        return Err(Error::invalid(
            "logStreamNames and logStreamNamePrefix are mutually exclusive parameters.",
        ));
    }
    let newest_first = req.start_from_head == Some(false);
    if newest_first && req.start_time.is_some_and(|ms| ms < NEWEST_FIRST_FROM_MS) {
        return Err(Error::invalid(
            "startFromHead can be false only when startTime is on or after 2024-01-01T00:00:00Z.",
        ));
    }
    let (direction, boundary) = match req.next_token.as_deref().map(parse_group_token) {
        Some(None) => return Err(Error::invalid("The specified nextToken is invalid.")),
        Some(Some((direction, boundary))) => (direction, Some(boundary)),
        None if newest_first => (Direction::Backward, None),
        None => (Direction::Forward, None),
    };
    let page = Page {
        group,
        streams: req.log_stream_names,
        prefix: req.log_stream_name_prefix.unwrap_or_default(),
        pattern: Pattern::parse(req.filter_pattern.as_deref().unwrap_or(""))?,
        window: Window {
            direction,
            from_ms: req.start_time.unwrap_or(0),
            // This operation's end is inclusive.
            until_ms: req.end_time.map_or(i64::MAX, |ms| ms.saturating_add(1)),
            boundary,
        },
        limit: limit(req.limit),
    };
    let cx = cx.clone();
    logs.search(move |read| page.read(&cx, read)).await
}

struct Page {
    group: String,
    streams: Option<Vec<String>>,
    prefix: String,
    pattern: Pattern,
    window: Window,
    limit: usize,
}

impl Page {
    fn read(self, cx: &Cx, read: &Read) -> Result<FilterLogEventsResponse, Error> {
        let group = find_group(cx, read, &self.group)?;
        let mut window = self.window;
        window.from_ms = window.from_ms.max(group.kept_from_ms(cx.now.millis()));
        let direction = window.direction;
        let scope = scope(read, group.id, self.streams, self.prefix)?;
        let mut merge = Merge::new(read, scope, window);
        let mut events = Vec::new();
        let mut bytes = 0;
        let mut next = None;
        while let Some(event) = merge.next()? {
            if !self.pattern.matches(&event.message) {
                continue;
            }
            bytes += ingest::counted(&event.message);
            if events.len() == self.limit || (bytes > PAGE_BYTES_MAX && !events.is_empty()) {
                next = Some(boundary_before(direction, event.position));
                break;
            }
            events.push(output(event));
        }
        let next = next.or_else(|| merge.stopped());
        Ok(FilterLogEventsResponse {
            events: Some(events),
            searched_log_streams: Some(Vec::new()),
            next_token: next.map(|boundary| group_token(direction, boundary)),
        })
    }
}

/// The boundary at which the event itself is the next one read.
fn boundary_before(direction: Direction, event: Position) -> Position {
    match direction {
        Direction::Forward => event,
        Direction::Backward => event.after(),
    }
}

fn scope(
    read: &Read,
    group: u64,
    streams: Option<Vec<String>>,
    prefix: String,
) -> Result<Scope, Error> {
    let Some(mut names) = streams else { return Ok(Scope::Group(group, prefix)) };
    names.sort();
    names.dedup();
    let found = names
        .into_iter()
        .map(|name| Ok((find_stream(read, group, &name)?.id, name)))
        .collect::<Result<_, Error>>()?;
    Ok(Scope::Streams(found))
}

fn output(event: Found) -> FilteredLogEvent {
    FilteredLogEvent {
        log_stream_name: Some(event.stream.to_string()),
        timestamp: Some(event.position.ms),
        message: Some(event.message),
        ingestion_time: Some(event.ingested_ms),
        event_id: Some(event.position.digits()),
    }
}
