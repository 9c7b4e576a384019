//! The trust store of a domain with mutual TLS: fetched when the domain names it, checked, and kept with the domain.
//!
//! `s3://BUCKET/KEY` is read from the directory that the operator gave for trust stores, where there is one (as
//! `DIR/BUCKET/KEY`), and otherwise from the configured S3, with the version that was named. What was fetched stays until
//! the domain is told to look again, as in AWS: neither an outage of S3 nor a change of the object reaches clients.

use std::path::Path;

use gatemill_api::apigatewayv2::{MutualTlsAuthentication, MutualTlsAuthenticationInput};
use gatemill_aws::{Error as AwsError, Request, Service};
use gatemill_wire::{Cx, percent};
use http::Method;

use crate::{
    Gateway,
    error::{Error, Result},
    limits::TRUSTSTORE_BYTES_MAX,
    record::{MutualTlsRecord, TrustStoreRecord},
    trust,
};

/// What a request says of mutual TLS.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// Nothing.
    AsBefore,
    /// An empty URI: from now on without.
    Without,
    /// With this trust store.
    With(MutualTlsRecord, TrustStoreRecord),
}

/// Fetches and checks the trust store that a request names.
pub(super) async fn asked(
    gateway: &Gateway,
    cx: &Cx,
    given: Option<MutualTlsAuthenticationInput>,
    before: Option<&MutualTlsRecord>,
) -> Result<Asked> {
    let Some(given) = given else { return Ok(Asked::AsBefore) };
    let uri = given.truststore_uri.or_else(|| before.map(|before| before.uri.clone()));
    let Some(uri) = uri else {
        return Err(Error::invalid("Mutual TLS needs a truststoreUri"));
    };
    if uri.is_empty() {
        return Ok(Asked::Without);
    }
    if gateway.certificates.get().is_none() {
        return Err(Error::invalid(
            "Mutual TLS needs a server that ends TLS itself, and this one has no TLS listener (tls-listen)",
        ));
    }
    let version = given.truststore_version.filter(|version| !version.is_empty());
    let bytes = fetch(gateway, cx, &uri, version.as_deref()).await?;
    let unfit =
        |error: trust::Unfit| Error::invalid(format!("The truststore {uri} is unfit: {error}"));
    let read = trust::read(&bytes).map_err(unfit)?;
    let pem = String::from_utf8_lossy(&bytes).into_owned();
    let fingerprint = read.store.fingerprint.to_string();
    let record = MutualTlsRecord { uri, version, fingerprint, warnings: read.warnings };
    Ok(Asked::With(record, TrustStoreRecord { pem }))
}

/// What an answer says of it.
pub(super) fn shown(record: &MutualTlsRecord) -> MutualTlsAuthentication {
    MutualTlsAuthentication {
        truststore_uri: Some(record.uri.clone()),
        truststore_version: record.version.clone(),
        truststore_warnings: Some(record.warnings.clone()).filter(|warnings| !warnings.is_empty()),
    }
}

async fn fetch(gateway: &Gateway, cx: &Cx, uri: &str, version: Option<&str>) -> Result<Vec<u8>> {
    let named = uri.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
    let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\0', '\\']);
    let named = named.filter(|(bucket, key)| is_plain(bucket) && key.split('/').all(is_plain));
    let Some((bucket, key)) = named else {
        return Err(Error::invalid("Invalid truststoreUri: it is written s3://BUCKET/KEY"));
    };
    let refused =
        |reason: &str| Error::invalid(format!("The truststore {uri} cannot be read: {reason}"));
    if let Some(directory) = &gateway.settings.truststores {
        if version.is_some() {
            return Err(refused("it is a file, which has no versions"));
        }
        return file(directory.join(bucket).join(key)).await.ok_or_else(|| refused("no such file"));
    }
    let Some(client) = gateway.services.get() else { return Err(refused("no S3 is configured")) };
    let Ok(endpoint) = client.endpoint(Service::S3, Some(&cx.region)) else {
        return Err(refused("no S3 is configured"));
    };
    let mut path = format!("/{bucket}/{}", percent::encode(key.as_bytes(), b"/"));
    if let Some(version) = version {
        path.push_str("?versionId=");
        path.push_str(&percent::encode(version.as_bytes(), b""));
    }
    let request = Request::rest(Method::GET, path).answer_bytes_max(TRUSTSTORE_BYTES_MAX);
    match client.call(&endpoint, request).await {
        Ok(answer) => Ok(answer.body.to_vec()),
        Err(AwsError::AnswerTooLarge) => Err(refused("it is larger than 1 MB")),
        Err(AwsError::Service { code, message, .. }) => Err(refused(&format!("{code}: {message}"))),
        Err(error) => {
            tracing::warn!(uri, %error, "a trust store cannot be fetched");
            Err(refused("the service cannot be reached"))
        }
    }
}

/// A file of at most the size of a trust store and one byte, which is then too large.
async fn file(path: impl AsRef<Path> + Send + 'static) -> Option<Vec<u8>> {
    use std::io::Read as _;
    let read = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::open(path).ok()?;
        // A device or a pipe could be read for ever.
        file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let mut bytes = Vec::new();
        file.take(TRUSTSTORE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    });
    read.await.ok().flatten()
}
