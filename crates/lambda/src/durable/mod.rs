//! Durable functions: executions that outlive their invocations.
//!
//! A durable function is invoked again and again with what it did so far (`envelope`), and tells what it does next by
//! checkpoints (`checkpoint`). Steps, waits, callbacks and invocations of other functions are operations of an execution;
//! the execution, its operations and its history are records (`record`) that change in transactions (`execution`,
//! `transitions`). A worker (`driver`) invokes the function whenever there is something for it to do; another one
//! (`chained`) invokes the functions that executions wait for. Everything survives kill -9: what was acknowledged is a
//! record, and whatever a dead server was doing is due again.
//!
//! A function that is deleted while executions run goes when they are over (`drain`). Behaviour: `lambda.md` §25, which rests
//! on AWS's public SDK and local runner.

pub(crate) mod arn;
pub(crate) mod chained;
mod checkpoint;
mod dead_letter;
pub(crate) mod drain;
pub(crate) mod driver;
mod envelope;
pub(crate) mod execution;
pub(crate) mod record;
pub(crate) mod start;
pub(crate) mod transitions;
pub(crate) mod view;
mod wait;

pub(crate) use checkpoint::error_of;
pub(crate) use dead_letter::Event;
pub(crate) use wait::{Waiting, begin, run};
