//! Reading events in order, over one stream or over a whole group, in either direction.
//!
//! Chunks come from the store by their first time; their events may overlap in time, since streams run side by side
//! and events may be late. A heap holds the chunks that are open. Before an event leaves the heap, every chunk that
//! could hold an earlier one (a later one, backwards) is opened; the bound on a chunk's span says which those are.
//!
//! A merge runs in one snapshot, so it shows what is committed and nothing else.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::Arc,
};

use gatemill_store::{Error, Key, Read};

use crate::{
    limits::{
        CHUNK_SPAN_MS_MAX, GROUP_FETCH_CHUNKS, SEARCH_BYTES_MAX, SEARCH_CHUNKS_MAX,
        STREAM_FETCH_CHUNKS,
    },
    position::{Direction, Position},
    records::{
        CHUNKS, ChunkRecord, STREAMS, TIMELINE, chunk_key, id_key, number, stream_key, time,
    },
};

/// Which events to read.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) direction: Direction,
    /// The first millisecond.
    pub(crate) from_ms: i64,
    /// The first millisecond that is not of the window any more.
    pub(crate) until_ms: i64,
    /// The boundary where an earlier page ended.
    pub(crate) boundary: Option<Position>,
}

impl Window {
    /// Narrows the times to what the boundary leaves.
    fn narrowed(mut self) -> Self {
        match (self.boundary, self.direction) {
            (Some(boundary), Direction::Forward) => self.from_ms = self.from_ms.max(boundary.ms),
            (Some(boundary), Direction::Backward) => {
                self.until_ms = self.until_ms.min(boundary.ms.saturating_add(1));
            }
            (None, _) => {}
        }
        self.from_ms = self.from_ms.max(0);
        self.until_ms = self.until_ms.max(0);
        self
    }

    fn holds(&self, position: Position) -> bool {
        let inside = (self.from_ms..self.until_ms).contains(&position.ms);
        inside
            && self.boundary.is_none_or(|boundary| match self.direction {
                Direction::Forward => position >= boundary,
                Direction::Backward => position < boundary,
            })
    }
}

/// An event that was read.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) position: Position,
    pub(crate) stream: Arc<str>,
    pub(crate) ingested_ms: i64,
    pub(crate) message: String,
}

/// Which streams of a group are read.
pub(crate) enum Scope {
    /// These, by id and name.
    Streams(Vec<(u64, String)>),
    /// Those of the group with this id whose names start so.
    Group(u64, String),
}

/// The events of a window, one after the other.
pub(crate) struct Merge<'a> {
    read: &'a Read,
    window: Window,
    sources: Vec<Source>,
    open: BinaryHeap<Open>,
    bytes: usize,
    chunks: usize,
    stopped: Option<Position>,
}

impl<'a> Merge<'a> {
    pub(crate) fn new(read: &'a Read, scope: Scope, window: Window) -> Self {
        let window = window.narrowed();
        let sources = match scope {
            Scope::Streams(streams) => streams
                .into_iter()
                .map(|(id, name)| Source::new(Of::Stream(id, name.into()), &window))
                .collect(),
            Scope::Group(id, prefix) => {
                vec![Source::new(Of::Group { id, prefix, streams: HashMap::new() }, &window)]
            }
        };
        let open = BinaryHeap::new();
        Self { read, window, sources, open, bytes: 0, chunks: 0, stopped: None }
    }

    /// The next event; `None` at the end, or when this call has read enough (see [`Self::stopped`]).
    pub(crate) fn next(&mut self) -> Result<Option<Found>, Error> {
        self.open_what_may_precede()?;
        if self.stopped.is_some() {
            return Ok(None);
        }
        let Some(mut chunk) = self.open.pop() else { return Ok(None) };
        let found = chunk.take();
        if chunk.advance() {
            self.open.push(chunk);
        }
        Ok(found)
    }

    /// The boundary to go on from, if this call has read as much as a call may.
    pub(crate) fn stopped(&self) -> Option<Position> {
        self.stopped
    }

