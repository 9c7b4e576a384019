//! Limits of functions and calls, each with the AWS quota that it mirrors.

use std::time::Duration;

/// The longest function name; the service checks it, not the model.
pub const FUNCTION_NAME_CHARS_MAX: usize = 64;
/// The largest zip that comes inside a request: 50 MB, decoded.
pub const ZIP_BYTES_MAX: usize = 52_428_800;
/// The largest package once unpacked: 250 MB.
pub const UNPACKED_BYTES_MAX: u64 = 262_144_000;
/// The most entries of a package. AWS documents none; a zip of 50 MB cannot hold more that mean anything.
pub const ZIP_ENTRIES_MAX: usize = 200_000;
/// The longest path inside a package, in bytes: Linux's `PATH_MAX` less the room for `/var/task`.
pub const ZIP_NAME_BYTES_MAX: usize = 3_072;
/// The longest target of a symbolic link inside a package.
pub const SYMLINK_BYTES_MAX: u64 = 3_072;
/// All code of an account together: 75 GB.
pub const CODE_STORAGE_BYTES_MAX: u64 = 80_530_636_800;
/// Layers of one function.
pub const LAYERS_MAX: usize = 5;
/// Versions of a layer that are read at one time when those are looked for that fit.
pub const LAYER_VERSIONS_LOOKED_AT: usize = 64;
/// Environment variables, as the JSON text of their map: 4 KB.
pub const ENVIRONMENT_BYTES_MAX: usize = 4_096;
/// What an `ImageConfig` says, in bytes: 16 KB.
pub const IMAGE_CONFIG_BYTES_MAX: usize = 16_384;
/// Memory of a function in MB.
pub const MEMORY_MB: std::ops::RangeInclusive<i32> = 128..=10_240;
/// Timeout of a function in seconds.
pub const TIMEOUT_S: std::ops::RangeInclusive<i32> = 1..=900;
/// Size of `/tmp` in MB.
pub const EPHEMERAL_MB: std::ops::RangeInclusive<i32> = 512..=10_240;
/// Tags of one function.
pub const TAGS_MAX: usize = 50;
/// The longest key of a tag.
pub const TAG_KEY_CHARS_MAX: usize = 128;
/// The longest value of a tag.
pub const TAG_VALUE_CHARS_MAX: usize = 256;
/// A page of a list of functions.
pub const PAGE_MAX: usize = 50;
/// A page of a list of event source mappings.
pub const MAPPING_PAGE_MAX: usize = 100;
/// Filters of an event source mapping: AWS's 5, or 10 on request.
pub const MAPPING_FILTERS_MAX: usize = 10;
/// The most messages of a batch that is not gathered for a while, and of a FIFO queue.
pub const MAPPING_BATCH_WITHOUT_WINDOW_MAX: u32 = 10;
/// The least `MaximumRecordAgeInSeconds` but for -1.
pub const MAPPING_RECORD_AGE_S_MIN: u32 = 60;
/// Event pollers that a mapping of a queue always has in provisioned mode, unless it says how many; also the least of both.
pub const MAPPING_POLLERS_MIN: u32 = 2;
/// The most of those.
pub const MAPPING_POLLERS_MINIMUM_MAX: u32 = 200;
/// The most event pollers, unless it says how many.
pub const MAPPING_POLLERS_MAXIMUM_DEFAULT: u32 = 200;
/// The most of those.
pub const MAPPING_POLLERS_MAX: u32 = 2_000;
/// A resource policy as a document: 20 KB.
pub const POLICY_BYTES_MAX: usize = 20_480;

