//! Every bound of this crate, with the reason for its size.

use std::time::Duration;

/// How long a connection may take to stand.
pub const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// How long one attempt may take from the request to the end of its answer. Above SQS's longest poll (20 seconds).
pub const ATTEMPT_WAIT: Duration = Duration::from_secs(30);
/// The largest answer. `GetRecords` of Kinesis gives 10 MB of data, which are 14 in base64.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest request: a failed record of a 6 MB event and a 6 MB answer, escaped.
pub const REQUEST_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How often a call is tried, as AWS's clients do in their standard mode.
pub const ATTEMPTS_MAX: u32 = 3;
/// The longest wait before the second attempt; it doubles with each further one. Waits are drawn evenly below it.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// The longest wait before any attempt.
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
pub const IDLE_WAIT: Duration = Duration::from_secs(30);
/// Idle connections that are kept per host.
pub const IDLE_PER_HOST_MAX: usize = 32;
/// The part of an error's code and message that is kept.
pub const ERROR_TEXT_BYTES_MAX: usize = 1024;
