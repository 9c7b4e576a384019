//! The runtime clients, driven over a socket pair the way the server does, without a sandbox.
//!
//! Every case runs on every interpreter of its language that this machine has; a machine without any
//! fails. Further interpreters are taken from the directories in `GATEMILL_TEST_RUNTIMES`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod harness;
mod nodejs;
mod nodejs_stream;
mod python;