    fn open_what_may_precede(&mut self) -> Result<(), Error> {
        for at in 0..self.sources.len() {
            loop {
                let next = self.sources[at].peek(self.read, &self.window)?;
                let Some(first_ms) = next else { break };
                let head = self.open.peek().map(|chunk| chunk.head().ms);
                let may_precede = head.is_none_or(|head| match self.window.direction {
                    Direction::Forward => first_ms <= head,
                    Direction::Backward => first_ms + CHUNK_SPAN_MS_MAX >= head,
                });
                if !may_precede {
                    break;
                }
                if self.bytes >= SEARCH_BYTES_MAX || self.chunks >= SEARCH_CHUNKS_MAX {
                    self.stopped = self.boundary_if_progress()?;
                    if self.stopped.is_some() {
                        return Ok(());
                    }
                }
                self.chunks += 1;
                if let Some(chunk) = self.sources[at].take(self.read, &self.window)? {
                    self.bytes += chunk.bytes;
                    self.open.push(chunk);
                }
            }
        }
        Ok(())
    }

    /// Where everything was given out up to, if that lies beyond where this call began: a call that stops must
    /// have brought its caller forward.
    fn boundary_if_progress(&mut self) -> Result<Option<Position>, Error> {
        let forward = self.window.direction == Direction::Forward;
        let mut boundary = self.open.peek().map(|chunk| {
            let head = chunk.head();
            if forward { head } else { head.after() }
        });
        for source in &mut self.sources {
            let Some(first_ms) = source.peek(self.read, &self.window)? else { continue };
            boundary = if forward {
                let next = Position::at(first_ms);
                Some(boundary.map_or(next, |boundary| boundary.min(next)))
            } else {
                let next = Position::at(first_ms + CHUNK_SPAN_MS_MAX + 1);
                Some(boundary.map_or(next, |boundary| boundary.max(next)))
            };
        }
        Ok(boundary.filter(|boundary| {
            if forward {
                boundary.ms > self.window.from_ms
            } else {
                boundary.ms < self.window.until_ms - 1
            }
        }))
    }
}

/// A chunk whose events are being read.
struct Open {
    rank: Rank,
    /// What is left, next one last; each with its place in the chunk.
    left: Vec<(Position, String)>,
    stream: Arc<str>,
    ingested_ms: i64,
    bytes: usize,
    direction: Direction,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Forward(Reverse<Position>),
    Backward(Position),
}

impl Open {
    fn head(&self) -> Position {
        match self.rank {
            Rank::Forward(Reverse(position)) | Rank::Backward(position) => position,
        }
    }

    fn take(&mut self) -> Option<Found> {
        let (position, message) = self.left.pop()?;
        let (stream, ingested_ms) = (Arc::clone(&self.stream), self.ingested_ms);
        Some(Found { position, stream, ingested_ms, message })
    }

    fn advance(&mut self) -> bool {
        let Some((position, _)) = self.left.last() else { return false };
        self.rank = rank(self.direction, *position);
        true
    }
}

