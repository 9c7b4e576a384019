//! Code from S3: the zip that a request names by its bucket and key, at the S3 that the operator configured.
//!
//! It is fetched when the request comes and kept as if it had been in it (`S3ObjectStorageMode` is `COPY`), or it stays where
//! it is (`REFERENCE`): then its version is remembered, nothing of it is stored but what is unpacked on the disk, and it is
//! fetched again whenever that is not there. An object that is gone by then fails the call; AWS looks for it from time to
//! time and makes the function Inactive.

use bytes::Bytes;
use gatemill_api::lambda as api;
use gatemill_aws::{Answer, Error as AwsError, Request, Service};
use gatemill_store::Digest;
use gatemill_wire::{Cx, percent};
use http::Method;

use crate::{Error, Lambda, limits::ZIP_BYTES_MAX, record::S3Object};

/// What becomes of the object that a request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    /// Its bytes are kept here.
    Copy,
    /// It stays where it is.
    Reference,
}

impl Storage {
    /// Reads AWS's word; without it, it is a copy.
    pub(crate) fn of(mode: Option<&str>) -> Self {
        if mode == Some("REFERENCE") { Self::Reference } else { Self::Copy }
    }
}

/// An object as requests name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Object<'a> {
    pub(crate) bucket: Option<&'a str>,
    pub(crate) key: Option<&'a str>,
    pub(crate) version: Option<&'a str>,
}

impl Object<'_> {
    /// Whether a request names one, if only by a part of its name.
    pub(crate) fn is_named(&self) -> bool {
        self.bucket.is_some() || self.key.is_some() || self.version.is_some()
    }
}

/// Fetches an object: its bytes, and which object it is where that is `wanted` to be remembered.
pub(crate) async fn fetch(
    lambda: &Lambda,
    cx: &Cx,
    object: Object<'_>,
    wanted: Storage,
) -> Result<(Bytes, Option<S3Object>), Error> {
    let (Some(bucket), Some(key)) = (object.bucket, object.key) else {
        return Err(Error::InvalidParameter(
            "Please provide both S3Bucket and S3Key for function code.".to_owned(),
        ));
    };
    let answer = match get(lambda, &cx.region, (bucket, key, object.version)).await {
        Ok(answer) => answer,
        Err(Missing::TooLarge) => return Err(Error::ZipTooLarge { max: ZIP_BYTES_MAX }),
        Err(Missing::Refused { code, message }) => {
            return Err(Error::InvalidParameter(format!(
                "Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"
            )));
        }
    };
    if wanted == Storage::Copy {
        return Ok((answer.body, None));
    }
    let version = answer.headers.get("x-amz-version-id").and_then(|value| value.to_str().ok());
    let Some(version) = version.filter(|version| *version != "null") else {
        // Ours: AWS's is not recorded.
        return Err(Error::InvalidParameter(format!(
            "S3ObjectStorageMode REFERENCE needs a bucket with versioning: the object has no version in {bucket}."
        )));
    };
    let [bucket, key, version] = [bucket, key, version].map(str::to_owned);
    let object = S3Object { region: cx.region.clone(), bucket, key, version };
    Ok((answer.body, Some(object)))
}

/// Fetches an object again, and finds it to be what it was.
///
/// # Errors
/// [`Error::CodeDeleted`] when it is not there any more, [`Error::CodeFailed`] when it cannot be got.
pub(crate) async fn fetch_again(
    lambda: &Lambda,
    object: &S3Object,
    digest: &Digest,
) -> Result<Bytes, Error> {
    let S3Object { region, bucket, key, version } = object;
    let place = format!("s3://{bucket}/{key}, version {version}");
    match get(lambda, region, (bucket, key, Some(version))).await {
        Ok(answer) if Digest::of(&answer.body) == *digest => Ok(answer.body),
        Ok(_) | Err(Missing::TooLarge) => Err(Error::CodeFailed(format!(
            "The function's code is not what it was when it was deployed: {place}."
        ))),
        Err(Missing::Refused { code, message }) if code.starts_with("NoSuch") => {
            tracing::warn!(place, code, message, "code that is referred to is gone");
            Err(Error::CodeDeleted(format!(
                "The function's code does not exist any more: {place}."
            )))
        }
        Err(Missing::Refused { code, message }) => {
            tracing::warn!(place, code, message, "code that is referred to cannot be fetched");
            Err(Error::CodeFailed(format!("The function's code cannot be fetched: {place}.")))
        }
    }
}

/// An object as it is shown.
pub(crate) fn shown(object: S3Object) -> api::ResolvedS3Object {
    api::ResolvedS3Object {
        s3_bucket: Some(object.bucket),
        s3_key: Some(object.key),
        s3_object_version: Some(object.version),
    }
}

/// Why there is no object.
enum Missing {
    TooLarge,
    /// In S3's words.
    Refused {
        code: String,
        message: String,
    },
}

async fn get(
    lambda: &Lambda,
    region: &str,
    (bucket, key, version): (&str, &str, Option<&str>),
) -> Result<Answer, Missing> {
    let refused = |code: &str, message: &str| Missing::Refused {
        code: code.to_owned(),
        message: message.to_owned(),
    };
    // Where no S3 is configured, no bucket exists.
    let nothing = || refused("NoSuchBucket", "The specified bucket does not exist");
    let client = lambda.services.get().ok_or_else(nothing)?;
    let endpoint = client.endpoint(Service::S3, Some(region)).map_err(|_| nothing())?;
    let mut path = format!("/{bucket}/{}", percent::encode(key.as_bytes(), b"/"));
    if let Some(version) = version {
        path.push_str("?versionId=");
        path.push_str(&percent::encode(version.as_bytes(), b""));
    }
    let request = Request::rest(Method::GET, path).answer_bytes_max(ZIP_BYTES_MAX);
    client.call(&endpoint, request).await.map_err(|error| match error {
        AwsError::AnswerTooLarge => Missing::TooLarge,
        AwsError::Service { code, message, .. } => Missing::Refused { code, message },
        error => {
            tracing::warn!(bucket, key, %error, "code cannot be fetched");
            refused("ServiceUnavailable", "The service cannot be reached")
        }
    })
}
