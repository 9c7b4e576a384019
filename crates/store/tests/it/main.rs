//! The store's tests: one program, one link step.

mod engines;
mod golden;
mod group_commit;
mod keys;
mod kill;
mod model;
mod opening;
mod power_cut;
mod random;
