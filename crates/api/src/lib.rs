//! The AWS operations as data: shapes and one constant per operation, generated from the public service models.
//!
//! Each service is a module: [`lambda`], [`apigateway`], [`apigatewayv2`], [`apigatewaymanagementapi`], [`logs`],
//! [`cloudwatch`], [`sts`]. In it, `SERVICE` lists every operation; `CreateFunction` and its like are the marker types that bind
//! a handler's types to the facts; the structs are what handlers take and give; `errors` holds the exceptions.
//!
//! Everything under `generated` is written by `cargo xtask codegen` and never edited. Of `logs`, `cloudwatch` and `sts`, only
//! the operations named in the generator's configuration have types; the others are constants, so that a call of
//! them is answered with a 501 that names them.
//!
//! The crate decides nothing: `gatemill-wire` binds and validates, the services' crates handle.

mod describe;
#[allow(
    missing_docs,
    reason = "a field's documentation is its name and its shape; the models' texts are not copied"
)]
mod generated;
pub mod undeclared;

#[cfg(test)]
mod tests;

use gatemill_wire::Service;

pub use generated::{
    apigateway, apigatewaymanagementapi, apigatewayv2, cloudwatch, lambda, logs, sts,
};

/// Every service of which at least the operations are known.
pub fn services() -> &'static [&'static Service] {
    generated::SERVICES
}
