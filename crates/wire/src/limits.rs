//! Limits of the protocol layer, each with the AWS quota or rule that it mirrors.

/// How far a signature's time may lie from ours: AWS's five minutes.
pub const SIGNATURE_WINDOW_MS: i64 = 5 * 60 * 1000;
/// The longest life of a presigned URL: seven days.
pub const PRESIGNED_SECONDS_MAX: i64 = 7 * 24 * 60 * 60;
/// Signing keys that each thread keeps, so as not to derive them for each request of the same client.
pub const SIGNING_KEYS_KEPT_MAX: usize = 16;
/// The deepest nesting of a JSON body that is followed while validating (serde_json stops at 128 itself).
pub const JSON_DEPTH_MAX: usize = 128;
/// The deepest nesting of a CBOR body: as that of JSON.
pub const CBOR_DEPTH_MAX: usize = 128;
/// How deep a list or structure may be nested for a violation to show its value whole (no AWS quota; deeper ones are
/// not shown).
pub const SHOWN_DEPTH_MAX: usize = 8;
/// The longest pagination token that is decoded.
pub const PAGE_TOKEN_BYTES_MAX: usize = 4096;
