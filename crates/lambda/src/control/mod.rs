//! The control plane: one file per family of operations, and the table that binds them.
//!
//! A handler changes records in one store transaction and returns; workers see the records and act. `Invoke` alone is
//! bound here and belongs to the second path.

pub(crate) mod account;
pub(crate) mod alias;
pub(crate) mod code;
pub(crate) mod code_signing;
pub(crate) mod concurrency;
pub(crate) mod configuration;
pub(crate) mod durable;
mod event_invoke_config;
pub(crate) mod event_source_mapping;
pub(crate) mod function;
pub(crate) mod gaps;
mod image;
pub(crate) mod invoke;
pub(crate) mod layer;
mod layer_policy;
mod mapping_settings;
pub(crate) mod permission;
mod recursion;
pub(crate) mod reference;
pub(crate) mod resource_policy;
pub(crate) mod routes;
pub(crate) mod runtime_management;
pub(crate) mod s3_code;
mod scaling;
pub(crate) mod stream;
pub(crate) mod tag;
pub(crate) mod unbuilt;
pub(crate) mod unenforced;
pub(crate) mod url;
pub(crate) mod version;
pub(crate) mod view;
