//! Where every request goes that is no part of the APIs of an execution environment: to AWS's own APIs.
//!
//! Functions find them at the same address (`AWS_ENDPOINT_URL`), so that they need no way out of their sandbox. The server
//! binds the trait to what answers its own clients.

use bytes::Bytes;
use gatemill_wire::routes::BoxFuture;
use http::{Request, Response};

use crate::FunctionTarget;

/// Answers what functions ask of AWS.
pub trait AwsEndpoint: Send + Sync {
    /// Answers one request of a process in an execution environment of `function`. The signature, if there is one, is
    /// not checked yet; the body is whole, and not longer than
    /// [`API_ENDPOINT_BODY_BYTES_MAX`](crate::limits::API_ENDPOINT_BODY_BYTES_MAX). Faults are answers.
    fn answer(
        &self,
        function: &FunctionTarget,
        request: Request<Bytes>,
    ) -> BoxFuture<'static, Response<Bytes>>;
}
