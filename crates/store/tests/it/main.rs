//! The store's tests: one program, one link step.

#![expect(clippy::unwrap_used, reason = "a test's own functions panic as its test does")]

mod engines;
mod golden;
mod group_commit;
mod keys;
mod kill;
mod model;
mod opening;
mod power_cut;
mod queue_model;
mod random;
