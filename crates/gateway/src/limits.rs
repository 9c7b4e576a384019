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
/// Characters of the name of a route's operation: AWS's 64.
pub const OPERATION_NAME_MAX: usize = 64;
/// Entries on a page when the caller asks for no number.
pub const PAGE_DEFAULT: usize = 100;
/// Entries on a page of `apigateway` when the caller asks for no number: AWS's 25.
pub const REST_PAGE_DEFAULT: usize = 25;
/// API keys of an account in a region: AWS's 10,000.
pub const API_KEYS_MAX: usize = 10_000;
/// Usage plans of an account in a region: AWS's 300.
pub const USAGE_PLANS_MAX: usize = 300;
/// Usage plans that one API key is in: AWS's 10.
pub const PLANS_PER_KEY_MAX: usize = 10;
/// Routes of one stage that a usage plan has limits of their own for: AWS's 20.
pub const PLAN_ROUTES_PER_STAGE_MAX: usize = 20;
/// Characters of an API key's value: AWS's 128. What is longer is none, and is not kept of a connection.
pub const API_KEY_VALUE_MAX: usize = 128;
/// Days of usage that are kept, and told at once: a year.
pub const USAGE_DAYS_MAX: u64 = 366;
/// Days too old for that which go with each new one.
pub const USAGE_DAYS_FORGOTTEN: usize = 8;
/// In how many blocks a quota is reserved: after a kill a key has lost one of them at most.
pub const QUOTA_BLOCKS: i32 = 20;
/// Calls of a quota that are reserved at once, however large it is.
pub const QUOTA_BLOCK_MAX: i64 = 1_000;
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
/// Idle connections that one thread keeps to one host.
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
/// Authorizers of one API: AWS's 10.
pub const AUTHORIZERS_PER_API_MAX: usize = 10;
/// Audiences of a JWT authorizer: AWS's 50.
pub const AUDIENCES_MAX: usize = 50;
/// Scopes that a route names: AWS's 10.
pub const SCOPES_PER_ROUTE_MAX: usize = 10;
/// Identity sources of an authorizer. AWS names no number.
pub const IDENTITY_SOURCES_MAX: usize = 50;
/// Longest time that a function's answer about a request is kept: AWS's hour.
pub const AUTHORIZER_TTL_SECONDS_MAX: i32 = 3_600;
/// Longest time that a function may think about a request: AWS's 10 s.
pub const AUTHORIZER_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers of an authorizer kept at once; beyond it those that are over go, and if none is, all.
pub const AUTHORIZER_ANSWERS_MAX: usize = 10_000;
/// Longest answer of a function about a request that is read. AWS limits it to 8 KB for WebSocket APIs.
pub const AUTHORIZER_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Largest discovery document or key set of an issuer: AWS's 150,000 bytes.
pub const JWKS_BYTES_MAX: usize = 150_000;
/// Keys of an issuer that are read.
pub const JWKS_KEYS_MAX: usize = 100;
/// Longest wait for an issuer's documents: AWS's 1.5 s for each.
pub const JWKS_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long an issuer's keys are used without asking for them anew.
pub const JWKS_FRESH_MS: i64 = 3_600_000;
/// How long an issuer's keys are used when they cannot be had anew: AWS's two hours.
pub const JWKS_STALE_MS: i64 = 7_200_000;
/// Shortest time between two questions to one issuer, whatever tokens come.
pub const JWKS_RETRY_MS: i64 = 5_000;
/// Issuers whose keys are kept; beyond it all are forgotten.
pub const ISSUERS_MAX: usize = 1_024;
/// How far the clock of an issuer may be from ours. AWS names no number.
pub const CLOCK_SKEW_SECONDS: i64 = 60;
/// Longest body that is looked into for a mapping: AWS's 100 KB.
pub const MAPPED_BODY_BYTES_MAX: usize = 102_400;
/// VPC links of an account in a region: AWS's 10.
pub const VPC_LINKS_MAX: usize = 10;
/// Lines of access logs that may wait; beyond it lines are lost.
pub const ACCESS_LOG_WAITING_MAX: usize = 10_000;
/// Lines of access logs that are passed on at once.
pub const ACCESS_LOG_BATCH_MAX: usize = 1_000;
/// Longest format of an access log: AWS's 3 KB.
pub const ACCESS_LOG_FORMAT_BYTES_MAX: usize = 3_072;
/// How often usage is stored: what a crash may lose.
pub const USAGE_EVERY: Duration = Duration::from_secs(10);
/// Rows of usage that are read at once.
pub const USAGE_ROWS_MAX: usize = 10_000;
/// Bytes of a trust store: AWS's 1 MB.
pub const TRUSTSTORE_BYTES_MAX: usize = 1024 * 1024;
/// Certificates of a trust store: AWS's 1,000.
pub const TRUSTSTORE_CERTIFICATES_MAX: usize = 1_000;
/// Domains of this server. AWS starts at 120 for an account.
pub const DOMAINS_MAX: usize = 1_000;
/// Mappings of one domain: AWS's 200 of several levels.
pub const MAPPINGS_PER_DOMAIN_MAX: usize = 200;
/// Rules of one domain: AWS's 50.
pub const RULES_PER_DOMAIN_MAX: usize = 50;
/// Largest priority of a rule: AWS's.
pub const RULE_PRIORITY_MAX: i32 = 1_000_000;
/// Characters of a mapping's key: AWS's 300.
pub const MAPPING_KEY_MAX: usize = 300;
/// The bytes of a message that count as one: AWS's price list has 32 KB.
pub const MESSAGE_UNIT_BYTES: usize = 32 * 1024;
/// Bytes of a definition that is imported: AWS's 6 MB.
pub const DEFINITION_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Values in a definition written in YAML, with what its aliases stand for.
pub const DEFINITION_NODES_MAX: usize = 300_000;
/// How deep values stand in each other in a definition written in YAML; JSON has serde's 128.
pub const DEFINITION_DEPTH_MAX: usize = 64;
/// What is said about one definition, of each kind.
pub const DEFINITION_NOTES_MAX: usize = 100;
/// Schemas that one model's schema may be made of, those of the models that it refers to included.
pub const SCHEMA_NODES_MAX: usize = 10_000;
/// Schemas that are asked of one message: about 10 ms of one core.
pub const SCHEMA_STEPS_MAX: usize = 100_000;
/// How deep schemas may stand in each other, and how deep the check of a message may go; it bounds the stack.
pub const SCHEMA_DEPTH_MAX: usize = 128;
