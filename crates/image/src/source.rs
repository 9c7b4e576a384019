//! Where one image comes from: a repository of a registry, or a layout. What comes is believed when its sum is right.

use std::{fs::File, io::Write as _, path::Path};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{
    Digest, Error, Settings,
    digest::Sum,
    layout::Layout,
    limits::PARTS_WAITING_MAX,
    manifest::{Blob, Document, Manifest},
    reference::{Place, Reference},
    registry::{Found, Registry, Repository, next_part},
};

/// One image's place.
pub(crate) enum Source<'a> {
    Registry(&'a Registry, Repository<'a>),
    Layout(Layout),
}

impl<'a> Source<'a> {
    pub(crate) fn of(
        reference: &'a Reference,
        registry: &'a Registry,
        settings: &Settings,
    ) -> Result<Self, Error> {
        Ok(match &reference.place {
            Place::Registry { host, repository } => {
                Self::Registry(registry, Repository { host, name: repository })
            }
            Place::Layout { folder } => {
                Self::Layout(Layout::new(settings.layouts.as_deref(), folder)?)
            }
        })
    }

    /// The manifest for this machine, and its digest.
    pub(crate) async fn manifest(
        &self,
        reference: &Reference,
    ) -> Result<(Digest, Manifest), Error> {
        let first = self.document(reference.tag.as_deref(), reference.digest.as_ref()).await?;
        let index = match first {
            (digest, Document::Manifest(manifest)) => return Ok((digest, manifest)),
            (_, Document::Index(index)) => index,
        };
        let chosen = index.for_this_machine()?;
        match self.document(None, Some(&chosen.digest)).await? {
            (digest, Document::Manifest(manifest)) => Ok((digest, manifest)),
            (_, Document::Index(_)) => Err(Error::Unsupported("an index within an index")),
        }
    }

    async fn document(
        &self,
        tag: Option<&str>,
        digest: Option<&Digest>,
    ) -> Result<(Digest, Document), Error> {
        let Found { bytes, media_type } = match self {
            Self::Registry(registry, repository) => {
                let by_digest = digest.map(Digest::to_string);
                let which = by_digest.as_deref().or(tag).ok_or(Error::NotFound)?;
                registry.manifest(*repository, which).await?
            }
            Self::Layout(layout) => layout.manifest(tag, digest)?,
        };
        let is = Digest::of(&bytes);
        if digest.is_some_and(|wanted| *wanted != is) {
            return Err(Error::Invalid("a manifest has another sum than its digest"));
        }
        Ok((is, Document::parse(&bytes, media_type.as_deref())?))
    }

    /// A short blob as a whole; its size was checked when the manifest was read.
    pub(crate) async fn small(&self, blob: &Blob) -> Result<Bytes, Error> {
        let bytes = match self {
            Self::Registry(registry, repository) => {
                let mut body = registry.blob(*repository, &blob.digest).await?;
                let mut all = Vec::new();
                while let Some(part) = next_part(&mut body).await? {
                    if (all.len() + part.len()) as u64 > blob.size {
                        return Err(Error::Invalid(
                            "a blob has another size than its manifest says",
                        ));
                    }
                    all.extend_from_slice(&part);
                }
                all.into()
            }
            Self::Layout(layout) => layout.read(blob)?,
        };
        if Digest::of(&bytes) == blob.digest {
            Ok(bytes)
        } else {
            Err(Error::Invalid("a blob has another sum than its digest"))
        }
    }
}

/// Writes a layer of a registry to a new file, and to the disk, if it is what its digest says.
pub(crate) async fn fetch(
    registry: &Registry,
    repository: Repository<'_>,
    blob: Blob,
    to: &Path,
) -> Result<(), Error> {
    let mut body = registry.blob(repository, &blob.digest).await?;
    let file = File::create_new(to).map_err(Error::io("make the file of a layer"))?;
    let (parts, waiting) = mpsc::channel(PARTS_WAITING_MAX);
    let writing = tokio::task::spawn_blocking(move || write(file, waiting));
    let mut left = blob.size;
    while let Some(part) = next_part(&mut body).await? {
        left = left
            .checked_sub(part.len() as u64)
            .ok_or(Error::Invalid("a layer has another size than its manifest says"))?;
        if parts.send(part).await.is_err() {
            // The writer failed; it says how.
            break;
        }
    }
    drop(parts);
    let sum = writing.await.map_err(|_| Error::Interrupted)??;
    if left > 0 {
        return Err(Error::Unreachable("it ends within a layer".to_owned()));
    }
    if sum == blob.digest {
        Ok(())
    } else {
        Err(Error::Invalid("a layer has another sum than its digest"))
    }
}

fn write(mut file: File, mut parts: mpsc::Receiver<Bytes>) -> Result<Digest, Error> {
    let mut sum = Sum::default();
    while let Some(part) = parts.blocking_recv() {
        sum.add(&part);
        file.write_all(&part).map_err(Error::io("write a layer"))?;
    }
    file.sync_all().map_err(Error::io("write a layer to the disk"))?;
    Ok(sum.finish())
}
