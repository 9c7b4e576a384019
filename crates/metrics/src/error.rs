//! What can go wrong in CloudWatch metrics, and the AWS error that each becomes.

use gatemill_api::cloudwatch::errors;
use gatemill_wire::{ApiError, Gap, error::common};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter that cannot be; the text is CloudWatch's.
    #[error("{0}")]
    InvalidValue(String),
    /// Parameters that cannot be together.
    #[error("{0}")]
    InvalidCombination(String),
    /// A parameter that has to be there.
    #[error("{0}")]
    Missing(String),
    /// A query that cannot be answered.
    #[error("{0}")]
    Validation(String),
    /// A token that is none of ours.
    #[error("The token specified is invalid.")]
    InvalidToken,
    /// A part of an operation that nothing here does.
    #[error("{0}")]
    NotBuilt(&'static Gap),
    /// The same, with the name that was asked for.
    #[error("{what} is not built in this version of Gatemill: {}.", .gap.why)]
    NotBuiltNamed {
        /// What is refused.
        gap: &'static Gap,
        /// The name, and what it is of.
        what: String,
    },
    /// A thread that reads for a call died.
    #[error("a read did not end")]
    Interrupted,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] gatemill_store::Error),
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let shape = match &error {
            Error::InvalidValue(_) => &errors::INVALID_PARAMETER_VALUE_EXCEPTION,
            Error::InvalidCombination(_) => &errors::INVALID_PARAMETER_COMBINATION_EXCEPTION,
            Error::Missing(_) => &errors::MISSING_REQUIRED_PARAMETER_EXCEPTION,
            Error::Validation(_) => &common::VALIDATION,
            Error::InvalidToken => &errors::INVALID_NEXT_TOKEN,
            Error::NotBuilt(_) | Error::NotBuiltNamed { .. } => &common::NOT_IMPLEMENTED,
            Error::Interrupted => {
                return ApiError::internal(&errors::INTERNAL_SERVICE_FAULT, error);
            }
            Error::Store(source) => {
                return ApiError::internal(&errors::INTERNAL_SERVICE_FAULT, source);
            }
        };
        ApiError::new(shape, error.to_string())
    }
}
