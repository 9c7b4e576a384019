//! Function URLs: create, read, update, delete, list. Their data plane is in [`crate::url`].
//!
//! A URL belongs to a function or to an alias of it, never to a version. One whose alias was deleted stays, as with AWS, and
//! lets nobody in.

use std::sync::Arc;

use gatemill_api::lambda as api;
use gatemill_store::{Key, Write};
use gatemill_wire::{Cx, Operation as _, OperationInfo, Qualifier, Timestamp, pagination};

use super::{function, reference};
use crate::{
    Error, Lambda,
    record::{ALIASES, FUNCTIONS, alias_key},
    target::{FunctionKey, FunctionTarget},
    url::{
        self, ID_CHARS, Urls,
        record::{
            AuthType, CorsRecord, InvokeMode, URL_OWNERS, URLS, UrlOwnerRecord, UrlRecord,
            owner_key, url_key,
        },
    },
};

const NO_FUNCTION: &str = "Function does not exist";
const NO_RESOURCE: &str = "The resource you requested does not exist.";

/// `CreateFunctionUrlConfig`.
pub(crate) async fn create(
    lambda: &Lambda,
    cx: &Cx,
    request: api::CreateFunctionUrlConfigRequest,
) -> Result<api::CreateFunctionUrlConfigResponse, Error> {
    let named = (request.function_name.as_str(), request.qualifier.as_deref());
    let target = owner(cx, api::CreateFunctionUrlConfig::INFO, named, NO_FUNCTION)?;
    let now = cx.now.millis();
    let record = UrlRecord {
        id: cx.id(ID_CHARS),
        auth: AuthType::of(&request.auth_type),
        cors: request.cors.and_then(cors_record),
        mode: request.invoke_mode.as_deref().map_or(InvokeMode::Buffered, InvokeMode::of),
        created_ms: now,
        last_modified_ms: now,
    };
    let (created, owned) = (record.clone(), target.clone());
    lambda
        .store
        .write(move |tx| {
            let key = owned.key().to_owned();
            let Some(function) = FUNCTIONS.get(tx, &key.record())? else {
                return Err(Error::NotFound(NO_FUNCTION.to_owned()));
            };
            let alias = alias_of(&owned);
            if let Some(alias) = &alias
                && !ALIASES.contains(tx, &alias_key(&key, alias))?
            {
                return Err(Error::NotFound(NO_FUNCTION.to_owned()));
            }
            // A request to a URL says nothing of a tenant. The text is ours: AWS's is not recorded.
            if function.configuration.per_tenant {
                return Err(Error::InvalidParameter(
                    "Function URLs are not supported for functions with tenant isolation."
                        .to_owned(),
                ));
            }
            let place = place(&owned);
            if URLS.contains(tx, &place)? {
                return Err(Error::Conflict(format!(
                    "Failed to create function url config for [functionArn = {}]. Error message:  FunctionUrlConfig \
                     exists for this Lambda function",
                    owned.arn()
                )));
            }
            URLS.put(tx, &place, &created)?;
            let FunctionKey { account, region, name } = key;
            let owner = UrlOwnerRecord { account, region, name, qualifier: alias };
            Ok(URL_OWNERS.put(tx, &owner_key(&created.id), &owner)?)
        })
        .await?;
    let view = view(lambda, cx, &target, record);
    Ok(api::CreateFunctionUrlConfigResponse {
        function_url: view.function_url,
        function_arn: view.function_arn,
        auth_type: view.auth_type,
        cors: view.cors,
        creation_time: view.creation_time,
        // AWS repeats it only when it was said.
        invoke_mode: request.invoke_mode,
    })
}

