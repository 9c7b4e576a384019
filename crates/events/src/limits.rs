//! Limits of event source mappings at work, each with the AWS quota that it mirrors.

use std::time::Duration;

/// The event of one call: 6 MB, whatever the batch size.
pub const EVENT_BYTES_MAX: usize = gatemill_lambda::limits::EVENT_BYTES_MAX;
/// What an event has around its records.
pub const EVENT_FRAME_BYTES: usize = 1_024;

/// Requests for records that wait for their answer, of all mappings together. Each holds a connection.
pub const POLLS_AT_ONCE: usize = 512;
/// The same of mappings in provisioned mode, which do not wait for others. Where they ask for more event pollers than this
/// together, these take turns.
pub const PROVISIONED_POLLS_AT_ONCE: usize = 2_000;
/// The longest poll of a queue, which is SQS's.
pub const LONG_POLL: Duration = Duration::from_secs(20);
/// How long after an answer without messages a queue is asked again that does not wait for any, or is not to, since
/// others are being gathered.
pub const QUEUE_POLL_EMPTY: Duration = Duration::from_millis(200);
/// Messages of one request, which is SQS's limit.
pub const MESSAGES_AT_ONCE: usize = 10;
/// Requests for messages of one queue at one time, while it is full: Lambda's five pollers.
pub const POLLERS_PER_QUEUE: usize = 5;
/// Calls at one time with which a queue begins.
pub const QUEUE_CALLS_FIRST: usize = 5;
/// The most of them, unless the mapping says less.
pub const QUEUE_CALLS_MAX: usize = 1_250;
/// Calls at one time of an event poller in provisioned mode.
pub const CALLS_PER_POLLER: usize = 10;
/// How many more of them there may be every second while all are used: 1,000 a minute.
pub const POLLER_CALLS_GROWTH: usize = 17;
/// How many more there may be every second while all are used: 300 a minute.
pub const QUEUE_CALLS_GROWTH: usize = 5;
/// How often that is looked at.
pub const QUEUE_GROWTH_PERIOD: Duration = Duration::from_secs(1);

/// How often an idle shard is asked for records.
pub const SHARD_POLL_IDLE: Duration = Duration::from_secs(1);
/// How often at most a busy one is: five times a second, as Kinesis allows.
pub const SHARD_POLL_BUSY: Duration = Duration::from_millis(200);
/// How long it is waited for records that are pushed, before it is looked after everything else.
pub const SHARD_PUSH_WAIT: Duration = Duration::from_secs(1);
/// After this time, in milliseconds, no record comes any more that is older: Kinesis pushes within some 70 ms.
pub const SHARD_PUSH_LAG_MS: i64 = 1_000;
/// One message of a subscription: records of 10 MB and what is around them.
pub const PUSHED_MESSAGE_BYTES_MAX: usize = 24 * 1024 * 1024;
/// Requests a second for all idle shards together; with more shards than this, each is asked less often.
pub const IDLE_POLLS_PER_SECOND: usize = 200;
/// Records of one request of Kinesis.
pub const KINESIS_RECORDS_AT_ONCE: usize = 10_000;
/// Records of one request of DynamoDB.
pub const DYNAMODB_RECORDS_AT_ONCE: usize = 1_000;
/// Records of one request of a shard whose batches are smaller than that: five requests a second shall be enough.
pub const SHARD_RECORDS_AT_ONCE: usize = 1_000;
/// Bytes of records that a shard holds before it asks for more.
pub const SHARD_BYTES_MAX: usize = 12 * 1024 * 1024;
/// Pages of a list of shards; AWS's streams have at most 20,000 shards in pages of 1,000 (or 100).
pub const SHARD_PAGES_MAX: usize = 500;
/// How often it is looked for new shards.
pub const SHARDS_LOOK: Duration = Duration::from_secs(60);
/// Checkpoints of records that were filtered out are not written more often.
pub const CHECKPOINT_PERIOD: Duration = Duration::from_secs(1);
/// The state of a tumbling window: 1 MB.
pub const WINDOW_STATE_BYTES_MAX: usize = 1024 * 1024;

/// The pause after a first failure; doubled each time.
pub const RETRY_FIRST: Duration = Duration::from_millis(200);
/// The longest pause after a function's failure.
pub const FUNCTION_RETRY_MAX: Duration = Duration::from_secs(30);
/// The longest pause after a throttle or a service's failure.
pub const SERVICE_RETRY_MAX: Duration = Duration::from_secs(60);
/// Mappings whose state is settled at one time.
pub const SETTLED_AT_ONCE: usize = 16;
/// How long after a failure a mapping is settled again, or run again.
pub const SETTLE_RETRY: Duration = Duration::from_secs(2);
/// Marks that are read at one time.
pub const MARKS_AT_ONCE: usize = 256;
/// How long calls that run may take before their mapping is stopped without them; a function's longest time and some.
pub const STOP_WAIT: Duration = Duration::from_secs(905);