fn rank(direction: Direction, position: Position) -> Rank {
    match direction {
        Direction::Forward => Rank::Forward(Reverse(position)),
        Direction::Backward => Rank::Backward(position),
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Open {}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Open {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.cmp(&other.rank)
    }
}

/// Where chunks come from, by their first time.
struct Source {
    of: Of,
    fetched: VecDeque<Reference>,
    /// Where the next fetch goes on; `None` once there is nothing more.
    next: Option<Key>,
}

enum Of {
    Stream(u64, Arc<str>),
    /// `streams` says of each stream seen whether it is read: its name fits and it was not deleted.
    Group {
        id: u64,
        prefix: String,
        streams: HashMap<u64, Option<Arc<str>>>,
    },
}

/// A chunk that is still closed.
struct Reference {
    first_ms: i64,
    stream: u64,
    sequence: u64,
    name: Arc<str>,
    /// Known without opening it where it comes from the group's timeline.
    last_ms: Option<i64>,
    chunk: Option<ChunkRecord>,
}

impl Source {
    fn new(of: Of, window: &Window) -> Self {
        let id = match &of {
            Of::Stream(id, _) | Of::Group { id, .. } => *id,
        };
        // Both are shorter than any key with this time, so they sort right before its chunks.
        let next = match window.direction {
            Direction::Forward => {
                id_key(id).and_u64(time(window.from_ms.saturating_sub(CHUNK_SPAN_MS_MAX)))
            }
            Direction::Backward => id_key(id).and_u64(time(window.until_ms)),
        };
        Self { of, fetched: VecDeque::new(), next: Some(next) }
    }

    /// The first time of the next chunk.
    fn peek(&mut self, read: &Read, window: &Window) -> Result<Option<i64>, Error> {
        while self.fetched.is_empty() && self.next.is_some() {
            self.fetch(read, window)?;
        }
        let first_ms = self.fetched.front().map(|reference| reference.first_ms);
        let inside = first_ms.filter(|&first_ms| match window.direction {
            Direction::Forward => first_ms < window.until_ms,
            Direction::Backward => first_ms + CHUNK_SPAN_MS_MAX >= window.from_ms,
        });
        if first_ms.is_some() && inside.is_none() {
            self.fetched.clear();
            self.next = None;
        }
        Ok(inside)
    }

    /// Opens the next chunk, if anything in it is wanted.
    fn take(&mut self, read: &Read, window: &Window) -> Result<Option<Open>, Error> {
        let Some(reference) = self.fetched.pop_front() else { return Ok(None) };
        if reference.last_ms.is_some_and(|last_ms| last_ms < window.from_ms) {
            return Ok(None);
        }
        let Some(name) = self.wanted(read, &reference)? else { return Ok(None) };
        let Reference { first_ms, stream, sequence, chunk, .. } = reference;
        let chunk = match chunk {
            Some(chunk) => Some(chunk),
            None => CHUNKS.get(read, &chunk_key(stream, first_ms, sequence))?,
        };
        Ok(chunk.and_then(|chunk| open(chunk, stream, sequence, name, window)))
    }

    fn wanted(&mut self, read: &Read, reference: &Reference) -> Result<Option<Arc<str>>, Error> {
        let Of::Group { id, prefix, streams } = &mut self.of else {
            return Ok(Some(Arc::clone(&reference.name)));
        };
        if let Some(known) = streams.get(&reference.stream) {
            return Ok(known.clone());
        }
        let mut wanted = None;
        if reference.name.starts_with(prefix.as_str()) {
            let record = STREAMS.get(read, &stream_key(*id, &reference.name))?;
            // A stream that was deleted, and perhaps made again, has chunks until the sweeper comes by.
            wanted = record
                .filter(|record| record.id == reference.stream)
                .map(|_| Arc::clone(&reference.name));
        }
        streams.insert(reference.stream, wanted.clone());
        Ok(wanted)
    }

    fn fetch(&mut self, read: &Read, window: &Window) -> Result<(), Error> {
        let next = self.next.take();
        let forward = window.direction == Direction::Forward;
        match &self.of {
            Of::Stream(id, name) => {
                let (prefix, limit) = (id_key(*id), STREAM_FETCH_CHUNKS);
                let found = if forward {
                    CHUNKS.scan(read, &prefix, next.as_ref(), limit)?
                } else {
                    CHUNKS.scan_reverse(read, &prefix, next.as_ref(), limit)?
                };
                self.next =
                    found.last().filter(|_| found.len() == limit).map(|(key, _)| key.clone());
                for (key, chunk) in found {
                    self.fetched.push_back(Reference {
                        first_ms: number(&key, 1)?.cast_signed(),
                        stream: *id,
                        sequence: number(&key, 2)?,
                        name: Arc::clone(name),
                        last_ms: None,
                        chunk: Some(chunk),
                    });
                }
            }
            Of::Group { id, .. } => {
                let (prefix, limit) = (id_key(*id), GROUP_FETCH_CHUNKS);
                let found = if forward {
                    TIMELINE.scan(read, &prefix, next.as_ref(), limit)?
                } else {
                    TIMELINE.scan_reverse(read, &prefix, next.as_ref(), limit)?
                };
                self.next =
                    found.last().filter(|_| found.len() == limit).map(|(key, _)| key.clone());
                for (key, entry) in found {
                    self.fetched.push_back(Reference {
                        first_ms: number(&key, 1)?.cast_signed(),
                        stream: number(&key, 2)?,
                        sequence: number(&key, 3)?,
                        name: entry.stream.into(),
                        last_ms: Some(entry.last_ms),
                        chunk: None,
                    });
                }
            }
        }
        Ok(())
    }
}

/// Keeps what the window holds, next one last.
fn open(
    chunk: ChunkRecord,
    stream: u64,
    sequence: u64,
    name: Arc<str>,
    window: &Window,
) -> Option<Open> {
    let (bytes, ingested_ms) = (chunk.bytes(), chunk.ingested_ms);
    let place = |(index, (ms, message)): (u32, (i64, String))| {
        (Position { ms, stream, chunk: sequence, index }, message)
    };
    let mut left: Vec<(Position, String)> =
        (0u32..).zip(chunk.events).map(place).filter(|(at, _)| window.holds(*at)).collect();
    if window.direction == Direction::Forward {
        left.reverse();
    }
    let rank = rank(window.direction, left.last()?.0);
    Some(Open { rank, left, stream: name, ingested_ms, bytes, direction: window.direction })
}
