//! Images in folders: the OCI image layout, as `skopeo`, `buildah` and `docker buildx` write it.
//!
//! Only the operator puts folders there, so links in them are the operator's own. What is read is bounded and summed
//! all the same.

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::{
    Digest, Error,
    limits::MANIFEST_BYTES_MAX,
    manifest::{Blob, Document, Index},
    registry::Found,
};

/// A folder in the OCI image layout.
#[derive(Debug, Clone)]
pub(crate) struct Layout(PathBuf);

impl Layout {
    pub(crate) fn new(layouts: Option<&Path>, folder: &str) -> Result<Self, Error> {
        let layouts = layouts.ok_or_else(|| Error::NotAllowed(format!("oci-layout:{folder}")))?;
        Ok(Self(layouts.join(folder)))
    }

    pub(crate) fn manifest(
        &self,
        tag: Option<&str>,
        digest: Option<&Digest>,
    ) -> Result<Found, Error> {
        let (blob, media_type) = match (digest, tag) {
            (Some(digest), _) => (Blob { digest: *digest, size: MANIFEST_BYTES_MAX as u64 }, None),
            (None, Some(tag)) => {
                let index = self.index()?;
                let (blob, media_type) = index.named(tag).ok_or(Error::NotFound)?;
                (blob, Some(media_type.to_owned()).filter(|name| !name.is_empty()))
            }
            (None, None) => return Err(Error::NotFound),
        };
        Ok(Found { bytes: self.read(&blob)?, media_type })
    }

    fn index(&self) -> Result<Index, Error> {
        let bytes = read(&self.0.join("index.json"), MANIFEST_BYTES_MAX as u64)?;
        match Document::parse(&bytes, Some("application/vnd.oci.image.index.v1+json"))? {
            Document::Index(index) => Ok(index),
            Document::Manifest(_) => Err(Error::Unsupported("a layout without an index")),
        }
    }

    /// A blob of at most its size; its sum is the caller's to check.
    pub(crate) fn read(&self, blob: &Blob) -> Result<Bytes, Error> {
        read(&self.path(&blob.digest), blob.size.min(MANIFEST_BYTES_MAX as u64))
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.0.join("blobs/sha256").join(digest.hex())
    }
}

fn read(path: &Path, most: u64) -> Result<Bytes, Error> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) if bytes.len() as u64 <= most => Ok(bytes.into()),
        Ok(_) => Err(Error::Invalid("a file of the layout is too long")),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::NotFound),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(Error::Denied),
        Err(source) => Err(Error::Io { doing: "read an OCI layout", source }),
    }
}
