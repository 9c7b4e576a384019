//! A container image as the place that a runtime is added from.
//!
//! It is pulled into a directory of its own, which is gone when the runtime has been copied: the images of functions
//! belong to the server, which may be running. Any registry will do, since the operator named it; credentials are those
//! that the configuration names for functions' images.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use gatemill_image::{Images, Reference, Registries, Settings, Unpacked};

use crate::error::Error;

const REGISTRY: &str = "oci:";
const LAYOUT: &str = "oci-layout:";

/// An image, and where its folder is if it is in one.
pub(super) struct Image {
    reference: Reference,
    layouts: Option<PathBuf>,
}

/// An image on the disk, until this is dropped.
pub(super) struct Pulled {
    unpacked: Arc<Unpacked>,
    dir: PathBuf,
}

impl Pulled {
    pub(super) fn root(&self) -> &Path {
        self.unpacked.root()
    }
}

impl Drop for Pulled {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.dir) {
            tracing::warn!(%error, dir = %self.dir.display(), "what an image was unpacked to cannot be removed");
        }
    }
}

/// The image that the words name; `None` where they name a folder.
pub(super) fn named(source: &str) -> Option<Result<Image, Error>> {
    let image = if let Some(uri) = source.strip_prefix(REGISTRY) {
        Reference::parse(uri).map(|reference| Image { reference, layouts: None })
    } else {
        in_folder(source.strip_prefix(LAYOUT)?)
    };
    Some(image.ok_or_else(|| Error::ImageName { name: source.to_owned() }))
}

/// `FOLDER:TAG` or `FOLDER@DIGEST`, where the folder is anywhere.
fn in_folder(words: &str) -> Option<Image> {
    let (parent, name) = words.rsplit_once('/').unwrap_or((".", words));
    let reference = Reference::parse(&format!("{LAYOUT}{name}"))?;
    let parent = if parent.is_empty() { "/" } else { parent };
    Some(Image { reference, layouts: Some(parent.into()) })
}

/// Gets an image.
pub(super) fn pull(
    data_dir: &Path,
    image: Image,
    credentials: Option<PathBuf>,
) -> Result<Pulled, Error> {
    let dir = data_dir.join(format!("runtimes/image-{}", std::process::id()));
    let Image { reference, layouts } = image;
    let settings = Settings { registries: Registries::Any, credentials, layouts };
    let cannot = |source| Error::RuntimeImage { reference: reference.to_string(), source };
    let io = |doing| move |source| cannot(gatemill_image::Error::Io { doing, source });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(io("wait for an image"))?;
    let got = runtime.block_on(async {
        let images = Images::open(&dir, settings)?;
        let digest = images.resolve(&reference).await?;
        images.ensure(&reference, &digest).await
    });
    match got {
        Ok(unpacked) => Ok(Pulled { unpacked, dir }),
        Err(error) => {
            // Why there is no image is what to tell, and not that its remains stay.
            let _ = remove(&dir);
            Err(cannot(error))
        }
    }
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_images_are_told_apart() {
        for folder in ["/opt/python", "python3.12", "./oci", "oci/x:1"] {
            assert!(named(folder).is_none(), "{folder}");
        }
        for (words, reference, parent) in [
            ("oci:registry.example/python:3.12", "registry.example/python:3.12", None),
            ("oci:127.0.0.1:5000/a/b:1", "127.0.0.1:5000/a/b:1", None),
            ("oci-layout:/srv/Images/python:3.12", "oci-layout:python:3.12", Some("/srv/Images")),
            ("oci-layout:python:3.12", "oci-layout:python:3.12", Some(".")),
            ("oci-layout:/python:3.12", "oci-layout:python:3.12", Some("/")),
        ] {
            let image = named(words).unwrap().unwrap();
            assert_eq!(image.reference.to_string(), reference);
            assert_eq!(image.layouts, parent.map(PathBuf::from), "{words}");
        }
        for wrong in
            ["oci:", "oci:python", "oci:python:3.12", "oci-layout:/srv/python", "oci-layout:"]
        {
            assert!(matches!(named(wrong), Some(Err(Error::ImageName { .. }))), "{wrong}");
        }
    }
}
