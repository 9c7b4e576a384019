//! Measurements in memory: what the data plane writes down of each call, and what a worker takes away.
//!
//! The crate is pure: it reads no clock (times come with each measurement), keeps nothing durable and knows no service.
//! It stands on the ground floor because functions and gateway both measure, and neither knows the other.
//!
//! # The cost of a measurement
//!
//! Measurements go into the lane of the thread that makes them, under a lock that no other thread takes while it is at
//! work: [`Meters::collect`] takes a lane's whole content away at once and leaves. A measurement allocates when it is the
//! first of its subject since then, or has a value of a size that its minute has not seen.
//!
//! # What is lost
//!
//! Between two collections a lane holds at most [`limits::LANE_SUBJECTS_MAX`] subjects and minutes; measurements of further
//! ones are counted as overflowed and dropped. What was not collected is gone with the process.
//!
//! | module | what it holds |
//! |---|---|
//! | `meters`, `subject` | the lanes, and what is measured |
//! | `statistic`, `sketch` | count, sum, extremes and percentiles that can be merged |
//! | `span` | the stages of one request, for exporters of traces |

pub mod limits;
mod meters;
mod sketch;
mod span;
mod statistic;
mod subject;

pub use meters::{Measured, Meters};
pub use sketch::Sketch;
pub use span::{Span, SpanKind, SpanSink, Stages, TraceContext};
pub use statistic::Statistic;
pub use subject::{Metric, Subject, Unit};
