//! The code of a function as it is on the disk: a directory that is bound into a sandbox, or one that is its root.

use std::{path::Path, sync::Arc};

use crate::{Error, Lambda, code_store, control::s3_code, record::Configuration};

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
        let package = &configuration.package;
        let package = match &configuration.s3_object {
            None => lambda.code.ensure(&lambda.store, package).await?,
            Some(object) => {
                let fetch = s3_code::fetch_again(lambda, object, &package.digest);
                lambda.code.ensure_fetched(package, fetch).await?
            }
        };
        let layers = lambda.code.ensure_layers(&lambda.store, &configuration.layers).await?;
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

/// Whether an error will be the same when it is tried again.
pub(crate) fn is_lost(error: &Error) -> bool {
    match error {
        Error::Image(error) => !error.is_transient(),
        Error::CodeDeleted(_) => true,
        _ => false,
    }
}
