//! Limits of policies.

/// The longest policy document that is read: AWS's quota for resource policies of functions, 20 KB.
pub const DOCUMENT_BYTES_MAX: usize = 20_480;
