//! Limits of identity.

/// Access keys that are kept in memory. This version makes one; the bound is what a scan at start may read.
pub const ACCESS_KEYS_MAX: usize = 10_000;
/// Bytes of the key file: an AES-256 key.
pub const KEY_FILE_BYTES: usize = 32;
