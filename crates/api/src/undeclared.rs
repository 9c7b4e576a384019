//! Exceptions that a service answers with although its model does not declare them.

use gatemill_wire::ErrorShape;

/// What the connections API of API Gateway answers to a request that is not well formed.
pub static BAD_REQUEST_EXCEPTION: ErrorShape = ErrorShape {
    code: "BadRequestException",
    status: 400,
    message_member: Some("message"),
    typed: false,
};
