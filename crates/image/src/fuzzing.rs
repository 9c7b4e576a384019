//! What `cargo xtask fuzz` feeds with bytes: archives, manifests and references.
//!
//! Each function panics when something is wrong. In an ordinary build none of this is there.

use std::fs;
use std::io::Read as _;
use std::sync::atomic::AtomicBool;

use crate::{
    Digest, Reference,
    decompress::Compression,
    manifest::{Config, Document},
    tar::Archive,
    unpack::Unpacker,
};

/// Archives, read entry by entry: no more comes out than went in.
pub fn tar(data: &[u8]) {
    let mut archive = Archive::new(data);
    let mut left = data.len();
    while let Ok(Some(_)) = archive.next() {
        let mut contents = Vec::new();
        let read = archive.read_to_end(&mut contents).unwrap_or_default();
        left = left.checked_sub(read).expect("an archive gives no more than it has");
    }
}

/// Layers, unpacked: everything lies below the root.
pub fn unpack(data: &[u8]) {
    let directory = std::env::temp_dir().join(format!("gatemill-fuzz-tar-{}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("the fuzzer has a directory for temporary files");
    fs::write(directory.join("beside"), "untouched").expect("it was made above");
    let cancelled = AtomicBool::new(false);
    let unpacker = Unpacker::new(&directory.join("root"), &cancelled);
    let mut unpacker = unpacker.expect("an empty directory takes a tree");
    // The sum is another one, which is found out last.
    let sum: Digest = format!("sha256:{}", "0".repeat(64)).parse().expect("it has a digest's form");
    let result = unpacker.layer(data, Compression::None, &sum);
    assert!(result.is_err(), "no archive has this sum");
    let mut names: Vec<_> = fs::read_dir(&directory)
        .expect("it was made above")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["beside", "root"]);
    let beside = fs::read(directory.join("beside")).expect("it is still there");
    assert_eq!(beside, b"untouched");
}

/// Manifests, indexes and configurations.
pub fn manifest(data: &[u8]) {
    if let Ok(Document::Index(index)) = Document::parse(data, None) {
        let _ = index.for_this_machine();
        let _ = index.named("latest");
    }
    let _ = Config::parse(data, 1);
}

/// References: what is one is the same when it is written and read again.
pub fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(reference) = Reference::parse(text) {
        assert_eq!(Reference::parse(&reference.to_string()), Some(reference));
    }
}
