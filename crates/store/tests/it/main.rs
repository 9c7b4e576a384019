//! The store's tests: one program, one link step.

mod engines;
