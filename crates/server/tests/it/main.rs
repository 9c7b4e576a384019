//! The real binary, on a port of its own and in a directory of its own.

mod command_line;
mod credentials;
mod operations;
mod requests;
mod stopping;
mod world;
