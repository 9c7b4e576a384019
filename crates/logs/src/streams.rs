//! Log streams: making, deleting, describing.

use std::{cmp::Reverse, collections::BTreeSet};

use gatemill_api::logs::{
    CreateLogStreamRequest, DeleteLogStreamRequest, DescribeLogStreamsRequest,
    DescribeLogStreamsResponse, LogStream,
};
use gatemill_store::Read;
use gatemill_wire::{Cx, pagination};

use crate::{
    Error, Logs,
    limits::{DESCRIBE_ENTRIES_MAX, DESCRIBE_FETCH_ENTRIES},
    names::{find_group, group_arn, group_name},
    put_events,
    records::{
        GROUPS, STREAMS, StreamRecord, TRASH, TrashRecord, group_key, id_key, stream_key, time,
    },
};

pub(crate) async fn create(logs: &Logs, cx: &Cx, req: CreateLogStreamRequest) -> Result<(), Error> {
    let group_key = group_key(cx.account(), &cx.region, &req.log_group_name);
    let stream = StreamRecord::new(logs.id(), cx.now.millis());
    logs.store
        .write(move |tx| {
            let group = GROUPS.get(tx, &group_key)?.ok_or(Error::NoGroup)?;
            let key = stream_key(group.id, &req.log_stream_name);
            if STREAMS.contains(tx, &key)? {
                return Err(Error::StreamExists);
            }
            STREAMS.put(tx, &key, &stream)?;
            Ok(())
        })
        .await
}

/// The stream is gone when this returns; what it held is swept later.
pub(crate) async fn delete(logs: &Logs, cx: &Cx, req: DeleteLogStreamRequest) -> Result<(), Error> {
    let group_key = group_key(cx.account(), &cx.region, &req.log_group_name);
    logs.store
        .write(move |tx| {
            let group = GROUPS.get(tx, &group_key)?.ok_or(Error::NoGroup)?;
            let key = stream_key(group.id, &req.log_stream_name);
            let stream = STREAMS.get(tx, &key)?.ok_or(Error::NoStream)?;
            STREAMS.delete(tx, &key)?;
            TRASH.put(tx, &id_key(group.id).and_u64(stream.id), &TrashRecord {})?;
            Ok(())
        })
        .await
}

pub(crate) async fn describe(
    logs: &Logs,
    cx: &Cx,
    req: DescribeLogStreamsRequest,
) -> Result<DescribeLogStreamsResponse, Error> {
    let group = group_name(cx, req.log_group_name, req.log_group_identifier)?;
    let by_time = req.order_by.as_deref() == Some("LastEventTime");
    if by_time && req.log_stream_name_prefix.is_some() {
        return Err(Error::invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
    }
    let limit = usize::try_from(req.limit.unwrap_or(i32::MAX)).unwrap_or(usize::MAX);
    let list = List {
        group,
        prefix: req.log_stream_name_prefix.unwrap_or_default(),
        by_time,
        descending: req.descending.unwrap_or(false),
        after: req.next_token.map(|token| parse(&token)).transpose()?,
        limit: limit.min(DESCRIBE_ENTRIES_MAX),
    };
    let cx = cx.clone();
    logs.search(move |read| list.run(&cx, read)).await
}

/// What a page is ordered by: the time of the last event where that is asked for (0 otherwise), then the name.
type Rank = (u64, String);

/// The token after a rank: eight bytes of its time and its name.
fn token((time, name): &Rank) -> Vec<u8> {
    let mut bytes = time.to_be_bytes().to_vec();
    bytes.extend(name.as_bytes());
    bytes
}

fn parse(token: &str) -> Result<Rank, Error> {
    let rank = pagination::key(token).and_then(|bytes| {
        let (time, name) = bytes.split_first_chunk::<8>()?;
        Some((u64::from_be_bytes(*time), String::from_utf8(name.to_vec()).ok()?))
    });
    rank.ok_or_else(|| Error::invalid("The specified nextToken is invalid."))
}

struct List {
    group: String,
    prefix: String,
    by_time: bool,
    descending: bool,
    after: Option<Rank>,
    limit: usize,
}

impl List {
    fn run(&self, cx: &Cx, read: &Read) -> Result<DescribeLogStreamsResponse, Error> {
        let group = find_group(cx, read, &self.group)?;
        let ranks = if self.descending {
            self.smallest(group.id, read, Reverse)?.into_iter().map(|Reverse(rank)| rank).collect()
        } else {
            self.smallest(group.id, read, |rank| rank)?
        };
        let (ranks, next_token) = pagination::page(ranks, self.limit, token);
        let mut log_streams = Vec::with_capacity(ranks.len());
        for (_, name) in ranks {
            if let Some(stream) = STREAMS.get(read, &stream_key(group.id, &name))? {
                log_streams.push(described(cx, &self.group, name, &stream));
            }
        }
        Ok(DescribeLogStreamsResponse { log_streams: Some(log_streams), next_token })
    }

    /// One rank more than the page holds, in order. Walks the names that start with the prefix and keeps no more
    /// than it answers, since a group may have very many streams.
    fn smallest<K: Ord>(
        &self,
        group: u64,
        read: &Read,
        order: impl Fn(Rank) -> K,
    ) -> Result<Vec<K>, Error> {
        let boundary = self.after.clone().map(&order);
        let mut kept = BTreeSet::new();
        let mut keep = |rank: Rank| {
            let rank = order(rank);
            if boundary.as_ref().is_none_or(|boundary| rank > *boundary) {
                kept.insert(rank);
                if kept.len() > self.limit + 1 {
                    kept.pop_last();
                }
            }
        };
        let exact = stream_key(group, &self.prefix);
        if !self.prefix.is_empty()
            && let Some(stream) = STREAMS.get(read, &exact)?
        {
            keep(self.rank(self.prefix.clone(), &stream));
        }
        let mut after = (!self.prefix.is_empty()).then_some(exact);
        loop {
            let page =
                STREAMS.scan(read, &id_key(group), after.as_ref(), DESCRIBE_FETCH_ENTRIES)?;
            let last = page.len() < DESCRIBE_FETCH_ENTRIES;
            after = page.last().map(|(key, _)| key.clone());
            for (key, stream) in page {
                let name = key.text(1).unwrap_or_default().into_owned();
                if !name.starts_with(&self.prefix) {
                    return Ok(kept.into_iter().collect());
                }
                keep(self.rank(name, &stream));
            }
            if last {
                return Ok(kept.into_iter().collect());
            }
        }
    }

    fn rank(&self, name: String, stream: &StreamRecord) -> Rank {
        // A stream without events sorts before all others, as one whose last event is the oldest.
        let last = if self.by_time { stream.last_ms.map_or(0, |ms| time(ms) + 1) } else { 0 };
        (last, name)
    }
}

fn described(cx: &Cx, group: &str, name: String, stream: &StreamRecord) -> LogStream {
    let group = group_arn(cx.account(), &cx.region, group);
    LogStream {
        arn: Some(format!("{group}:log-stream:{name}")),
        log_stream_name: Some(name),
        creation_time: Some(stream.created_ms),
        first_event_timestamp: stream.first_ms,
        last_event_timestamp: stream.last_ms,
        last_ingestion_time: stream.ingested_ms,
        upload_sequence_token: Some(put_events::sequence_token(stream)),
        // AWS answers zero for every stream since 2019.
        stored_bytes: Some(0),
    }
}
