//! The code of functions: taking zips, `UpdateFunctionCode`, and the address from which a zip is fetched again.

use bytes::Bytes;
use gatemill_api::lambda as api;
use gatemill_store::{Digest, Key};
use gatemill_wire::{
    Cx, Operation as _, Timestamp, percent,
    sigv4::{hex, hmac_sha256},
};

use super::{
    code_signing, function, gaps, image, layer, reference,
    s3_code::{self, Object, Storage},
    unbuilt, unenforced, version,
    view::{self, Named},
};
use crate::{
    Error, Lambda,
    layer_record::{LAYER_VERSIONS, LayerKey},
    limits::{CODE_LOCATION_S, ZIP_BYTES_MAX},
    record::{
        CODE_USES, Configuration, FUNCTIONS, Image, Lifecycle, Mark, PACKAGES, Package, S3Object,
        VERSIONS,
    },
    target::FunctionKey,
    zip_intake::{self, BadZip},
};

/// Below which path of the server zips are fetched.
const LOCATION_PATH: &str = "/_gatemill/lambda/code/";

/// `UpdateFunctionCode`.
pub(crate) async fn update(
    lambda: &Lambda,
    cx: &Cx,
    request: api::UpdateFunctionCodeRequest,
) -> Result<api::FunctionConfiguration, Error> {
    let info = api::UpdateFunctionCode::INFO;
    let (key, _) = reference::latest(cx, info, &request.function_name, None)?;
    let record = function::existing(lambda, &key)?;
    unbuilt::update_code(&request)?;
    let source_key =
        unenforced::source_key(lambda, &gaps::SOURCE_KEY, request.source_kms_key_arn.as_ref())?;
    let uri = request.image_uri.as_deref().filter(|uri| !uri.is_empty());
    let refused = |text: &str| Err(Error::InvalidParameter(text.to_owned()));
    let (mut signing, mut s3_object) = (None, None);
    let (taken, package, found) = match (&record.configuration.image, uri) {
        (None, Some(_)) => {
            return refused(
                "Please don't provide ImageUri when updating a function with packageType Zip.",
            );
        }
        (Some(_), None) => {
            return refused(
                "Please provide ImageUri when updating a function with packageType Image.",
            );
        }
        (None, None) => {
            function::check_updatable(&key, &record, request.revision_id.as_deref())?;
            let object = Object {
                bucket: request.s3_bucket.as_deref(),
                key: request.s3_key.as_deref(),
                version: request.s3_object_version.as_deref(),
            };
            let storage = Storage::of(request.s3_object_storage_mode.as_deref());
            let taken = taken(lambda, cx, request.zip_file.as_ref(), object, storage).await?;
            let config = code_signing::of_function(lambda, &key)?;
            signing = code_signing::judge(lambda, &key, config.as_ref(), &taken.zip).await?;
            s3_object.clone_from(&taken.s3_object);
            let package = taken.package;
            (Some(taken), package, None)
        }
        (Some(_), Some(uri)) => {
            function::check_updatable(&key, &record, request.revision_id.as_deref())?;
            let (package, image) = image::find(lambda, Some(uri), None).await?;
            (None, package, Some(image))
        }
    };
    let change = move |old: &Configuration| {
        let image = old.image.clone().zip(found.clone()).map(|(old, found)| Image {
            uri: found.uri,
            resolved_uri: found.resolved_uri,
            ..old
        });
        let (signing, s3_object) = (signing.clone(), s3_object.clone());
        let unenforced = unenforced::with_source_key(old.unenforced.as_ref(), source_key.clone());
        Configuration { package, image, signing, unenforced, s3_object, ..old.clone() }
    };
    if request.dry_run == Some(true) {
        let mut would_be = record;
        would_be.configuration = change(&would_be.configuration);
        layer::check_size(&would_be.configuration)?;
        would_be.lifecycle = Lifecycle::Active;
        return Ok(view::configuration(lambda, &key, &would_be, Named::default()));
    }
    if let Some(taken) = taken {
        keep(lambda, taken).await?;
    }
    let publish = (request.publish == Some(true)).then(|| version::Ids::new(cx));
    let change = move |old: &Configuration| {
        let new = change(old);
        layer::check_size(&new)?;
        Ok(new)
    };
    let (record, published) =
        function::update(lambda, cx, &key, request.revision_id, publish, change).await?;
    Ok(match published {
        Some(published) => version::shown(lambda, &key, published),
        None => view::configuration(lambda, &key, &record, Named::default()),
    })
}

