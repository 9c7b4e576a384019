//! Limits of the gateway, each with the AWS quota that it mirrors or the reason for it.

use std::time::Duration;

/// Largest body of a request or a response: AWS's 10 MB.
pub const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Request line and headers together: AWS's 10,240 bytes.
pub const HEAD_BYTES_MAX: usize = 10_240;
/// Routes of one API. AWS starts at 300 and raises it on request; this bounds the size of a snapshot.
pub const ROUTES_PER_API_MAX: u32 = 100_000;
/// Integrations of one API. AWS starts at 300 and raises it on request.
pub const INTEGRATIONS_PER_API_MAX: u32 = 100_000;
/// Stages of one API: AWS's 10.
pub const STAGES_PER_API_MAX: usize = 10;
/// Deployments kept of one API. AWS names no number; each pins a version of every route that changed.
pub const DEPLOYMENTS_PER_API_MAX: u32 = 1_000;
/// Variables of one stage: AWS's 100.
pub const STAGE_VARIABLES_MAX: usize = 100;
/// Characters of a stage variable's name: AWS's 64.
pub const STAGE_VARIABLE_NAME_MAX: usize = 64;
/// Characters of a stage variable's value: AWS's 512.
pub const STAGE_VARIABLE_VALUE_MAX: usize = 512;
/// Tags of one resource: AWS's 50.
pub const TAGS_MAX: usize = 50;
/// Characters of a stage's name, by its shape in the service model.
pub const STAGE_NAME_MAX: usize = 128;
/// Characters of a route key, so that a match has a bounded depth. AWS names no number.
pub const ROUTE_KEY_MAX: usize = 1_600;
/// Entries on a page when the caller asks for no number.
pub const PAGE_DEFAULT: usize = 100;
/// Entries on a page at most.
pub const PAGE_MAX: usize = 500;
/// Shortest time-out of an integration: AWS's 50 ms.
pub const TIMEOUT_MS_MIN: i32 = 50;
/// Longest, and default, time-out of an integration: AWS's 30 s.
pub const TIMEOUT_MS_MAX: i32 = 30_000;
/// APIs that may wait for the worker that compiles; one that finds no place is compiled by its next request.
pub const COMPILE_WAITING_MAX: usize = 1_024;
/// The share of one core that compiling ahead of requests may take: it rests this many times as long as it worked.
pub const COMPILE_REST_FACTOR: u32 = 4;
/// The longest rest after one compilation, however long that took.
pub const COMPILE_REST_MAX: Duration = Duration::from_secs(1);
/// Longest wait for a connection to an HTTP integration.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection to an HTTP integration is kept.
pub const UPSTREAM_IDLE: Duration = Duration::from_secs(60);
/// Idle connections kept to one host.
pub const UPSTREAM_IDLE_PER_HOST_MAX: usize = 64;
/// Gateways that a request may have passed, counted in `Via`: an API whose integration is itself ends here.
pub const HOPS_MAX: usize = 10;
/// What is read of a body that is too large before the connection is cut.
pub const BODY_DISCARD_BYTES_MAX: usize = 4 * BODY_BYTES_MAX;
/// Longest time that a client may take to send its body.
pub const BODY_READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest event that a function takes: AWS's 6 MB for synchronous calls.
pub const EVENT_BYTES_MAX: usize = 6_291_456;
/// Longest, and default, time-out of an integration of a WebSocket API: AWS's 29 s.
pub const WEBSOCKET_TIMEOUT_MS_MAX: i32 = 29_000;
/// Integration responses of one integration. AWS names no number; they are one record.
pub const INTEGRATION_RESPONSES_MAX: usize = 100;
/// Models of one API. AWS bounds their size together by 400 KB.
pub const MODELS_PER_API_MAX: usize = 400;
/// Bytes of a model's schema, by its shape in the service model.
pub const MODEL_BYTES_MAX: usize = 32 * 1024;
/// Bytes of a selection expression. AWS names no number.
pub const SELECTION_BYTES_MAX: usize = 1_024;
/// Mapping templates of one integration or integration response together: AWS's 300 KB.
pub const TEMPLATE_BYTES_MAX: usize = 300 * 1024;
/// Steps back that a pattern of an integration response may take on one value.
pub const PATTERN_STEPS_MAX: usize = 10_000;
/// How deep the template of a model follows its schema.
pub const SAMPLE_DEPTH_MAX: usize = 16;
/// Bytes of one frame of a WebSocket client: AWS's 32 KB.
pub const FRAME_BYTES_MAX: usize = 32 * 1024;
/// Bytes of one message over a WebSocket, in either direction: AWS's 128 KB.
pub const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// How long a WebSocket connection may be idle: AWS's 10 minutes.
pub const WEBSOCKET_IDLE_MAX: Duration = Duration::from_secs(10 * 60);
/// How long a WebSocket connection lives: AWS's 2 hours.
pub const WEBSOCKET_LIFE_MAX: Duration = Duration::from_secs(2 * 60 * 60);
/// How often connections are looked over for those whose time is up, at most.
pub const WEBSOCKET_SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Bytes that wait for a client to read them; beyond them, senders are told that its buffer is full.
pub const OUTBOX_BYTES_MAX: usize = 256 * 1024;
/// Messages of one connection that are handled at once; it is not read on meanwhile.
pub const MESSAGES_AT_ONCE_MAX: usize = 8;
/// How long a client may take to answer a close frame.
pub const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// What is read of a client that broke the protocol before the connection is cut.
pub const CLOSE_DISCARD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What is read from a WebSocket at once; it is on the stack, and nothing of it is kept while a connection is idle.
pub const WEBSOCKET_READ_BYTES: usize = 8 * 1024;
/// Deliveries of `$disconnect` that run at once after a start.
pub const DISCONNECTS_AT_ONCE_MAX: usize = 16;
/// How often a `$disconnect` is tried that finds its function throttled.
pub const DISCONNECT_TRIES_MAX: u32 = 5;
/// The first wait before it is tried again; it doubles.
pub const DISCONNECT_RETRY_FIRST: Duration = Duration::from_millis(200);
/// Bytes of what an authorizer says of a connection: AWS's 8 KB.
pub const AUTHORIZER_CONTEXT_BYTES_MAX: usize = 8 * 1024;
