//! What can go wrong with identities.

use std::{io, path::PathBuf};

use gatemill_wire::{ApiError, error::common};

/// Why identities could not be opened or a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The default account is not twelve digits.
    #[error("'{account}' is not an account: twelve digits are needed")]
    NotAnAccount {
        /// What was given.
        account: String,
    },
    /// The key file could not be made or read.
    #[error("cannot {doing} {}", .path.display())]
    KeyFile {
        /// What was attempted, as a verb.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The key file is not one that Gatemill wrote.
    #[error("{} is not a key of {KEY_FILE_BYTES} bytes", .path.display(), KEY_FILE_BYTES = crate::limits::KEY_FILE_BYTES)]
    NotAKey {
        /// Which file.
        path: PathBuf,
    },
    /// Keys are stored, and the file that their secrets are encrypted with is gone.
    #[error("{} is missing, and without it the stored access keys cannot be read; restore it from a backup", .path.display())]
    KeyFileMissing {
        /// Which file.
        path: PathBuf,
    },
    /// A stored secret does not decrypt with the key file.
    #[error("the secret of access key {access_key_id} does not decrypt with the key file")]
    WrongKey {
        /// The key whose secret it is.
        access_key_id: String,
    },
    /// A role, a name or a lifetime that no session can have.
    #[error("a session cannot have this role, name or lifetime")]
    NotASession,
    /// The cryptographic library refused.
    #[error("a secret could not be encrypted")]
    Encrypt,
    /// More access keys are stored than may be kept.
    #[error("more than {max} access keys are stored", max = crate::limits::ACCESS_KEYS_MAX)]
    TooManyKeys,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] gatemill_store::Error),
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::NotAnAccount { .. }
            | Error::KeyFile { .. }
            | Error::NotAKey { .. }
            | Error::KeyFileMissing { .. }
            | Error::WrongKey { .. }
            | Error::NotASession
            | Error::Encrypt
            | Error::TooManyKeys
            | Error::Store(_) => ApiError::internal(&common::INTERNAL_FAILURE, error),
        }
    }
}
