//! Limits of CloudWatch Logs, each with the AWS quota that it mirrors or the resource that it bounds.

/// The largest `PutLogEvents` batch: messages in UTF-8 and [`EVENT_OVERHEAD_BYTES`] for each event. AWS's 1 MiB.
pub const BATCH_BYTES_MAX: usize = 1_048_576;
/// What each event counts beside its message, in AWS's accounting.
pub const EVENT_OVERHEAD_BYTES: usize = 26;
/// The longest span of the events of one `PutLogEvents` batch: AWS's 24 hours.
pub const BATCH_SPAN_MS_MAX: i64 = 24 * 60 * 60 * 1000;
/// Events older than this are rejected: AWS's 14 days.
pub const EVENT_AGE_MS_MAX: i64 = 14 * 24 * 60 * 60 * 1000;
/// Events further ahead than this are rejected: AWS's 2 hours.
pub const EVENT_AHEAD_MS_MAX: i64 = 2 * 60 * 60 * 1000;
/// Events of one page of `GetLogEvents` and `FilterLogEvents`: AWS's 10,000.
pub const PAGE_EVENTS_MAX: usize = 10_000;
/// Bytes of one such page, counted as in a batch: AWS's 1 MB.
pub const PAGE_BYTES_MAX: usize = 1_048_576;
/// Entries of one page of the Describe operations: AWS's 50.
pub const DESCRIBE_ENTRIES_MAX: usize = 50;
/// Tags of one log group: AWS's 50.
pub const TAGS_MAX: usize = 50;
/// Regular expressions in one filter pattern: AWS's 2.
pub const PATTERN_REGEXES_MAX: usize = 2;
/// The deepest nesting of parentheses in a JSON filter pattern.
pub const PATTERN_DEPTH_MAX: usize = 32;
/// How often a regular expression of a filter pattern may backtrack on one event before it counts as no match.
pub const REGEX_BACKTRACKS_MAX: usize = 100_000;
/// Memory of one compiled regular expression of a filter pattern.
pub const REGEX_BYTES_MAX: usize = 256 * 1024;

/// Message bytes of one stored chunk; an event that is larger is a chunk of its own.
pub const CHUNK_BYTES_MAX: usize = 256 * 1024;
/// Events of one stored chunk.
pub const CHUNK_EVENTS_MAX: usize = 4096;
/// The longest span of the events of one chunk. Readers rely on it to know which chunks can hold a point in time, so
/// it may shrink and must never grow.
pub const CHUNK_SPAN_MS_MAX: i64 = 10_000;
/// Message bytes that one call reads before it answers with what it found and a token for the rest.
pub const SEARCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Chunks that one call looks at before it does the same.
pub const SEARCH_CHUNKS_MAX: usize = 50_000;
/// Chunks of one stream that a reader fetches at a time.
pub const STREAM_FETCH_CHUNKS: usize = 16;
/// Chunk references of a group that a reader fetches at a time.
pub const GROUP_FETCH_CHUNKS: usize = 256;
/// Groups or streams that a Describe operation fetches at a time.
pub const DESCRIBE_FETCH_ENTRIES: usize = 256;

/// The longest line of a function that stays one event; a longer one is split. AWS's 1 MB for an event.
pub const EVENT_BYTES_MAX: usize = BATCH_BYTES_MAX - EVENT_OVERHEAD_BYTES;
/// Appends that may wait for the writer.
pub const APPENDS_WAITING_MAX: usize = 1024;
/// Bytes of events that may wait for the writer; the next append waits for a place.
pub const APPEND_BYTES_WAITING_MAX: usize = 32 * 1024 * 1024;
/// Once the events of a write have this many bytes, no further append joins it.
pub const WRITE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Appends that one write joins.
pub const WRITE_APPENDS_MAX: usize = 512;
/// The first and the longest pause before a write that failed is tried again.
pub const WRITE_RETRY_MS: (u64, u64) = (50, 5_000);

/// Chunks that the sweeper removes in one write.
pub const SWEEP_CHUNKS_MAX: usize = 256;
/// How often the sweeper looks for expired events when nothing else wakes it.
pub const SWEEP_PERIOD_S: u64 = 600;
