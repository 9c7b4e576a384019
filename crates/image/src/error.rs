//! What can go wrong with an image. Which of it is the customer's fault, AWS's words for it and whether to try again are
//! for the caller to say.

use std::io;

use crate::limits::UNPACKED_BYTES_MAX;

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator's settings do not allow images from there.
    #[error("images from {0} are not allowed by the settings")]
    NotAllowed(String),
    /// The registry has no such image.
    #[error("the image does not exist")]
    NotFound,
    /// The registry wants other credentials.
    #[error("the registry refuses access to the image")]
    Denied,
    /// A kind of manifest, configuration or layer that is not known, or none for this machine.
    #[error("the image is not supported: {0}")]
    Unsupported(&'static str),
    /// What the registry gave is broken or hostile.
    #[error("the image is not valid: {0}")]
    Invalid(&'static str),
    /// Unpacked it would be too large.
    #[error("the image is larger than {UNPACKED_BYTES_MAX} bytes or has too many files")]
    TooLarge,
    /// The registry does not answer, or says that it is busy. May be different in a moment.
    #[error("the registry cannot be reached: {0}")]
    Unreachable(String),
    /// The settings for registries are wrong.
    #[error("the settings for registries: {0}")]
    Settings(String),
    /// A file of ours.
    #[error("could not {doing}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The work was given up in the middle.
    #[error("getting the image was interrupted")]
    Interrupted,
}

impl Error {
    /// For `map_err`.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }

    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Io { .. } | Self::Interrupted => true,
            Self::NotAllowed(_)
            | Self::NotFound
            | Self::Denied
            | Self::Unsupported(_)
            | Self::Invalid(_)
            | Self::TooLarge
            | Self::Settings(_) => false,
        }
    }
}
