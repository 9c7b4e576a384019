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
