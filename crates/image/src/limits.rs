//! Every bound of this crate, with the AWS quota or the reason for its size.

use std::time::Duration;

/// All layers of an image together, uncompressed: 10 GB, AWS's quota.
pub const UNPACKED_BYTES_MAX: u64 = 10 * 1024 * 1024 * 1024;
/// All layers of an image together, as they travel. What does not shrink may be as large as when unpacked.
pub const COMPRESSED_BYTES_MAX: u64 = UNPACKED_BYTES_MAX;
/// What a layer may decompress to: its files, and 512 bytes and more of header for each entry.
pub const TAR_BYTES_MAX: u64 = UNPACKED_BYTES_MAX + 2 * 1024 * 1024 * 1024;
/// Files, directories and links of all layers of an image together.
pub const ENTRIES_MAX: u64 = 2_000_000;
/// Layers of an image: Docker stops at 127.
pub const LAYERS_MAX: usize = 128;
/// A manifest or an index: what registries take at most.
pub const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The configuration of an image.
pub const CONFIG_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Entry point, command and environment of an image together. What is started has to fit into a message to sandboxd.
pub const PROCESS_BYTES_MAX: usize = 32 * 1024;
/// Manifests in an index that are looked at.
pub const INDEX_ENTRIES_MAX: usize = 1_024;
/// A token of a registry, with the document around it.
pub const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// A file with credentials for registries.
pub const CREDENTIALS_BYTES_MAX: u64 = 1024 * 1024;
/// A path or link target inside an image: Linux's own `PATH_MAX`.
pub const PATH_BYTES_MAX: usize = 4_096;
/// Directories above one another. Bounds what removing a tree takes.
pub const DEPTH_MAX: usize = 128;
/// The extended header of one entry.
pub const PAX_BYTES_MAX: u64 = 1024 * 1024;
/// The window of a Zstandard frame that is accepted: twice what image builders use at their best level.
pub const ZSTD_WINDOW_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// An `ImageUri`.
pub const URI_BYTES_MAX: usize = 1_024;

/// How long a registry may take to begin an answer.
pub const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// How long a registry may pause within an answer.
pub const BODY_WAIT: Duration = Duration::from_secs(30);
/// How long a connection may take to stand.
pub const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// How long finding an image may take in all, since an operation waits for it: under the timeout of AWS's clients.
pub const RESOLVE_WAIT: Duration = Duration::from_secs(45);
/// How long getting one image may take in all.
pub const PULL_WAIT: Duration = Duration::from_secs(30 * 60);
/// How many redirections are followed for one blob: registries send clients to their storage.
pub const REDIRECTS_MAX: usize = 4;
/// Layers of one image that are fetched at one time.
pub const LAYERS_AT_ONCE: usize = 3;
/// Images that are pulled and unpacked at one time.
pub const PULLS_AT_ONCE: usize = 2;
/// Parts of a layer that wait to be written to the disk.
pub const PARTS_WAITING_MAX: usize = 16;
