//! Limits of templates, each with the AWS quota that it mirrors or the reason for it.

/// Bytes of a template: AWS's 300 KB.
pub const TEMPLATE_BYTES_MAX: usize = 300 * 1024;
/// Turns of one `#foreach`: AWS's 1,000; what is behind them is not looked at.
pub const LOOP_TURNS_MAX: usize = 1_000;
/// How deep blocks and expressions of a template may stand inside each other. AWS names no number.
pub const NESTING_MAX: usize = 64;
/// How deep an evaluation may go: blocks, expressions, macros and `#define`d blocks together. It bounds the stack.
pub const DEPTH_MAX: usize = 160;
/// How deep a value may be that is printed: what JSON readers take, and an end for a map that contains itself.
pub const VALUE_DEPTH_MAX: usize = 130;
/// Steps of one evaluation: a node, a value, or [`BYTES_PER_STEP`] bytes of text. About 50 ms of one core.
pub const STEPS_MAX: u64 = 1_000_000;
/// Bytes of text that count as one step, so that steps bound memory, too: 64 MB.
pub const BYTES_PER_STEP: usize = 64;
/// Bytes of what a template makes: AWS's 10 MB for bodies.
pub const OUTPUT_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Bytes of a regular expression in a template or a path.
pub const PATTERN_BYTES_MAX: usize = 1_024;
/// Bytes of memory that a compiled regular expression may take.
pub const PATTERN_MEMORY_MAX: usize = 256 * 1024;
/// Steps back that a regular expression may take on one text.
pub const PATTERN_STEPS_MAX: usize = 10_000;
/// Matches of a regular expression that steps back, in one text.
pub const BACKTRACKS_MAX: usize = 1_000;
/// Bytes of a JSONPath.
pub const PATH_BYTES_MAX: usize = 4_096;
/// Values that one JSONPath may visit.
pub const PATH_VISITS_MAX: usize = 100_000;
