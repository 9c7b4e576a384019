//! AWS over HTTP: what every AWS API of Gatemill has in common.
//!
//! The crate knows how AWS's clients sign, encode and name things, and it knows nothing of functions or
//! APIs. It is pure: it reads no clock, no randomness, no file and no socket; [`Cx`] brings those in.
//!
//! | module | what it holds |
//! |---|---|
//! | [`serve`](mod@serve) | the path that serves an API call, top to bottom |
//! | [`operation`] | what an operation is: service, method, path, shapes, errors |
//! | [`gap`] | which members of its input are not honoured |
//! | [`shape`] | the static description of a shape: members, where they travel, constraints |
//! | [`routes`] | the table that binds operations to handlers |
//! | [`sigv4`] | Signature Version 4: what a request claims, and whether it holds |
//! | `signer` | Signature Version 4 of requests that we send |
//! | [`protocol`], [`cbor`] | rest-json, JSON 1.0/1.1, query and RPC v2: requests in, responses and errors out |
//! | [`body`], [`event_stream`] | bodies that come in pieces, and the encoding of events in them |
//! | [`payload`] | HTTP requests as functions get them, and answers as they give them |
//! | [`validate`] | constraint violations, in AWS's words |
//! | [`arn`], [`function_ref`] | names: ARNs, and the forms in which a function is named |
//! | [`pagination`], [`time`], [`blob`] | tokens, timestamps, base64 members |
//!
//! It does not read bodies from the network (the server does, with a limit) and does not decide who may do
//! what (an [`Authorizer`] does).

pub mod arn;
pub mod blob;
pub mod body;
pub mod cbor;
pub mod cx;
pub mod error;
pub mod event_stream;
pub mod function_ref;
pub mod gap;
pub mod limits;
pub mod operation;
pub mod pagination;
pub mod payload;
pub mod percent;
pub mod protocol;
pub mod routes;
pub mod serve;
pub mod shape;
mod signer;
pub mod sigv4;
#[cfg(test)]
mod test_service;
pub mod time;
pub mod validate;

pub use arn::Arn;
pub use blob::Blob;
pub use body::{Body, BrokenOff, Pieces, Streamed, Typed};
pub use cx::{Caller, Clock, Cx, Entropy, RequestId};
pub use error::{ApiError, ErrorShape, Fault};
pub use function_ref::{FunctionRef, Qualifier};
pub use gap::{Gap, Treatment};
pub use operation::{Input, Operation, OperationInfo, Output, Protocol, Service};
pub use routes::{Routes, Served, Table};
pub use serve::{
    Arrival, Authorizer, Called, Credential, Credentials, Front, Passage, Presented, Recorder,
    RoutedAs, Unusable, Verification, serve,
};
pub use shape::{Kind, Location, Member, Shape, TimestampFormat};
pub use signer::Signer;
pub use time::{EpochSeconds, Iso8601, Timestamp};
