//! Functions that are container images: what requests may say, which image an `ImageUri` means, and AWS's words for what
//! is wrong with one.
//!
//! An operation finds out which image a tag means now and stores its digest; a worker gets the image. So a tag that moves
//! changes nothing until the next `UpdateFunctionCode`.

use gatemill_api::lambda as api;
use gatemill_image::{Error as ImageError, Reference};

use super::gaps;
use crate::{
    Error, Lambda,
    limits::IMAGE_CONFIG_BYTES_MAX,
    record::{Image, Package},
};

/// Whether a request creates a function from an image.
pub(crate) fn is_wanted(request: &api::CreateFunctionRequest) -> bool {
    request.package_type.as_deref() == Some("Image")
}

/// Checks the members that have another meaning, or none, for an image.
pub(crate) fn check_create(
    lambda: &Lambda,
    request: &api::CreateFunctionRequest,
) -> Result<(), Error> {
    let layers = request.layers.as_ref().is_some_and(|layers| !layers.is_empty());
    if layers || request.handler.is_some() || request.runtime.is_some() {
        return refused(
            "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image.",
        );
    }
    if request.code_signing_config_arn.as_ref().is_some_and(|arn| !arn.is_empty()) {
        return refused(
            "Code signing is not supported for functions created with container images.",
        );
    }
    let code = &request.code;
    if [&code.s3_bucket, &code.s3_key, &code.s3_object_version].iter().any(|part| part.is_some())
        || code.zip_file.is_some()
    {
        return refused("Please provide ImageUri when creating a function with packageType Image.");
    }
    gaps::refuse(&gaps::IMAGE, !lambda.sandboxes.enforced().file_system)
}

/// Checks that a function of a zip is not told how an image is run.
pub(crate) fn check_zip(request: &api::CreateFunctionRequest) -> Result<(), Error> {
    no_config(request.image_config.as_ref())
}

fn no_config(config: Option<&api::ImageConfig>) -> Result<(), Error> {
    match given(config) {
        Some(_) => {
            refused("ImageConfig is not supported for functions created with deployment packages.")
        }
        None => Ok(()),
    }
}

/// Checks the members of `UpdateFunctionConfiguration` against what the function is.
pub(crate) fn check_update(
    is_image: bool,
    request: &api::UpdateFunctionConfigurationRequest,
) -> Result<(), Error> {
    if !is_image {
        return no_config(request.image_config.as_ref());
    }
    if request.layers.as_ref().is_some_and(|layers| !layers.is_empty()) {
        return refused(
            "Lambda layers are not supported for functions created with container images.",
        );
    }
    if request.handler.is_some() || request.runtime.is_some() {
        return refused(
            "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image.",
        );
    }
    Ok(())
}

/// The image that a request names, as it is now.
pub(crate) async fn find(
    lambda: &Lambda,
    uri: Option<&str>,
    config: Option<&api::ImageConfig>,
) -> Result<(Package, Image), Error> {
    let Some(uri) = uri.filter(|uri| !uri.is_empty()) else {
        return refused("Please provide a source for function code.");
    };
    let Some(reference) = Reference::parse(uri) else {
        return Err(Error::InvalidParameter(format!(
            "Source image {uri} is not valid. Provide a valid source image."
        )));
    };
    let digest = lambda.images.resolve(&reference).await.map_err(|error| refusal(uri, error))?;
    let stored = digest.hex().parse();
    let package = Package {
        digest: stored.map_err(|_| Error::Internal("the digest of an image is none"))?,
        bytes: 0,
        unpacked_bytes: 0,
    };
    let mut image = Image {
        uri: uri.to_owned(),
        resolved_uri: reference.pinned(digest).to_string(),
        entry_point: None,
        command: None,
        working_directory: None,
    };
    configure(&mut image, config)?;
    Ok((package, image))
}

/// Puts an `ImageConfig` in place of what was there. Lists replace those of the image as a whole; an empty one is none.
pub(crate) fn configure(image: &mut Image, config: Option<&api::ImageConfig>) -> Result<(), Error> {
    let config = config.cloned().unwrap_or_default();
    let words = config.entry_point.iter().chain(&config.command).flatten();
    let texts = words.chain(&config.working_directory);
    let (mut bytes, mut is_text) = (0, true);
    for text in texts {
        bytes += text.len();
        is_text &= !text.contains('\0');
    }
    if bytes > IMAGE_CONFIG_BYTES_MAX {
        return refused("The size of ImageConfig exceeded the 16 KB limit.");
    }
    if !is_text {
        return refused("ImageConfig contains a null character.");
    }
    image.entry_point = config.entry_point.filter(|list| !list.is_empty());
    image.command = config.command.filter(|list| !list.is_empty());
    image.working_directory = config.working_directory.filter(|path| !path.is_empty());
    Ok(())
}

/// What of an image's configuration is shown: nothing where nothing was configured.
pub(crate) fn view(image: &Image) -> Option<api::ImageConfigResponse> {
    let config = api::ImageConfig {
        entry_point: image.entry_point.clone(),
        command: image.command.clone(),
        working_directory: image.working_directory.clone(),
    };
    given(Some(&config))?;
    Some(api::ImageConfigResponse { image_config: Some(config), ..Default::default() })
}

