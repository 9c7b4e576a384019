//! Gatemill as a *client* of AWS-compatible services: the queues, topics, streams and buckets that functions are
//! fed from and answer to, at AWS itself or at any server that speaks its protocols.
//!
//! The operator says which services there are and where ([`Services`]); what is not configured is not called. A call
//! is a [`Request`] in one of AWS's three protocols (JSON, query, REST), signed with Signature Version 4, bounded in
//! bytes and time, tried again with jitter where that helps, and answered with bytes or with a typed [`Error`] that
//! carries the service's own code.
//!
//! ```
//! # async fn example(client: &gatemill_aws::Client) -> Result<(), gatemill_aws::Error> {
//! use gatemill_aws::{Endpoint, Request, Service};
//! let queues: Endpoint = client.endpoint(Service::Sqs, Some("eu-west-1"))?;
//! let body = serde_json::json!({"QueueUrl": queues.url("/123456789012/q"), "MessageBody": "hello"});
//! let answer = client.call(&queues, Request::json("AmazonSQS.SendMessage", &body)?).await?;
//! # let _ = answer; Ok(()) }
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | `services` | which services are configured, and where each is for a region |
//! | `request` | a call, in one of the protocols |
//! | `client` | signing, sending, time-outs, retries |
//! | `error` | what went wrong, and whether it may go right later |
//!
//! It knows no operation: whoever calls a service knows what to ask it. It follows no redirections, and has no
//! credentials of its own.

mod client;
mod error;
pub mod limits;
mod request;
mod services;

pub use client::{Answer, Client, Stream};
pub use error::Error;
pub use request::Request;
pub use services::{Credentials, Endpoint, Service, ServiceSettings, Services};
