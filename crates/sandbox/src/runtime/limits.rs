//! Every bound of runtime discovery, named.

use std::time::Duration;

/// Longest that an interpreter may take to say its version, or to byte-compile our client.
pub const PROBE: Duration = Duration::from_secs(10);

/// Most interpreters asked at the same time.
pub const PROBES_AT_ONCE: usize = 4;

/// Most interpreters looked at in one discovery; a machine with more has the rest left out.
pub const CANDIDATES: usize = 256;

/// Most bytes read of an interpreter's answer.
pub const ANSWER_BYTES: usize = 4096;

/// Most bytes read of the file in which a Java says its version.
pub const RELEASE_BYTES: u64 = 64 * 1024;

/// Longest that the compiler of a language may take for our client.
pub const BUILD: Duration = Duration::from_secs(120);

/// Largest file of remembered probes that is read; a larger one is somebody else's.
pub const PROBE_CACHE_BYTES: u64 = 1024 * 1024;

/// Most files and directories of a runtime that is added.
pub const ADDED_FILES: u64 = 400_000;

/// Most bytes of a runtime that is added. AWS bounds a container image by 10 GiB.
pub const ADDED_BYTES: u64 = 10 << 30;
