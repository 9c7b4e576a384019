//! Code from S3: the zip that a request names by its bucket and key, at the S3 that the operator configured.
//!
//! It is fetched when the request comes and kept as if it had been in it, as AWS does (`S3ObjectStorageMode` is `COPY`).

use bytes::Bytes;
use gatemill_aws::{Error as AwsError, Request, Service};
use gatemill_wire::{Cx, percent};
use http::Method;

use crate::{Error, Lambda, limits::ZIP_BYTES_MAX};

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

/// Fetches an object.
pub(crate) async fn fetch(lambda: &Lambda, cx: &Cx, object: Object<'_>) -> Result<Bytes, Error> {
    let (Some(bucket), Some(key)) = (object.bucket, object.key) else {
        return Err(Error::InvalidParameter(
            "Please provide both S3Bucket and S3Key for function code.".to_owned(),
        ));
    };
    // Where no S3 is configured, no bucket exists.
    let nothing = || refused("NoSuchBucket", "The specified bucket does not exist");
    let Some(client) = lambda.services.get() else { return Err(nothing()) };
    let Ok(endpoint) = client.endpoint(Service::S3, Some(&cx.region)) else {
        return Err(nothing());
    };
    let mut path = format!("/{bucket}/{}", percent::encode(key.as_bytes(), b"/"));
    if let Some(version) = object.version {
        path.push_str("?versionId=");
        path.push_str(&percent::encode(version.as_bytes(), b""));
    }
    let request = Request::rest(Method::GET, path).answer_bytes_max(ZIP_BYTES_MAX);
    match client.call(&endpoint, request).await {
        Ok(answer) => Ok(answer.body),
        Err(AwsError::AnswerTooLarge) => Err(Error::ZipTooLarge { max: ZIP_BYTES_MAX }),
        Err(AwsError::Service { code, message, .. }) => Err(refused(&code, &message)),
        Err(error) => {
            tracing::warn!(bucket, key, %error, "code cannot be fetched");
            Err(refused("ServiceUnavailable", "The service cannot be reached"))
        }
    }
}

/// What AWS says of an object that it does not get.
fn refused(code: &str, message: &str) -> Error {
    Error::InvalidParameter(format!(
        "Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"
    ))
}
