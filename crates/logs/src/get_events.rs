//! `GetLogEvents`: one stream, a page at a time, in both directions.

use gatemill_api::logs::{GetLogEventsRequest, GetLogEventsResponse, OutputLogEvent};
use gatemill_store::Read;
use gatemill_wire::Cx;

use crate::{
    Error, Logs, ingest,
    limits::{PAGE_BYTES_MAX, PAGE_EVENTS_MAX},
    merge::{Found, Merge, Scope, Window},
    names::{find_group, find_stream, group_name},
    position::{Direction, Position, parse_stream_token, stream_token},
};

pub(crate) async fn get(
    logs: &Logs,
    cx: &Cx,
    req: GetLogEventsRequest,
) -> Result<GetLogEventsResponse, Error> {
    let group = group_name(cx, req.log_group_name, req.log_group_identifier)?;
    let token = req.next_token.as_deref().map(parse_stream_token);
    let token = match token {
        Some(None) => return Err(Error::invalid("The specified nextToken is invalid.")),
        Some(Some(token)) => Some(token),
        None => None,
    };
    let (direction, boundary) = match token {
        Some((direction, boundary)) => (direction, Some(boundary)),
        None if req.start_from_head == Some(true) => (Direction::Forward, None),
        None => (Direction::Backward, None),
    };
    let page = Page {
        group,
        stream: req.log_stream_name,
        window: Window {
            direction,
            from_ms: req.start_time.unwrap_or(0),
            until_ms: req.end_time.unwrap_or(i64::MAX),
            boundary,
        },
        limit: limit(req.limit),
    };
    let cx = cx.clone();
    logs.search(move |read| page.read(&cx, read)).await
}

/// How many events a page may hold.
pub(crate) fn limit(asked: Option<i32>) -> usize {
    asked.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX).min(PAGE_EVENTS_MAX)
}

struct Page {
    group: String,
    stream: String,
    window: Window,
    limit: usize,
}

impl Page {
    fn read(self, cx: &Cx, read: &Read) -> Result<GetLogEventsResponse, Error> {
        let group = find_group(cx, read, &self.group)?;
        let stream = find_stream(read, group.id, &self.stream)?;
        let mut window = self.window;
        window.from_ms = window.from_ms.max(group.kept_from_ms(cx.now.millis()));
        let (direction, boundary) = (window.direction, window.boundary);
        let start = boundary.unwrap_or_else(|| Position::at(window.from_ms));
        let mut merge = Merge::new(read, Scope::Streams(vec![(stream.id, self.stream)]), window);
        let mut found: Vec<Found> = Vec::new();
        let mut bytes = 0;
        while found.len() < self.limit {
            let Some(event) = merge.next()? else { break };
            bytes += ingest::counted(&event.message);
            if bytes > PAGE_BYTES_MAX && !found.is_empty() {
                break;
            }
            found.push(event);
        }
        if direction == Direction::Backward {
            found.reverse();
        }
        // An empty page leaves its reader where it was; the same token back means that this is the end.
        let nowhere = merge.stopped().unwrap_or(start);
        let first = found.first().map_or(nowhere, |event| event.position);
        let last = found.last().map_or(nowhere, |event| event.position.after());
        let output = |event: Found| OutputLogEvent {
            timestamp: Some(event.position.ms),
            message: Some(event.message),
            ingestion_time: Some(event.ingested_ms),
        };
        Ok(GetLogEventsResponse {
            events: Some(found.into_iter().map(output).collect()),
            next_forward_token: Some(stream_token(Direction::Forward, last)),
            next_backward_token: Some(stream_token(Direction::Backward, first)),
        })
    }
}