/// The event of a synchronous call: 6 MB.
pub const EVENT_BYTES_MAX: usize = 6_291_456;
/// The event of an asynchronous call: 1 MB.
pub const ASYNC_EVENT_BYTES_MAX: usize = 1_048_576;
/// The event of `InvokeAsync`: 256 KB.
pub const INVOKE_ASYNC_BYTES_MAX: usize = 262_144;
/// Events that wait, of all functions together; the next one is refused with 429. Each takes some forty bytes of memory.
pub const EVENTS_WAITING_MAX: usize = 4_000_000;
/// Events that run at one time: an account's concurrency by default.
pub const EVENTS_IN_FLIGHT_MAX: usize = 1_000;
/// Events of one function that run at one time: half of it, so that another function finds room.
pub const EVENTS_OF_FUNCTION_IN_FLIGHT_MAX: usize = 500;
/// Events that run or are being settled.
pub const EVENTS_HELD_MAX: usize = 2_000;
/// Events that are read at one time after a start. They may have 1 MB each.
pub const EVENTS_PAGE: usize = 64;
/// Retries of an event whose function failed, where its configuration says nothing: AWS's default.
pub const EVENT_RETRIES_MAX: u32 = 2;
/// The age of an event at its end, where its configuration says nothing: 6 hours, AWS's default.
pub const EVENT_AGE_MAX_S: u32 = 21_600;
/// How long an event waits that was throttled or failed by our fault; doubled with each further time.
pub const EVENT_BACKOFF_FIRST_MS: i64 = 1_000;
/// The longest such wait: 5 minutes.
pub const EVENT_BACKOFF_MAX_MS: i64 = 300_000;
/// The last answer of a function that failed is kept with its event up to this size, for the record of an event that
/// gets too old.
pub const EVENT_LAST_BYTES_MAX: usize = 256 * 1024;
/// Settled events that are told of at one time.
pub const EVENT_DELIVERIES_AT_ONCE: usize = 64;
/// How often a destination is tried in a row.
pub const EVENT_DELIVERY_ATTEMPTS_MAX: u32 = 5;
/// `ErrorMessage` of a dead letter: the first KB.
pub const EVENT_ERROR_MESSAGE_BYTES: usize = 1_024;
/// Invocations of one function in one chain of requests: about 16.
pub const LOOP_INVOCATIONS_MAX: u32 = 16;
/// Functions that the lineage of a trace header names.
pub const LINEAGE_FUNCTIONS_MAX: usize = 16;
/// The answer of a synchronous call: 6 MB and 100 bytes, as AWS checks it.
pub const RESPONSE_BYTES_MAX: usize = 6_291_556;
/// A streamed answer: 200 MB.
pub const STREAM_BYTES_MAX: u64 = 209_715_200;
/// A piece of a streamed answer, as runtimes send them.
pub const STREAM_CHUNK_BYTES_MAX: usize = 64 * 1024;
/// The content type of a streamed answer.
pub const STREAM_CONTENT_TYPE_BYTES_MAX: usize = 1_024;
/// Pieces of a streamed answer that wait for a slow reader: 1 MiB; then the function waits.
pub const STREAM_CHUNKS_WAITING_MAX: usize = 16;
/// The head that a streamed HTTP answer begins with, as JSON. AWS documents no figure; its headers are limited to 10 KB
/// elsewhere.
pub const STREAM_PRELUDE_BYTES_MAX: usize = 64 * 1024;
/// What of a streamed answer is passed on at any speed, where bandwidth is limited: 6 MB.
pub const STREAM_BURST_BYTES: u32 = 6 * 1024 * 1024;
/// The bandwidth of the rest: 2 MB a second.
pub const STREAM_BYTES_PER_SECOND: u32 = 2 * 1024 * 1024;
/// The client context in base64.
pub const CLIENT_CONTEXT_BYTES_MAX: usize = 3_583;
/// A trace header that is passed on to the runtime.
pub const TRACE_HEADER_BYTES_MAX: usize = 1_024;
/// What `LogType=Tail` gives back: the last 4 KB.
pub const LOG_TAIL_BYTES: usize = 4_096;
/// The largest frame of the channel to a runtime (protocol version 2).
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest error document that a runtime may give for its initialisation.
pub const INIT_ERROR_BYTES_MAX: usize = RESPONSE_BYTES_MAX;

/// Connections from inside an environment at one time; further ones wait to be accepted.
pub const API_CONNECTIONS_MAX: usize = 64;
/// The head of a request from inside: an X-Ray cause of 64 KB is a header.
pub const API_HEAD_BYTES_MAX: usize = 128 * 1024;
/// The headers of a request from inside.
pub const API_HEADERS_MAX: usize = 100;
/// The line with the size of a chunk, and a field after the last one.
pub const API_CHUNK_LINE_BYTES_MAX: usize = 128 * 1024;
/// Of a body that is longer than wanted, so much is read and thrown away before the connection ends.
pub const API_DISCARD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What a client may send ahead while its answer is due.
pub const API_AHEAD_BYTES_MAX: usize = 16 * 1024;
/// A request to AWS from inside: an event of 6 MB and what is around it.
pub const API_ENDPOINT_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Requests that are being read, of one environment together.
pub const API_HELD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Extensions of one environment, as AWS's.
pub const EXTENSIONS_MAX: usize = 10;

