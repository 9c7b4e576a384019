//! Limits of identity.

/// Access keys that are kept in memory. This version makes one; the bound is what a scan at start may read.
pub const ACCESS_KEYS_MAX: usize = 10_000;
/// The longest name of a role or of a session: IAM's 64 characters.
pub const SESSION_NAME_CHARS_MAX: usize = 64;
/// The longest life of a session's credentials: STS's twelve hours.
pub const SESSION_SECONDS_MAX: u64 = 12 * 60 * 60;
/// The longest session token that is looked at; ours have a third of it.
pub const SESSION_TOKEN_BYTES_MAX: usize = 1_024;
/// Bytes of the key file: an AES-256 key.
pub const KEY_FILE_BYTES: usize = 32;
