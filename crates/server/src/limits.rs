//! Every limit of the front: connections, headers, bodies, waits, restarts.
//!
//! What AWS limits is named with AWS's figure; the others keep one client from using up the machine.

use std::time::Duration;

/// The largest body of an AWS API call: a 50 MB package in base64 with its envelope, AWS's own figure.
pub(crate) const API_BODY_BYTES_MAX: usize = 70_167_211;
/// What is read and thrown away of a body that is too large, so that the client, which reads the answer only after
/// it has sent everything, gets AWS's error and not a broken connection.
pub(crate) const API_BODY_DISCARD_BYTES_MAX: usize = 4 * API_BODY_BYTES_MAX;
/// The largest body that is read for a caller whose access key nobody has: enough to name the operation.
pub(crate) const STRANGER_BODY_BYTES_MAX: usize = 64 * 1024;
/// The memory that all bodies being read may take together; further large calls wait.
pub(crate) const API_BODIES_BYTES_MAX: usize = 512 * 1024 * 1024;
/// A body up to this size is read without a share of [`API_BODIES_BYTES_MAX`].
pub(crate) const API_BODY_FREE_BYTES: usize = 256 * 1024;
/// The largest answer that a function is given to a call of AWS's APIs: a function's answer of 6 MB and what is around it.
pub(crate) const INSIDE_ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The slowest that a body may come, on the whole: after [`BODY_IDLE_MAX`], in bytes.
pub(crate) const BODY_BYTES_PER_SECOND_MIN: u64 = 1_024;
/// How long a body may pause between two pieces.
pub(crate) const BODY_IDLE_MAX: Duration = Duration::from_secs(30);

/// How long a connection may take to send a request's head; it is also how long an idle one is kept, how long one may say
/// nothing that is a request at all, and how long one may take nothing of what it is sent.
pub(crate) const HEAD_WAIT_MAX: Duration = Duration::from_secs(75);
/// The largest head of a request over HTTP/1.1 (API Gateway allows 10,240 bytes of headers and checks them itself). It has 100
/// headers at most, hyper's own figure, whose list is then on the stack; AWS counts bytes alone. One with more is answered 431,
/// as one with more bytes is.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The largest piece of a body over HTTP/2.
pub(crate) const HTTP2_PIECE_BYTES: usize = 64 * 1024;
/// The largest header list over HTTP/2.
pub(crate) const HTTP2_HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;
/// How long a client may take for the handshake of TLS.
pub(crate) const HANDSHAKE_WAIT_MAX: Duration = Duration::from_secs(15);
/// How often the directory of certificates is looked at.
pub(crate) const CERTIFICATES_LOOK_EVERY: Duration = Duration::from_secs(1);
/// Certificates in that directory.
pub(crate) const CERTIFICATES_MAX: usize = 1_000;
/// The largest file of a certificate with its chain, or of a key.
pub(crate) const CERTIFICATE_BYTES_MAX: u64 = 1024 * 1024;
/// Concurrent streams of one HTTP/2 connection: API Gateway's figure.
pub(crate) const HTTP2_STREAMS_MAX: u32 = 128;
/// How often an HTTP/2 connection is asked whether it lives.
pub(crate) const HTTP2_PING_EVERY: Duration = Duration::from_secs(60);
/// Connections that wait to be accepted, per listener.
pub(crate) const BACKLOG: i32 = 4096;
/// Of the process's file descriptors, the part that connections may take; the rest is for environments and files.
pub(crate) const CONNECTION_DESCRIPTORS_PART: u64 = 2;
/// The wait after an accept failed for want of descriptors or memory.
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Data-plane threads that may be configured.
pub(crate) const THREADS_MAX: usize = 256;
/// The longest drain that may be configured: the longest a function may run, 15 minutes.
pub(crate) const DRAIN_SECONDS_MAX: u64 = 900;
/// How long stopping waits for each step that is not the drain.
pub(crate) const STOP_STEP_MAX: Duration = Duration::from_secs(10);
/// The longest wait for clients that may be configured: a week.
pub(crate) const WAIT_SECONDS_MAX: u64 = 7 * 24 * 60 * 60;
/// The largest configuration file.
pub(crate) const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// The first wait before a worker that failed is started again; it doubles each time.
pub(crate) const WORKER_RETRY_FIRST: Duration = Duration::from_millis(100);
/// The longest such wait.
pub(crate) const WORKER_RETRY_MAX: Duration = Duration::from_secs(30);
/// A worker that lived this long starts again at [`WORKER_RETRY_FIRST`].
pub(crate) const WORKER_HEALTHY: Duration = Duration::from_secs(60);

/// How long the demo waits for its function to become active.
pub(crate) const DEMO_ACTIVE_MAX: Duration = Duration::from_secs(60);
/// How long one request of the demo may take.
pub(crate) const DEMO_CALL_MAX: Duration = Duration::from_secs(60);
/// The largest answer that the demo reads: a picture.
pub(crate) const DEMO_ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How much of what pip says is shown when it fails.
pub(crate) const DEMO_PIP_SAYS_MAX: u64 = 64 * 1024;
/// How long a restart waits for connections to end with their next answer before it closes those that rest.
pub(crate) const LEAVE_WAIT: Duration = Duration::from_millis(300);
/// How often each data-plane thread wakes for its armed timer: sooner than the shortest time-out of a call, one second.
pub(crate) const TIMER_ARMED_EVERY: Duration = Duration::from_millis(500);
/// Threads that measure beside those of the data plane, and are told apart as they do.
pub(crate) const METER_LANES_BESIDE: usize = 2;
/// Spans that wait to be exported; further ones are dropped.
pub(crate) const OTLP_QUEUE_SPANS_MAX: usize = 4_096;
/// Spans that one request to the receiver carries.
pub(crate) const OTLP_BATCH_SPANS_MAX: usize = 512;
/// How often spans are sent before they are given up.
pub(crate) const OTLP_TRIES_MAX: u32 = 4;
/// The first pause between two of these; it doubles.
pub(crate) const OTLP_RETRY_FIRST: Duration = Duration::from_millis(100);
/// How long the receiver may take for an answer, and a stop for the last spans.
pub(crate) const OTLP_WAIT_MAX: Duration = Duration::from_secs(5);