/// `GetFunctionUrlConfig`.
pub(crate) async fn get(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetFunctionUrlConfigRequest,
) -> Result<api::GetFunctionUrlConfigResponse, Error> {
    let named = (request.function_name.as_str(), request.qualifier.as_deref());
    let target = owner(cx, api::GetFunctionUrlConfig::INFO, named, NO_RESOURCE)?;
    let record = lambda.store.read(|tx| Ok::<_, Error>(URLS.get(tx, &place(&target))?))?;
    let record = record.ok_or_else(|| Error::NotFound(NO_RESOURCE.to_owned()))?;
    let view = view(lambda, cx, &target, record);
    Ok(api::GetFunctionUrlConfigResponse {
        function_url: view.function_url,
        function_arn: view.function_arn,
        auth_type: view.auth_type,
        cors: view.cors,
        creation_time: view.creation_time,
        last_modified_time: view.last_modified_time,
        invoke_mode: view.invoke_mode,
    })
}

/// `UpdateFunctionUrlConfig`: what is given replaces what was; an empty `Cors` removes it.
pub(crate) async fn update(
    lambda: &Lambda,
    cx: &Cx,
    request: api::UpdateFunctionUrlConfigRequest,
) -> Result<api::UpdateFunctionUrlConfigResponse, Error> {
    let named = (request.function_name.as_str(), request.qualifier.as_deref());
    let target = owner(cx, api::UpdateFunctionUrlConfig::INFO, named, NO_RESOURCE)?;
    let now = cx.now.millis();
    let auth = request.auth_type.as_deref().map(AuthType::of);
    let mode = request.invoke_mode.as_deref().map(InvokeMode::of);
    let cors = request.cors.map(cors_record);
    let (place, urls) = (place(&target), Arc::clone(&lambda.urls));
    let record = lambda
        .store
        .write(move |tx| {
            let Some(mut record) = URLS.get(tx, &place)? else {
                return Err(Error::NotFound(NO_RESOURCE.to_owned()));
            };
            record.auth = auth.unwrap_or(record.auth);
            record.mode = mode.unwrap_or(record.mode);
            if let Some(cors) = &cors {
                record.cors.clone_from(cors);
            }
            record.last_modified_ms = now;
            URLS.put(tx, &place, &record)?;
            forget_on_commit(tx, &urls, &record.id);
            Ok(record)
        })
        .await?;
    let view = view(lambda, cx, &target, record);
    Ok(api::UpdateFunctionUrlConfigResponse {
        function_url: view.function_url,
        function_arn: view.function_arn,
        auth_type: view.auth_type,
        cors: view.cors,
        creation_time: view.creation_time,
        last_modified_time: view.last_modified_time,
        invoke_mode: request.invoke_mode,
    })
}

/// `DeleteFunctionUrlConfig`. The policy stays.
pub(crate) async fn delete(
    lambda: &Lambda,
    cx: &Cx,
    request: api::DeleteFunctionUrlConfigRequest,
) -> Result<(), Error> {
    let named = (request.function_name.as_str(), request.qualifier.as_deref());
    let target = owner(cx, api::DeleteFunctionUrlConfig::INFO, named, NO_RESOURCE)?;
    let (place, urls) = (place(&target), Arc::clone(&lambda.urls));
    lambda
        .store
        .write(move |tx| {
            let Some(record) = URLS.get(tx, &place)? else {
                return Err(Error::NotFound(NO_RESOURCE.to_owned()));
            };
            remove(tx, &urls, &place, &record)
        })
        .await
}

/// `ListFunctionUrlConfigs`: the function's and those of its aliases, at most 50 a page.
pub(crate) async fn list(
    lambda: &Lambda,
    cx: &Cx,
    request: api::ListFunctionUrlConfigsRequest,
) -> Result<api::ListFunctionUrlConfigsResponse, Error> {
    let info = api::ListFunctionUrlConfigs::INFO;
    let key = owner(cx, info, (&request.function_name, None), NO_FUNCTION)?.key().to_owned();
    let after = request.marker.as_deref().map(function::text_of_marker).transpose()?;
    let after = after.map(|qualifier| url_key(&key, &qualifier));
    let limit = function::page_size(request.max_items);
    let found = lambda.store.read(|tx| {
        if !FUNCTIONS.contains(tx, &key.record())? {
            return Err(Error::NotFound(NO_FUNCTION.to_owned()));
        }
        Ok(URLS.scan(tx, &key.record(), after.as_ref(), limit + 1)?)
    })?;
    let qualifier = |place: &Key| place.text(3).unwrap_or_default().into_owned();
    let (page, next_marker) =
        pagination::page(found, limit, |(place, _)| qualifier(place).into_bytes());
    let views = page.into_iter().map(|(place, record)| {
        let alias = Some(qualifier(&place)).filter(|alias| !alias.is_empty());
        let FunctionKey { account, region, name } = key.clone();
        let qualifier = alias.map(Qualifier::Alias);
        view(lambda, cx, &FunctionTarget { account, region, name, qualifier }, record)
    });
    Ok(api::ListFunctionUrlConfigsResponse { function_url_configs: views.collect(), next_marker })
}

