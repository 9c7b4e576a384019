//! Durable functions: executions that outlive their invocations.
//!
//! A durable function is invoked again and again with what it did so far (`envelope`), and tells what it does next by
//! checkpoints (`checkpoint`). Steps, waits, callbacks and invocations of other functions are operations of an execution;
//! the execution, its operations and its history are records (`record`) that change in transactions (`execution`,
//! `transitions`). A worker (`driver`) invokes the function whenever there is something for it to do; another one
//! (`chained`) invokes the functions that executions wait for. Everything survives kill -9: what was acknowledged is a
//! record, and whatever a dead server was doing is due again.
//!
//! Behaviour: `lambda.md` §25, which rests on AWS's public SDK and local runner. What this does not do: executions of a
//! function that is deleted fail at their next invocation, where AWS drains them first.

pub(crate) mod arn;
pub(crate) mod chained;
mod checkpoint;
pub(crate) mod driver;
mod envelope;
pub(crate) mod execution;
pub(crate) mod record;
pub(crate) mod start;
pub(crate) mod transitions;
pub(crate) mod view;
mod wait;

pub(crate) use checkpoint::error_of;
pub(crate) use wait::{Waiting, begin, run};
