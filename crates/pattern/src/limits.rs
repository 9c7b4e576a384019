//! Limits of patterns, each with the AWS quota that it mirrors.

/// The longest pattern, in characters: Lambda's quota.
pub const PATTERN_CHARS_MAX: usize = 4_096;
/// How deep objects may nest in a pattern. AWS documents none; no event of its services is half as deep.
pub const PATTERN_DEPTH_MAX: usize = 64;
/// Numbers of `numeric` conditions lie between minus this and this, as EventBridge documents.
pub const NUMERIC_MAX: f64 = 5.0e9;
