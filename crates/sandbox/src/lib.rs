//! Execution environments for hostile code: start, talk to, measure and end them.

pub mod runtime;
