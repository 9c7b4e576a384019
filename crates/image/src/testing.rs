//! Archives for tests, written byte by byte, so that they can be as wrong as a test wants.

use crate::{Digest, Error, decompress::Compression, unpack::Unpacker};
use std::{io::Write as _, path::Path, sync::atomic::AtomicBool};

/// A tar archive that is being written.
#[derive(Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    /// An entry as it is in the header: name, type, mode, link, and contents.
    pub(crate) fn raw(mut self, name: &str, kind: u8, mode: u32, link: &str, data: &[u8]) -> Self {
        let mut header = [0; 512];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}\0").as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", data.len()).as_bytes());
        put(136, b"07346545000\0");
        put(148, b"        ");
        put(156, &[kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(header);
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, data: &str) -> Self {
        self.raw(name, b'0', 0o644, "", data.as_bytes())
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.raw(name, b'5', 0o755, "", b"")
    }

    pub(crate) fn symlink(self, name: &str, to: &str) -> Self {
        self.raw(name, b'2', 0o777, to, b"")
    }

    pub(crate) fn hardlink(self, name: &str, to: &str) -> Self {
        self.raw(name, b'1', 0o644, to, b"")
    }

    /// An extended header for the next entry.
    pub(crate) fn pax(self, key: &str, value: &str) -> Self {
        let rest = format!(" {key}={value}\n");
        let length = (1..).find(|length: &usize| length.to_string().len() + rest.len() == *length);
        let record = format!("{}{rest}", length.unwrap());
        self.raw("pax", b'x', 0o644, "", record.as_bytes())
    }

    pub(crate) fn bytes(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    ruzstd::encoding::compress_to_vec(bytes, level)
}

/// Unpacks archives one over the other into `root`.
pub(crate) fn unpack(root: &Path, layers: &[Vec<u8>]) -> Result<(), Error> {
    let cancelled = AtomicBool::new(false);
    let mut unpacker = Unpacker::new(root, &cancelled)?;
    for layer in layers {
        unpacker.layer(layer.as_slice(), Compression::None, &Digest::of(layer))?;
    }
    unpacker.finish()
}
