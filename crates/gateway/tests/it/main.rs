//! Drives the gateway as the server does: operations through the route table, requests through the proxy path, with
//! the memory engine, functions that are test doubles, and real HTTP servers on the loopback.

mod control;
mod deployment;
mod hostile;
mod http_proxy;
mod lambda_proxy;
mod scale;
mod world;
