//! What can go wrong between a source and a function.

/// Why a source did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It is asked too often.
    #[error("the source is asked too often")]
    Throttled,
    /// The cursor is too old; another one can be had for its position.
    #[error("the cursor is too old")]
    Expired,
    /// What comes after the position is not kept any more.
    #[error("the records at the position are gone")]
    Trimmed,
    /// There is no such queue or stream.
    #[error("there is no such event source")]
    Missing,
    /// It refuses; in its words.
    #[error("{0}")]
    Refused(String),
    /// It does not answer, or not so that it can be understood.
    #[error("{0}")]
    Unreachable(String),
}

/// Why a call of a function gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// As many run as may.
    #[error("Function call was throttled")]
    Throttled,
    /// It cannot be called now.
    #[error("{0}")]
    Failed(String),
}

impl From<gatemill_aws::Error> for SourceError {
    fn from(error: gatemill_aws::Error) -> Self {
        if error.is_throttle() {
            return Self::Throttled;
        }
        match error.code() {
            Some("ExpiredIteratorException") => Self::Expired,
            Some("TrimmedDataAccessException") => Self::Trimmed,
            Some(
                "ResourceNotFoundException"
                | "QueueDoesNotExist"
                | "AWS.SimpleQueueService.NonExistentQueue",
            ) => Self::Missing,
            Some(_) if !error.is_transient() => Self::Refused(error.to_string()),
            _ => Self::Unreachable(error.to_string()),
        }
    }
}
