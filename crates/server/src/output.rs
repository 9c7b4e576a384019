//! Writing to stdout, which a reader may close early: `gatemill operations | head` is no error.

use std::io::{self, Write as _};

use crate::error::Error;

/// Writes and flushes `text`.
///
/// # Errors
/// When stdout cannot be written for another reason than that nobody reads it.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::System { doing: "write to stdout", source })
        }
        _ => Ok(()),
    }
}
