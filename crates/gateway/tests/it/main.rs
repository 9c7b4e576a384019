//! Drives the gateway as the server does: operations through the route table, requests through the proxy path, with
//! the memory engine, functions that are test doubles, and real HTTP servers on the loopback.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod authorizers;
mod control;
mod deployment;
mod domains;
mod hostile;
mod http_proxy;
mod lambda_proxy;
mod mappings;
mod observed;
mod on_the_wire;
mod openapi;
mod scale;
mod world;
