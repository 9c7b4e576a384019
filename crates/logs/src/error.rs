//! What can go wrong in CloudWatch Logs, and the AWS error that each becomes.

use gatemill_api::logs::errors;
use gatemill_wire::{ApiError, Gap, error::common};

/// Why a call or an append failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No group has this name.
    #[error("The specified log group does not exist.")]
    NoGroup,
    /// No stream of the group has this name.
    #[error("The specified log stream does not exist.")]
    NoStream,
    /// The ARN names nothing that has tags.
    #[error("The specified resource does not exist.")]
    NoResource,
    /// The group is there already.
    #[error("The specified log group already exists")]
    GroupExists,
    /// The stream is there already.
    #[error("The specified log stream already exists")]
    StreamExists,
    /// A parameter that passed the checks by shape and is still wrong; the text is AWS's.
    #[error("{0}")]
    InvalidParameter(String),
    /// More tags than a group may have.
    #[error("The number of tags exceeds the limit of 50 tags per resource.")]
    TooManyTags,
    /// A setting that nothing here would enforce.
    #[error("{0}")]
    NotBuilt(&'static Gap),
    /// The writer has ended, so nothing more can become durable.
    #[error("the log writer has ended")]
    Ended,
    /// A thread that reads for a call died.
    #[error("a read did not end")]
    Interrupted,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] gatemill_store::Error),
}

impl Error {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidParameter(message.into())
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let shape = match &error {
            Error::NoGroup | Error::NoStream | Error::NoResource => {
                &errors::RESOURCE_NOT_FOUND_EXCEPTION
            }
            Error::GroupExists | Error::StreamExists => &errors::RESOURCE_ALREADY_EXISTS_EXCEPTION,
            Error::InvalidParameter(_) => &errors::INVALID_PARAMETER_EXCEPTION,
            Error::TooManyTags => &errors::TOO_MANY_TAGS_EXCEPTION,
            Error::NotBuilt(_) => &common::NOT_IMPLEMENTED,
            Error::Ended | Error::Interrupted => {
                return ApiError::internal(&errors::SERVICE_UNAVAILABLE_EXCEPTION, error);
            }
            Error::Store(source) => {
                return ApiError::internal(&errors::SERVICE_UNAVAILABLE_EXCEPTION, source);
            }
        };
        ApiError::new(shape, error.to_string())
    }
}