/// What `GetFunction` says of the code.
pub(crate) fn location(image: &Image) -> api::FunctionCodeLocation {
    api::FunctionCodeLocation {
        repository_type: Some("ECR".to_owned()),
        image_uri: Some(image.uri.clone()),
        resolved_image_uri: Some(image.resolved_uri.clone()),
        ..Default::default()
    }
}

/// An `ImageConfig` that says something.
pub(crate) fn given(config: Option<&api::ImageConfig>) -> Option<&api::ImageConfig> {
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    config.filter(|config| {
        some(&config.entry_point)
            || some(&config.command)
            || config.working_directory.as_ref().is_some_and(|path| !path.is_empty())
    })
}

const DENIED: &str =
    "Lambda does not have permission to access the ECR image. Check the ECR permissions.";

/// Why an operation does not take an image.
fn refusal(uri: &str, error: ImageError) -> Error {
    tracing::info!(uri, %error, "an image is refused");
    match error {
        ImageError::NotFound => Error::InvalidParameter(format!(
            "Source image {uri} does not exist. Provide a valid source image."
        )),
        ImageError::Denied => Error::AccessDenied(DENIED.to_owned()),
        ImageError::NotAllowed(place) => Error::InvalidParameter(format!(
            "Source image {uri} is not valid. Provide a valid source image. Images from {place} are not allowed by the \
             settings of this server."
        )),
        ImageError::Unsupported(_) | ImageError::Invalid(_) | ImageError::TooLarge => {
            Error::InvalidParameter(format!(
                "The image manifest, config or layer media type for the source image {uri} is not supported."
            ))
        }
        ImageError::Unreachable(_) => Error::InvalidParameter(format!(
            "Source image {uri} cannot be reached. Provide a valid source image."
        )),
        ours @ (ImageError::Settings(_) | ImageError::Io { .. } | ImageError::Interrupted) => {
            Error::Image(ours)
        }
    }
}

/// Why a deployment failed: what a client reads, and AWS's code for it, if it is no fault of ours.
pub(crate) fn failure(error: &ImageError) -> (String, Option<&'static str>) {
    match error {
        ImageError::NotFound => {
            ("The source image does not exist any more.".to_owned(), Some("ImageDeleted"))
        }
        ImageError::Denied | ImageError::NotAllowed(_) => {
            (DENIED.to_owned(), Some("ImageAccessDenied"))
        }
        ImageError::Unsupported(_) | ImageError::Invalid(_) | ImageError::TooLarge => {
            (sentence(error), Some("InvalidImage"))
        }
        ImageError::Unreachable(_) => (
            "The registry of the source image cannot be reached.".to_owned(),
            Some("ImageAccessDenied"),
        ),
        ImageError::Settings(_) | ImageError::Io { .. } | ImageError::Interrupted => {
            ("An internal error occurred.".to_owned(), None)
        }
    }
}

fn sentence(error: &ImageError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

fn refused<T>(text: &str) -> Result<T, Error> {
    Err(Error::InvalidParameter(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_replace_one_another() {
        let mut image = Image {
            uri: "u".to_owned(),
            resolved_uri: "r".to_owned(),
            entry_point: None,
            command: None,
            working_directory: None,
        };
        let config = api::ImageConfig {
            entry_point: Some(vec!["/e".to_owned()]),
            command: Some(Vec::new()),
            working_directory: Some("/w".to_owned()),
        };
        configure(&mut image, Some(&config)).unwrap();
        let shown = view(&image).unwrap().image_config.unwrap();
        assert_eq!((shown.entry_point, shown.command), (config.entry_point, None));
        assert_eq!(shown.working_directory.as_deref(), Some("/w"));
        let command =
            api::ImageConfig { command: Some(vec!["c".to_owned()]), ..Default::default() };
        configure(&mut image, Some(&command)).unwrap();
        assert_eq!(
            (image.entry_point.as_ref(), image.command.as_ref()),
            (None, command.command.as_ref())
        );
        configure(&mut image, Some(&api::ImageConfig::default())).unwrap();
        assert_eq!(view(&image), None);
        let long = api::ImageConfig {
            command: Some(vec!["c".repeat(IMAGE_CONFIG_BYTES_MAX + 1)]),
            ..Default::default()
        };
        assert!(configure(&mut image, Some(&long)).is_err());
        let nul =
            api::ImageConfig { working_directory: Some("/\0".to_owned()), ..Default::default() };
        assert!(configure(&mut image, Some(&nul)).is_err());
    }

    #[test]
    fn failures_say_what_a_customer_can_do() {
        let (reason, code) = failure(&ImageError::Invalid("a layer is cut off"));
        assert_eq!(reason, "The image is not valid: a layer is cut off.");
        assert_eq!(code, Some("InvalidImage"));
        assert_eq!(failure(&ImageError::Interrupted).1, None);
    }
}
