//! Images from end to end, without functions: layouts and a registry of our own that can misbehave.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in what tests share")]

mod layouts;
mod registries;
mod world;
