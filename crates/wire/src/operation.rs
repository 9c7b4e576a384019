//! What an AWS operation is, as a constant.
//!
//! An operation is named once: here its facts, in its service's crate its handler and one line of that crate's
//! route table. Dispatch, the IAM check, metric labels, the 501 of an unbuilt operation and
//! `docs/compatibility.md` are derived from these constants.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{ErrorShape, Shape};

/// One AWS service, as its model describes it.
#[derive(Debug)]
pub struct Service {
    /// The directory name of its model, such as `apigatewayv2`.
    pub name: &'static str,
    /// The service name in a credential scope; `apigateway` for both generations of API Gateway.
    pub signing_name: &'static str,
    /// How requests and responses are encoded.
    pub protocol: Protocol,
    /// The API version of the model, such as `2015-03-31`.
    pub api_version: &'static str,
    /// The error for violated constraints.
    pub validation: &'static ErrorShape,
    /// The error for a body that is not what the protocol asks for.
    pub malformed: &'static ErrorShape,
    /// Every operation of the model.
    pub operations: &'static [&'static OperationInfo],
}

/// How a service encodes requests and responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Members bound to path, query, headers and a JSON body.
    RestJson,
    /// `X-Amz-Target: <prefix>.<Operation>` and a JSON body.
    Json {
        /// What stands before the dot, such as `Logs_20140328`.
        target_prefix: &'static str,
        /// `1.0` or `1.1`, for the content type.
        version: &'static str,
    },
    /// `Action=<Operation>` in a form; XML out.
    Query {
        /// The XML namespace of responses.
        namespace: &'static str,
    },
    /// Smithy RPC v2 in CBOR. Older clients of such a service speak JSON or query, and are answered in kind.
    RpcV2 {
        /// The service's name in paths, and what stands before the dot in `X-Amz-Target`.
        target_prefix: &'static str,
        /// `1.0` or `1.1`, for the content type of JSON.
        version: &'static str,
        /// The XML namespace of responses to query.
        namespace: &'static str,
    },
}

/// The facts of one operation.
#[derive(Debug)]
pub struct OperationInfo {
    /// Its name, such as `CreateFunction`.
    pub name: &'static str,
    /// Its service.
    pub service: &'static Service,
    /// The HTTP method.
    pub method: &'static str,
    /// The path with its labels, and literal query keys where the model tells two operations apart by them.
    pub uri: &'static str,
    /// The status of a success.
    pub status: u16,
    /// The IAM action that allows it.
    pub action: &'static str,
    /// The shape of its input; `None` where the model has none or its shapes are not generated yet.
    pub input: Option<&'static Shape>,
    /// The shape of its output.
    pub output: Option<&'static Shape>,
    /// The errors that the model declares.
    pub errors: &'static [&'static ErrorShape],
}

/// An operation as a type: binds a handler's types to the facts.
pub trait Operation: 'static {
    /// The facts.
    const INFO: &'static OperationInfo;
    /// What the handler is given.
    type Input: Input;
    /// What the handler answers.
    type Output: Output;
}

/// The input of an operation: decoded from the bound members as JSON; a raw payload arrives apart.
pub trait Input: DeserializeOwned + Send + 'static {
    /// Takes the request's raw body, for operations whose payload is a blob.
    fn set_payload(&mut self, _payload: Bytes) {}
}

/// The output of an operation: encoded as JSON and then bound; a raw payload leaves apart.
pub trait Output: Serialize + Send + 'static {
    /// Gives up the response's raw body, for operations whose payload is a blob.
    fn take_payload(&mut self) -> Option<Bytes> {
        None
    }
}

/// The input or output of operations that have none.
impl Input for () {}
impl Output for () {}