/// The zip of a request that creates a function.
pub(crate) async fn of_create(
    lambda: &Lambda,
    cx: &Cx,
    code: &api::FunctionCode,
) -> Result<Taken, Error> {
    let object = Object {
        bucket: code.s3_bucket.as_deref(),
        key: code.s3_key.as_deref(),
        version: code.s3_object_version.as_deref(),
    };
    let storage = Storage::of(code.s3_object_storage_mode.as_deref());
    taken(lambda, cx, code.zip_file.as_ref(), object, storage).await
}

/// The zip of a request that publishes a layer.
pub(crate) async fn of_layer(
    lambda: &Lambda,
    cx: &Cx,
    content: &api::LayerVersionContentInput,
) -> Result<Taken, Error> {
    let object = Object {
        bucket: content.s3_bucket.as_deref(),
        key: content.s3_key.as_deref(),
        version: content.s3_object_version.as_deref(),
    };
    let storage = Storage::of(content.s3_object_storage_mode.as_deref());
    taken(lambda, cx, content.zip_file.as_ref(), object, storage).await
}

/// A zip that was looked at.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) zip: Bytes,
    pub(crate) package: Package,
    /// Where it stays, if it is to stay there.
    pub(crate) s3_object: Option<S3Object>,
}

/// The zip of a request, looked at; off the thread, since a large one takes a while.
async fn taken(
    lambda: &Lambda,
    cx: &Cx,
    zip: Option<&gatemill_wire::Blob>,
    object: Object<'_>,
    storage: Storage,
) -> Result<Taken, Error> {
    let (bytes, s3_object) = match (zip, object.is_named()) {
        // Ours: AWS's is not recorded.
        (Some(_), false) if storage == Storage::Reference => {
            return Err(Error::InvalidParameter(
                "S3ObjectStorageMode REFERENCE needs S3Bucket and S3Key.".to_owned(),
            ));
        }
        (Some(zip), false) => (zip.0.clone(), None),
        (None, true) => s3_code::fetch(lambda, cx, object, storage).await?,
        (Some(_), true) => {
            return Err(Error::InvalidParameter(
                "Please do not provide other FunctionCode parameters when providing a ZipFile."
                    .to_owned(),
            ));
        }
        (None, false) => {
            return Err(Error::InvalidParameter(
                "Please provide a source for function code.".to_owned(),
            ));
        }
    };
    let looked_at = tokio::task::spawn_blocking(move || {
        let unpacked_bytes = zip_intake::inspect(&bytes)?;
        let (digest, bytes_zipped) = (Digest::of(&bytes), bytes.len() as u64);
        let package = Package { digest, bytes: bytes_zipped, unpacked_bytes };
        Ok(Taken { zip: bytes, package, s3_object })
    });
    let taken = looked_at.await.map_err(|_| Error::Internal("looking at a zip panicked"))?;
    taken.map_err(refusal)
}

fn refusal(bad: BadZip) -> Error {
    match bad {
        BadZip::Zipped => Error::ZipTooLarge { max: ZIP_BYTES_MAX },
        BadZip::Unreadable(why) => {
            tracing::debug!(why, "a zip is refused");
            Error::InvalidParameter(bad.to_string())
        }
        BadZip::Unpacked => Error::InvalidParameter(bad.to_string()),
        BadZip::Io(source) => Error::Io { doing: "look at a zip", source },
    }
}

/// Puts a zip into the store, remembered as ours so that it is removed when no function names it; one that stays in S3 does
/// not come here.
pub(crate) async fn keep(lambda: &Lambda, taken: Taken) -> Result<(), Error> {
    let Taken { zip, package, s3_object } = taken;
    if s3_object.is_some() {
        return Ok(());
    }
    let mark = Key::new([package.digest.to_string()]);
    lambda.store.write(move |tx| Ok::<_, Error>(PACKAGES.put(tx, &mark, &Mark {})?)).await?;
    lambda.store.blobs().put(zip).await?;
    Ok(())
}

/// The address of a function's zip: good for ten minutes, for whoever has it.
pub(crate) fn location(lambda: &Lambda, cx: &Cx, key: &FunctionKey, package: &Package) -> String {
    let FunctionKey { account, region, name } = key;
    signed(lambda, cx, &format!("{account}/{region}/{name}/{}", package.digest))
}

/// The address of a layer version's zip, as good as a function's.
pub(crate) fn layer_location(
    lambda: &Lambda,
    cx: &Cx,
    key: &LayerKey,
    number: u64,
    package: &Package,
) -> String {
    let LayerKey { account, region, name } = key;
    signed(lambda, cx, &format!("{account}/{region}/{name}/{number}/{}", package.digest))
}

fn signed(lambda: &Lambda, cx: &Cx, path: &str) -> String {
    let expires = cx.now.seconds() + CODE_LOCATION_S;
    let signature = signature(lambda, path, expires);
    format!("{}{LOCATION_PATH}{path}?expires={expires}&signature={signature}", cx.endpoint)
}

