//! Tests to come with this module.
