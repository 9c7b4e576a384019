//! The real binary, on a port of its own and in a directory of its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has to panic")]

mod command_line;
mod credentials;
mod functions;
mod operations;
mod requests;
mod stopping;
mod world;
