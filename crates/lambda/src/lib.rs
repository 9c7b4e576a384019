//! Functions and their life: the control plane, the invoke path, execution environments.
//!
//! A function is a record in the store. What runs of it is a *version*, an immutable snapshot; a version runs in
//! *instances*, execution environments that serve one call at a time. Three things happen here:
//!
//! * operations change records, each in one transaction (`control`, one file per family);
//! * workers see records and act on them: unpack code, settle versions, end what is over, pass logs on (`worker`);
//! * calls run: `resolve → admit → place → exchange → settle` (`invoke`).
//!
//! | module | what it holds |
//! |---|---|
//! | `control` | the handlers, the route table |
//! | `invoke` | the second path, one file per word |
//! | `answer` | where an answer goes while it is given: whole, or in pieces |
//! | `instance`, `wires`, `frame` | one environment: its states, its descriptors, the codec of our clients |
//! | `external`, `shutdown` | extensions that are programs of their own, and how they are told of the end |
//! | `runtime_api` | the codec of AWS's clients, and what else processes inside find at its address |
//! | `pool`, `governor`, `start`, `parked`, `uid` | idle environments, making new ones, and before anybody calls |
//! | `load`, `bucket`, `provisioned` | how many calls and environments may be |
//! | [`destination`] | whom records of events and of streams are sent to |
//! | `events` | asynchronous invocation: events that are accepted now and run later |
//! | `mapping` | event source mappings: their records, and who knows sources |
//! | `url` | function URLs: what requests to them see, and what they get |
//! | `call_log`, `log_pump`, `report`, `failure` | log lines, and what callers read of failures |
//! | `code`, `code_store`, `zip_intake` | what runs, on the disk; packages there, and zips from strangers |
//! | `entrypoint`, `image_start` | programs that functions bring themselves, alone or in a container image |
//! | `measure` | what is measured of calls, and their spans |
//! | `trace`, `vault` | which calls are sampled, and environment variables at rest |
//! | `signature`, `signing_record` | who signed a package, and what is stored about who may |
//! | `record`, `layer_record`, `target`, `limits`, `error` | what is stored, names, bounds, errors |
//!
//! What it does not do: it listens on nothing, checks no signature, stores no log line, and isolates nothing itself.

mod ahead;
mod answer;
mod bucket;
mod call;
mod call_log;
mod code;
mod code_store;
mod control;
pub mod destination;
mod durable;
mod entrypoint;
mod environment_variables;
mod error;
mod events;
mod eviction;
mod external;
mod failure;
mod flights;
mod frame;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod governor;
mod image_start;
mod instance;
mod invoke;
mod lambda;
mod layer_record;
mod left;
pub mod limits;
mod load;
mod log_pump;
mod log_sink;
pub mod mapping;
mod measure;
mod pace;
mod parked;
mod pool;
mod provisioned;
mod provisioned_worker;
mod record;
mod report;
mod role;
mod run_to_end;
mod runtime_api;
mod shard;
mod shutdown;
mod signature;
mod signing_record;
mod snap_start;
mod start;
mod target;
mod trace;
mod uid;
mod url;
mod vault;
mod version_worker;
mod wires;
mod worker;
mod zip_intake;

pub use answer::{ResponseStream, StreamEnd, StreamEvent, Streaming};
pub use call::{Author, Invocation, Outcome};
pub use control::{code::CodeDownloadError, gaps::GAPS, routes::table};
pub use error::Error;
pub use events::{EventCounts, EventStatus};
pub use lambda::{Lambda, Parts, Settings, Status};
pub use load::Throttle;
pub use log_sink::{LogEvent, LogSink, LogStream};
pub use parked::ParkingSettings;
pub use role::{RoleCredentials, RoleSession, Roles};
pub use runtime_api::AwsEndpoint;
pub use shard::enter_shard;
pub use target::FunctionTarget;
pub use url::{FunctionUrl, UrlArrival, UrlCaller, UrlTarget, unknown_url};
pub use worker::Worker;
pub use zip_intake::BadZip;
