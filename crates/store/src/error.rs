//! What can go wrong in the store.
//!
//! None of these is the fault of the one who called AWS's API; a service turns each into its
//! internal failure. `Display` says this level alone, the cause is in `source()`.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process holds the directory.
    #[error("the data directory {} is in use by another process", .dir.display())]
    InUse {
        /// The directory given to [`Store::open`](crate::Store::open).
        dir: PathBuf,
    },
    /// The files were written by a later Gatemill, whose format this one does not know.
    #[error("the data has format {found}, this version reads {known}")]
    Format {
        /// The format that the files name.
        found: String,
        /// The format of this version.
        known: u8,
    },
    /// A file could not be read or written.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// What was attempted, as a verb: "write", "rename".
        doing: &'static str,
        /// Which file or directory.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The engine below failed.
    #[error("the record engine could not {doing}")]
    Engine {
        /// What was attempted, as a verb.
        doing: &'static str,
        /// The engine's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The commit that this write was part of failed, or one before it did. Whether it became durable
    /// is unknown until the files are opened again, which the next write after
    /// [`limits::REOPEN_EVERY`](crate::limits::REOPEN_EVERY) does; until then nothing more is written, and nothing
    /// of it is visible.
    #[error("the write was not confirmed")]
    NotConfirmed {
        /// Why, shared by all writes of the batch.
        #[source]
        source: Arc<Error>,
    },
    /// A record's bytes do not decode.
    #[error("a record of version {version} does not decode")]
    Decode {
        /// The version byte found.
        version: u8,
        /// The decoder's answer.
        #[source]
        source: serde_json::Error,
    },
    /// A record does not encode, which is a fault of its type.
    #[error("a record does not encode")]
    Encode {
        /// The encoder's answer.
        #[source]
        source: serde_json::Error,
    },
    /// A record has a version that this Gatemill does not know.
    #[error("no record of version {version} is known here")]
    UnknownVersion {
        /// The version byte found.
        version: u8,
    },
    /// Bytes that the store itself wrote are not in their form.
    #[error("stored data is damaged: {what}")]
    Damaged {
        /// Which data.
        what: &'static str,
    },
    /// A limit of [`limits`](crate::limits) was passed.
    #[error("{what} of {bytes} bytes is larger than {max}")]
    TooLarge {
        /// Which thing.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The text is no SHA-256 in hexadecimal.
    #[error("not a SHA-256 digest in hexadecimal")]
    NotADigest,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Error::Io { doing, path: path.into(), source }
    }
}
