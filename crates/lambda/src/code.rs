//! The code of a function as it is on the disk: a directory that is bound into a sandbox, or one that is its root.

use std::{path::Path, sync::Arc};

use bytes::Bytes;

use crate::{
    Error, Lambda, code_store,
    control::s3_code,
    layer_record::{UsedLayer, merged_digest},
    record::{Configuration, Package, S3Object},
};

/// Unpacked code; it stays on the disk at least as long as this lives.
#[derive(Debug, Clone)]
pub(crate) enum Code {
    Zip {
        package: Arc<code_store::Unpacked>,
        /// What appears at `/opt`.
        layers: Option<Arc<code_store::Unpacked>>,
    },
    Image(Arc<gatemill_image::Unpacked>),
}

impl Code {
    /// The directory of the package or the root of the image.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Zip { package, .. } => package.path(),
            Self::Image(image) => image.root(),
        }
    }

    /// The directory that appears at `/opt`, where there is one; an image has its own.
    pub(crate) fn layers(&self) -> Option<&Path> {
        match self {
            Self::Zip { layers, .. } => Some(layers.as_ref()?.path()),
            Self::Image(_) => None,
        }
    }
}

/// The code of a configuration, got and unpacked now if it is not yet.
pub(crate) async fn ensure(lambda: &Lambda, configuration: &Configuration) -> Result<Code, Error> {
    let Some(image) = &configuration.image else {
        let object = configuration.s3_object.as_ref();
        let package = ensure_zip(lambda, &configuration.package, object).await?;
        let layers = ensure_layers(lambda, &configuration.layers).await?;
        return Ok(Code::Zip { package, layers });
    };
    let reference = gatemill_image::Reference::parse(&image.resolved_uri);
    let digest = gatemill_image::Digest::from_hex(&configuration.package.digest.to_string());
    let (Some(reference), Some(digest)) = (reference, digest) else {
        return Err(Error::Internal("a stored image has no address"));
    };
    let unpacked = lambda.images.ensure(&reference, &digest).await.map_err(Error::Image)?;
    Ok(Code::Image(unpacked))
}

/// One zip, which is stored here or stays in S3.
async fn ensure_zip(
    lambda: &Lambda,
    package: &Package,
    object: Option<&S3Object>,
) -> Result<Arc<code_store::Unpacked>, Error> {
    let Some(object) = object else { return lambda.code.ensure(&lambda.store, package).await };
    // Boxed: fetching is seldom, and its future would be large in all that start.
    let fetch = Box::pin(s3_code::fetch_again(lambda, object, &package.digest));
    lambda.code.ensure_fetched(package, fetch).await
}

/// The bytes of a layer's zip, which is stored here or stays in S3.
pub(crate) async fn zip_of(lambda: &Lambda, layer: &UsedLayer) -> Result<Bytes, Error> {
    let digest = &layer.package.digest;
    match &layer.s3_object {
        Some(object) => Box::pin(s3_code::fetch_again(lambda, object, digest)).await,
        None => {
            let zip = lambda.store.blobs().get(digest).await?;
            zip.ok_or(Error::Internal("the package of a layer is missing"))
        }
    }
}

/// The content of layers, later ones over earlier ones; `None` of no layers.
async fn ensure_layers(
    lambda: &Lambda,
    layers: &[UsedLayer],
) -> Result<Option<Arc<code_store::Unpacked>>, Error> {
    let one = async |layer: &UsedLayer| {
        ensure_zip(lambda, &layer.package, layer.s3_object.as_ref()).await
    };
    match (layers, merged_digest(layers)) {
        ([], _) | (_, None) => Ok(None),
        ([layer], _) => one(layer).await.map(Some),
        (several, Some(digest)) => {
            let parts = async {
                let mut parts = Vec::with_capacity(several.len());
                for layer in several {
                    parts.push(one(layer).await?);
                }
                Ok(parts)
            };
            lambda.code.ensure_merged(digest, Box::pin(parts)).await.map(Some)
        }
    }
}

/// Whether an error will be the same when it is tried again.
pub(crate) fn is_lost(error: &Error) -> bool {
    match error {
        Error::Image(error) => !error.is_transient(),
        Error::CodeDeleted(_) => true,
        _ => false,
    }
}
