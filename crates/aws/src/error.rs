//! What can go wrong in a call to another service.

use http::StatusCode;

use crate::Service;

/// Why a call had no success. `Display` says what the service said; it belongs into logs and into records for the
/// owner of the function, and holds no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The operator did not say where the service is.
    #[error("no endpoint is configured for the service {0}")]
    NotConfigured(Service),
    /// The service refused, or failed.
    #[error("{code}: {message}")]
    Service {
        /// The HTTP status.
        status: StatusCode,
        /// The service's code, without a namespace: `QueueDoesNotExist`. Of an answer without one, the status.
        code: String,
        /// What the service says about it.
        message: String,
    },
    /// No connection, or it broke off.
    #[error("the service cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time. What was asked for may have happened.
    #[error("the service does not answer in time")]
    TimedOut,
    /// The answer is longer than any that the service gives.
    #[error("the service's answer is too long")]
    AnswerTooLarge,
    /// The request is longer than any that the service takes.
    #[error("the request is too long")]
    RequestTooLarge,
    /// The request cannot be made: a header, the address or the body is not valid.
    #[error("the request cannot be made: {0}")]
    Unsendable(String),
    /// The answer is not what the protocol says.
    #[error("the service's answer cannot be read: {0}")]
    Unreadable(String),
}

impl Error {
    /// The service's code, if it answered.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Service { code, .. } => Some(code),
            Self::NotConfigured(_)
            | Self::Unreachable(_)
            | Self::TimedOut
            | Self::AnswerTooLarge
            | Self::RequestTooLarge
            | Self::Unsendable(_)
            | Self::Unreadable(_) => None,
        }
    }

    /// Whether the service asks to be called less often.
    pub fn is_throttle(&self) -> bool {
        /// The codes by which AWS's services say so.
        const CODES: &[&str] = &[
            "BandwidthLimitExceeded",
            "EC2ThrottledException",
            "KMSThrottlingException",
            "LimitExceededException",
            "PriorRequestNotComplete",
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "RequestThrottled",
            "RequestThrottledException",
            "SlowDown",
            "ThrottledException",
            "Throttling",
            "ThrottlingException",
            "TooManyRequestsException",
            "TransactionInProgressException",
        ];
        match self {
            Self::Service { status, code, .. } => {
                *status == StatusCode::TOO_MANY_REQUESTS || CODES.contains(&code.as_str())
            }
            _ => false,
        }
    }

    /// Whether the same call may go right later: it was throttled, the service failed, or was not reached.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Service { status, .. } => status.is_server_error() || self.is_throttle(),
            Self::Unreachable(_) | Self::TimedOut => true,
            Self::NotConfigured(_)
            | Self::AnswerTooLarge
            | Self::RequestTooLarge
            | Self::Unsendable(_)
            | Self::Unreadable(_) => false,
        }
    }
}
