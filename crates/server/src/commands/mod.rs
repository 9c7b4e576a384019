//! One file per command.

pub(crate) mod check_config;
pub(crate) mod demo;
pub(crate) mod generate;
pub(crate) mod operations;
pub(crate) mod run;
pub(crate) mod runtime;
mod runtime_image;