/// What the end of an environment with external extensions may take: 2 s.
pub const SHUTDOWN_EXTERNAL: Duration = Duration::from_millis(2_000);
/// The same with internal extensions alone: 500 ms.
pub const SHUTDOWN_INTERNAL: Duration = Duration::from_millis(500);
/// What of that is the runtime's, in percent.
pub const SHUTDOWN_RUNTIME_PERCENT: u32 = 30;

/// Least, most and default number of events that a telemetry subscriber is sent at one time.
pub const TELEMETRY_ITEMS: (u64, u64, u64) = (1_000, 10_000, 10_000);
/// The same of their bytes.
pub const TELEMETRY_BYTES: (u64, u64, u64) = (262_144, 1_048_576, 262_144);
/// The same of how long they are gathered, in milliseconds.
pub const TELEMETRY_TIMEOUT_MS: (u64, u64, u64) = (25, 30_000, 1_000);
/// Events that wait for one subscriber; AWS says only that it drops what a slow one does not take.
pub const TELEMETRY_EVENTS_WAITING_MAX: usize = 16_384;
/// Their bytes.
pub const TELEMETRY_WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Attempts to deliver the same events.
pub const TELEMETRY_ATTEMPTS_MAX: u32 = 5;
/// How long one attempt may take.
pub const TELEMETRY_ATTEMPT: Duration = Duration::from_secs(3);
/// The pause before the second attempt; each further one is twice as long.
pub const TELEMETRY_BACKOFF: Duration = Duration::from_millis(100);
/// What is read of a subscriber's answer.
pub const TELEMETRY_ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Events before a subscription that are kept for it.
pub const TELEMETRY_EARLY_EVENTS_MAX: usize = 1_000;
/// The bytes of their lines.
pub const TELEMETRY_EARLY_BYTES_MAX: usize = 256 * 1024;

/// One log event; longer lines are cut into several. CloudWatch Logs takes 1 MB, its readers less.
pub const LOG_EVENT_BYTES_MAX: usize = 256 * 1024;
/// Log text of one call that is held back before it is passed on while the call still runs.
pub const LOG_HELD_BYTES_MAX: usize = 256 * 1024;
/// Log batches that wait for the sink.
pub const LOG_BATCHES_MAX: usize = 4_096;
/// Log text that waits for the sink, in KiB. Callers wait when it is reached; nothing is dropped.
pub const LOG_WAITING_KIB_MAX: u32 = 64 * 1024;
/// How long log batches are gathered before they are passed on together, so that the sink is not woken per call.
pub const LOG_GATHERING: Duration = Duration::from_millis(20);

/// How long a data-plane thread waits on the spot for an answer before it turns to its other connections. A small
/// function takes a tenth of it.
pub const ON_THE_SPOT: Duration = Duration::from_micros(200);
/// What a function may use of the CPU while it is waited for further, because it wants more.
pub const ON_THE_SPOT_CPU: Duration = Duration::from_millis(1);
/// The longest wait on the spot, however little of the CPU the function got: more than a tick of the scheduler.
pub const ON_THE_SPOT_MAX: Duration = Duration::from_millis(5);
/// Calls of a function that are not waited for on the spot after one that did not answer in time, the first time.
pub const SPOT_PAUSE_MIN: u32 = 8;
/// The same after many such calls in a row.
pub const SPOT_PAUSE_MAX: u32 = 1_024;
/// How long an environment has no call before its processes are frozen. A busy one never is: freezing and thawing cost
/// more than a small call.
pub const FREEZE_AFTER: Duration = Duration::from_millis(50);
/// Environments that are frozen while a shard's pool is held.
pub const FREEZE_AT_ONCE: usize = 32;
/// How old a reading of an environment's memory may be for the report of a call that was short itself.
pub const MEMORY_READING_AGE: Duration = Duration::from_millis(10);
/// How short such a call is: in this time a process can touch a few megabytes at most.
pub const MEMORY_READING_CALL: Duration = Duration::from_millis(1);