/// Removes the URLs of a function that is deleted.
pub(crate) fn remove_all(
    tx: &mut Write,
    urls: &Arc<Urls>,
    function: &FunctionKey,
) -> Result<(), Error> {
    for (place, record) in URLS.scan(tx, &function.record(), None, usize::MAX)? {
        remove(tx, urls, &place, &record)?;
    }
    Ok(())
}

fn remove(tx: &mut Write, urls: &Arc<Urls>, place: &Key, record: &UrlRecord) -> Result<(), Error> {
    URLS.delete(tx, place)?;
    URL_OWNERS.delete(tx, &owner_key(&record.id))?;
    forget_on_commit(tx, urls, &record.id);
    Ok(())
}

fn forget_on_commit(tx: &mut Write, urls: &Arc<Urls>, id: &str) {
    let (urls, id) = (Arc::clone(urls), id.to_owned());
    tx.on_commit(move || urls.forget(&id));
}

/// Whose URL a request names: a function, or an alias of it.
fn owner(
    cx: &Cx,
    operation: &OperationInfo,
    (name, qualifier): (&str, Option<&str>),
    missing: &str,
) -> Result<FunctionTarget, Error> {
    let target = reference::resolve(cx, operation, name, qualifier)?;
    match target.qualifier {
        None | Some(Qualifier::Alias(_)) => Ok(target),
        Some(Qualifier::Latest | Qualifier::Version(_)) => Err(Error::NotFound(missing.to_owned())),
    }
}

fn alias_of(target: &FunctionTarget) -> Option<String> {
    match &target.qualifier {
        Some(Qualifier::Alias(alias)) => Some(alias.clone()),
        _ => None,
    }
}

/// The key of the URL of a function or an alias.
fn place(target: &FunctionTarget) -> Key {
    url_key(&target.key().to_owned(), &alias_of(target).unwrap_or_default())
}

/// A configuration as it was given; one without any member is none.
fn cors_record(cors: api::Cors) -> Option<CorsRecord> {
    let record = CorsRecord {
        allow_credentials: cors.allow_credentials,
        allow_headers: cors.allow_headers,
        allow_methods: cors.allow_methods,
        allow_origins: cors.allow_origins,
        expose_headers: cors.expose_headers,
        max_age: cors.max_age,
    };
    (record != CorsRecord::default()).then_some(record)
}

fn view(
    lambda: &Lambda,
    cx: &Cx,
    target: &FunctionTarget,
    record: UrlRecord,
) -> api::FunctionUrlConfig {
    let domain = lambda.settings.url_domain.as_deref();
    api::FunctionUrlConfig {
        function_url: url::address(&cx.endpoint, domain, &target.region, &record.id),
        function_arn: target.arn(),
        creation_time: Timestamp(record.created_ms).iso8601_millis(),
        last_modified_time: Timestamp(record.last_modified_ms).iso8601_millis(),
        cors: record.cors.map(|cors| api::Cors {
            allow_credentials: cors.allow_credentials,
            allow_headers: cors.allow_headers,
            allow_methods: cors.allow_methods,
            allow_origins: cors.allow_origins,
            expose_headers: cors.expose_headers,
            max_age: cors.max_age,
        }),
        auth_type: record.auth.name().to_owned(),
        invoke_mode: Some(record.mode.name().to_owned()),
    }
}
