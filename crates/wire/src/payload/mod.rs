//! HTTP requests as functions get them, and answers as functions give them: payload format 2.0, which HTTP APIs and
//! function URLs share.
//!
//! Pure: requests are heads and bytes, answers are heads and bytes. Which request goes to which function, and what else
//! an answer needs, is their callers' business.

pub mod answer;
pub mod cors;
pub mod event;
pub mod headers;
pub mod host;

pub use answer::{Answer, Malformed};
pub use cors::CorsPolicy;
pub use event::{Decision, EventAuthorizer, EventBody, EventV2, IamAuthorizer};
pub use headers::{EventHeaders, Origin};