/// How long a call of a function that is being created waits for it.
pub const PENDING_WAIT: Duration = Duration::from_secs(10);
/// Initialisation before a call: 10 s; then it is done again inside the call.
pub const INIT: Duration = Duration::from_secs(10);
/// The initialisation from which a version with SnapStart starts: 130 s, or the function's timeout where that is more.
pub const SNAPSHOT_INIT: Duration = Duration::from_secs(130);
/// A restore with its hooks: 10 s.
pub const RESTORE: Duration = Duration::from_secs(10);
/// Environments that are forked ahead from each snapshot.
pub const SNAPSHOT_FORKS_AHEAD: usize = 2;
/// How often a fork of a snapshot is tried before the function is initialised again instead.
pub const SNAPSHOT_FORK_ATTEMPTS: u32 = 3;
/// How long a snapshot that no environment stands on waits for a use of its version.
pub const SNAPSHOT_KEEP: Duration = Duration::from_secs(3_600);
/// Functions of which a spare is made, or waits for its turn, at one time; more get theirs after their next long start.
pub const AHEAD_AT_ONCE: usize = 1_000;
/// What making an environment has to take for its function to have spares initialised ahead.
pub const AHEAD_START_MIN: Duration = Duration::from_millis(50);
/// The zip of a function that gets a spare when it becomes Active, whatever its initialisation may take: smaller ones bring no
/// libraries that would take long.
pub const AHEAD_PACKAGE_BYTES_MIN: u64 = 64 * 1024;
/// How long a call waits for an environment that has to be made for it. AWS has no such number; it only keeps a
/// fault of ours from holding a caller for ever.
pub const PLACE_WAIT: Duration = Duration::from_secs(120);
/// How long a runtime may take to boot without a function.
pub const PARKED_BOOT: Duration = Duration::from_secs(10);
/// How long after a failure parking is tried again.
pub const PARKING_RETRY: Duration = Duration::from_secs(5);
/// How often it is looked at, at the latest, whether something has to be parked.
pub const PARKING_PAUSE: Duration = Duration::from_secs(60);
/// Forks of one template, which have one memory layout and hash seed; then there is a new one.
pub const TEMPLATE_FORKS_MAX: u32 = 1_000;
/// How long a template is forked; then there is a new one.
pub const TEMPLATE_AGE_MAX: Duration = Duration::from_secs(3_600);
/// Memory of a template. It holds an interpreter and no function.
pub const TEMPLATE_MEMORY_MB: u32 = 512;
/// How long an environment that closed its channel may take to exit before it is killed.
pub const EXIT_GRACE: Duration = Duration::from_millis(500);
/// The result that a callback of a durable execution may bring (the model of the service).
pub const CALLBACK_RESULT_BYTES_MAX: usize = 1_048_576;
/// Ended environments whose `/tmp` may be kept, at most. `sandboxd` has the same bound.
pub const LEFT_MAX: usize = 1_000;
/// How often a call that lost its environment before it was delivered is placed again; environments that had served calls
/// do not count, since many of them may have ended together.
pub const REPLACEMENTS_MAX: usize = 3;
/// How many environments that had served and then died a call may meet.
pub const DEAD_ENVIRONMENTS_MAX: usize = 1_000;
/// How long the credentials of a function's role are good.
pub const ROLE_CREDENTIALS_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// How long after its start an environment is given further calls: its credentials outlast the longest of them.
pub const ENVIRONMENT_AGE_MAX: Duration = Duration::from_secs(11 * 60 * 60);
/// Processes and threads of an environment.
pub const PROCESSES_MAX: u32 = 1_024;
/// Open files of a process.
pub const OPEN_FILES_MAX: u32 = 1_024;
/// Environments that live at one time, each with a uid of its own.
pub const ENVIRONMENTS_MAX: u32 = 60_000;
/// Memory in MB that buys one whole CPU.
pub const MEMORY_MB_PER_CPU: u32 = 1_769;
/// Functions whose snapshots are kept in memory.
pub const SNAPSHOTS_MAX: usize = 65_536;
/// Verdicts of a function's policies on services that asked, kept with its snapshot.
pub const VERDICTS_KEPT_MAX: usize = 1_024;
/// Published versions of one function whose snapshots are kept in memory.
pub const VERSIONS_KEPT_MAX: usize = 1_024;
/// The longest id of a tenant.
pub const TENANT_ID_CHARS_MAX: usize = 256;
/// Tenants of one version that are kept in memory.
pub const TENANTS_KEPT_MAX: usize = 16_384;
/// Environments of functions that isolate tenants, busy and idle together, for each 1,000 of an account's concurrency.
pub const TENANT_ENVIRONMENTS_PER_1000: u64 = 2_500;
/// Concurrency that has to be left for functions that reserve none.
pub const UNRESERVED_MIN: u32 = 100;
/// Requests a second that a function takes for each call that it may run at one time.
pub const REQUESTS_PER_CONCURRENCY: u64 = 10;
/// Environments that a function may have made at once.
pub const ENVIRONMENTS_BURST: u64 = 1_000;
/// Environments that a function may have made in a second once it used up its burst: 1,000 in ten seconds.
pub const ENVIRONMENTS_PER_SECOND: u64 = 100;
/// Initialisation of provisioned environments, where the function's timeout is not longer.
pub const PROVISIONED_INIT: Duration = Duration::from_secs(130);
/// Provisioned environments of one version that are made at one time; the start governor may give less.
pub const PROVISIONED_STARTS_AT_ONCE: u32 = 16;
/// How long a version whose initialisation failed waits until provisioned environments are tried again; doubled each time.
pub const PROVISIONED_RETRY: Duration = Duration::from_secs(1);
/// The longest such wait.
pub const PROVISIONED_RETRY_MAX: Duration = Duration::from_secs(60);
/// Operations of a durable execution.
pub const DURABLE_OPERATIONS_MAX: u64 = 3_000;
/// What the payloads of a durable execution may hold together, in bytes.
pub const DURABLE_BYTES_MAX: u64 = 100 * 1024 * 1024;
/// The largest error of an operation, in bytes.
pub const DURABLE_ERROR_BYTES_MAX: usize = 32_768;
/// The largest input of a chained invocation, and the largest result of one, in bytes.
pub const DURABLE_CHAINED_BYTES_MAX: usize = 1024 * 1024;
/// About what the operations in the event of a durable function hold; the rest is read page by page.
pub const DURABLE_ENVELOPE_BYTES: usize = 5 * 1024 * 1024;
/// Operations or events on a page, where nothing else is asked for, and at most.
pub const DURABLE_PAGE: usize = 100;
/// The largest such page.
pub const DURABLE_PAGE_MAX: usize = 1_000;
/// How long a checkpoint is answered again to the same client token: 15 minutes.
pub const DURABLE_ANSWER_KEPT_MS: i64 = 15 * 60 * 1000;
/// How long the records of an execution that is over are kept, in days, where the function says nothing.
pub const DURABLE_RETENTION_DAYS: u32 = 14;
/// How long a synchronous call waits for an execution.
pub const DURABLE_WAIT: Duration = Duration::from_secs(15 * 60);
/// Invocations of an execution that may fail one after the other, before the execution fails.
pub const DURABLE_FAILURES_MAX: u32 = 5;
/// How long after an invocation that failed the next one follows, in milliseconds.
pub const DURABLE_RETRY_MS: i64 = 5_000;
/// How long after an invocation that found no room the next one follows, in milliseconds.
pub const DURABLE_THROTTLED_MS: i64 = 1_000;
/// Executions that are driven at one time.
pub const DURABLE_AT_ONCE: usize = 512;
/// Chained invocations that run at one time.
pub const DURABLE_CHAINED_AT_ONCE: usize = 256;
/// Rows of an execution that one transaction removes.
pub const DURABLE_PURGE_ROWS_AT_ONCE: usize = 2_000;
/// Deployments that one worker unpacks at one time.
pub const DEPLOYMENTS_AT_ONCE: usize = 2;
/// Deployments that are under way at one time, most of them waiting: container images have limits of their own, and
/// packages shall not wait for them.
pub const DEPLOYMENTS_BEGUN_MAX: usize = 64;
/// Published versions that are made runnable at one time; a snapshot may take minutes.
pub const VERSIONS_AT_ONCE: usize = 4;
/// Attempts to settle a function before it is marked failed.
pub const DEPLOYMENT_ATTEMPTS_MAX: u32 = 5;
/// How long the address of a function's code is good: 10 minutes, as AWS's.
pub const CODE_LOCATION_S: i64 = 600;
/// How old a blob has to be before it is removed as unused: longer than any request that is about to name it.
pub const BLOB_AGE_MS: i64 = 15 * 60 * 1000;
/// The text of a package's signature.
pub const SIGNATURE_BYTES_MAX: u64 = 1024 * 1024;
/// Versions and aliases of one function that are measured by themselves without being made anew for each call.
pub(crate) const SUBJECTS_KEPT_MAX: usize = 1_000;