fn signature(lambda: &Lambda, path: &str, expires: i64) -> String {
    hex(&hmac_sha256(&lambda.location_key, format!("{path}?expires={expires}").as_bytes()))
}

/// Why a zip is not given out.
#[derive(Debug, thiserror::Error)]
pub enum CodeDownloadError {
    /// The address was not signed by this server.
    #[error("the address is not valid")]
    Forbidden,
    /// The address is older than ten minutes.
    #[error("the address has expired")]
    Expired,
    /// The function, or that code of it, is gone.
    #[error("the code does not exist any more")]
    Gone,
    /// A fault of ours.
    #[error("the code could not be read")]
    Internal(#[source] gatemill_store::Error),
}

impl CodeDownloadError {
    /// The HTTP status that says it.
    pub fn status(&self) -> u16 {
        match self {
            Self::Forbidden | Self::Expired => 403,
            Self::Gone => 404,
            Self::Internal(_) => 500,
        }
    }
}

/// Gives out the zip behind an address that [`location`] or [`layer_location`] made.
pub(crate) async fn download(
    lambda: &Lambda,
    path: &str,
    query: &str,
) -> Result<Bytes, CodeDownloadError> {
    let find = |name: &str| percent::query_pairs(query).find(|(key, _)| key == name);
    let (expires, given) = match (find("expires"), find("signature")) {
        (Some((_, expires)), Some((_, given))) => (expires, given),
        _ => return Err(CodeDownloadError::Forbidden),
    };
    let expires: i64 = expires.parse().map_err(|_| CodeDownloadError::Forbidden)?;
    if !same(signature(lambda, path, expires).as_bytes(), given.as_bytes()) {
        return Err(CodeDownloadError::Forbidden);
    }
    if lambda.clock.now() > Timestamp(expires.saturating_mul(1000)) {
        return Err(CodeDownloadError::Expired);
    }
    let parts: Vec<&str> = path.split('/').collect();
    let digest: Option<Digest> = parts.last().and_then(|digest| digest.parse().ok());
    let digest = digest.ok_or(CodeDownloadError::Forbidden)?;
    let used = match parts[..] {
        [account, region, name, _] => {
            let key = FunctionKey::new(account, region, name);
            lambda.store.read(|tx| {
                // The function itself, or a version of it.
                let uses = crate::record::code_use_key(&digest, &key);
                let named = !CODE_USES.scan(tx, &uses, None, 1)?.is_empty();
                Ok(named && FUNCTIONS.contains(tx, &key.record())?)
            })
        }
        [account, region, name, number, _] => {
            let number = number.parse().map_err(|_| CodeDownloadError::Forbidden)?;
            let key = LayerKey::new(account, region, name);
            lambda.store.read(|tx| CODE_USES.contains(tx, &key.code_use(&digest, number)))
        }
        _ => return Err(CodeDownloadError::Forbidden),
    };
    if !used.map_err(CodeDownloadError::Internal)? {
        return Err(CodeDownloadError::Gone);
    }
    let zip = lambda.store.blobs().get(&digest).await.map_err(CodeDownloadError::Internal)?;
    if let Some(zip) = zip {
        return Ok(zip);
    }
    let object = match parts[..] {
        [account, region, name, number, _] => {
            let place = LayerKey::new(account, region, name);
            let place = place.version(number.parse().map_err(|_| CodeDownloadError::Forbidden)?);
            let version = lambda.store.read(|tx| LAYER_VERSIONS.get(tx, &place));
            version.map(|version| version.and_then(|version| version.s3_object))
        }
        [account, region, name, _] => {
            referred(lambda, &FunctionKey::new(account, region, name), &digest)
        }
        _ => return Err(CodeDownloadError::Forbidden),
    };
    let object = object.map_err(CodeDownloadError::Internal)?.ok_or(CodeDownloadError::Gone)?;
    let fetched = s3_code::fetch_again(lambda, &object, &digest).await;
    fetched.map_err(|_| CodeDownloadError::Gone)
}

/// Where code of a function, or of a version of it, stays in S3.
fn referred(
    lambda: &Lambda,
    key: &FunctionKey,
    digest: &Digest,
) -> Result<Option<S3Object>, gatemill_store::Error> {
    lambda.store.read(|tx| {
        let latest = FUNCTIONS.get(tx, &key.record())?.map(|function| function.configuration);
        let versions = VERSIONS.scan(tx, &key.record(), None, usize::MAX)?;
        let all = latest.into_iter().chain(versions.into_iter().map(|(_, one)| one.configuration));
        let mut of_digest = all.filter(|one| one.package.digest == *digest);
        Ok(of_digest.find_map(|one| one.s3_object))
    })
}

/// Compares without telling by its time where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}
