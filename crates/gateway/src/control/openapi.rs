//! `ImportApi`, `ReimportApi`, `ExportApi`.
//!
//! An import is one transaction: the API is there as its definition says, or nothing happened. To import an API anew
//! replaces its content, but a route keeps its id where its key is the same, and so do its integration and authorizers;
//! what is the same is not touched, so that the same definition twice makes no second deployment.

use std::collections::{BTreeMap, BTreeSet};

use gatemill_api::apigatewayv2::{
    ExportApiRequest, ExportApiResponse, ImportApiRequest, ImportApiResponse, ReimportApiRequest,
    ReimportApiResponse,
};
use gatemill_store::{Key, Reader, Record, Table};
use gatemill_wire::{Cx, Typed};

use crate::{
    Gateway,
    control::{
        api::{self, IPV4},
        authorizer, cors,
        edition::{Edition, Kind, Stamp},
        integration, route, stage, tag,
    },
    error::{Error, Result},
    openapi::{self, Basepath, Content, Definition, Export, Guard, Importer},
    record::{
        APIS, AUTHORIZERS, ApiKey, ApiRecord, Authorization, AuthorizationKind, AuthorizerKind,
        AuthorizerRecord, Cors, INTEGRATIONS, IntegrationRecord, OWNERS, OwnerRecord, ROUTES,
        RouteRecord, Settings, VERSIONS, Version,
    },
    snapshot,
};

/// What an import makes, with ids for what is new.
#[derive(Clone)]
struct Parts {
    name: String,
    description: Option<String>,
    version: Option<String>,
    disable_execute_api_endpoint: Option<bool>,
    cors: Option<Cors>,
    tags: BTreeMap<String, String>,
    authorizers: Vec<AuthorizerRecord>,
    integrations: Vec<IntegrationRecord>,
    routes: Vec<NewRoute>,
}

/// A route whose authorizer is known by its name, and whose integration by its place.
#[derive(Clone)]
struct NewRoute {
    id: String,
    key: String,
    operation_name: Option<String>,
    integration: Option<usize>,
    guard: Guard,
}

/// What is said about an import that went well.
struct Said {
    info: Option<Vec<String>>,
    warnings: Option<Vec<String>>,
}

/// `ImportApi`.
pub(crate) async fn import(
    gateway: &Gateway,
    cx: &Cx,
    req: ImportApiRequest,
) -> Result<ImportApiResponse> {
    let (parts, said) =
        read(gateway, cx, req.body, req.basepath.as_deref(), req.fail_on_warnings, &[]).await?;
    let api = ApiRecord {
        id: cx.id(10),
        name: parts.name.clone(),
        description: parts.description.clone(),
        version: parts.version.clone(),
        ip_address_type: IPV4.to_owned(),
        settings: Settings {
            cors: parts.cors.clone(),
            disable_execute_api_endpoint: parts.disable_execute_api_endpoint.unwrap_or(false),
            websocket: None,
        },
        tags: parts.tags.clone(),
        created: cx.now,
        quick: None,
        revision: 0,
        routes: 0,
        integrations: 0,
        deployments: 0,
    };
    let stamp = Stamp { now: cx.now, deployment: cx.id(6) };
    let at = ApiKey::new(cx, &api.id);
    let api = gateway
        .write(at, move |tx, at| {
            let owner = OwnerRecord { account: at.account.clone(), region: at.region.clone() };
            OWNERS.put(tx, &Key::new([&at.id]), &owner)?;
            APIS.put(tx, &at.key(), &api)?;
            let mut edition = Edition::new(tx, at, api.clone(), &stamp);
            edition.note_settings()?;
            replace(&mut edition, &parts)?;
            edition.close()
        })
        .await?;
    Ok(ImportApiResponse {
        import_info: said.info,
        warnings: said.warnings,
        ..api::imported(gateway, cx, &api)
    })
}

/// `ReimportApi`. What the definition does not say of tags and of the endpoint stays as it is.
pub(crate) async fn reimport(
    gateway: &Gateway,
    cx: &Cx,
    req: ReimportApiRequest,
) -> Result<ReimportApiResponse> {
    only_http(gateway, cx, &req.api_id, "imported")?;
    let known = gateway.read(cx, &req.api_id, |tx, at, _| rows(&AUTHORIZERS, tx, &at.key()))?;
    let (parts, said) =
        read(gateway, cx, req.body, req.basepath.as_deref(), req.fail_on_warnings, &known).await?;
    let api = gateway
        .edit(cx, &req.api_id, move |edition| {
            let api = &mut edition.api;
            api.name.clone_from(&parts.name);
            api.description.clone_from(&parts.description);
            api.version.clone_from(&parts.version);
            api.tags.extend(parts.tags.clone());
            api.tags = tag::accept(std::mem::take(&mut api.tags))?;
            let disable = api.settings.disable_execute_api_endpoint;
            let settings = Settings {
                cors: parts.cors.clone(),
                disable_execute_api_endpoint: parts.disable_execute_api_endpoint.unwrap_or(disable),
                websocket: None,
            };
            if settings != api.settings {
                api.settings = settings;
                edition.note_settings()?;
            }
            replace(edition, &parts)?;
            Ok(edition.api.clone())
        })
        .await?;
    Ok(ReimportApiResponse {
        import_info: said.info,
        warnings: said.warnings,
        ..api::reimported(gateway, cx, &api)
    })
}

/// `ExportApi`: the API as it is, or as one of its stages shows it, under the media type of what was asked for.
pub(crate) async fn export(
    gateway: &Gateway,
    cx: &Cx,
    req: ExportApiRequest,
) -> Result<Typed<ExportApiResponse>> {
    if req.specification != "OAS30" {
        return Err(Error::invalid("Invalid specification specified. Must be one of [OAS30]"));
    }
    if req.export_version.as_deref().is_some_and(|version| version != "1.0") {
        return Err(Error::invalid("Invalid exportVersion specified. Must be one of [1.0]"));
    }
    let as_yaml = match req.output_type.as_str() {
        "YAML" => true,
        "JSON" => false,
        _ => {
            return Err(Error::invalid(
                "Invalid outputType specified. Must be one of [JSON, YAML]",
            ));
        }
    };
    only_http(gateway, cx, &req.api_id, "exported")?;
    let stage_name = req.stage_name.as_deref().filter(|name| !name.is_empty());
    let (api, content) = gateway.read(cx, &req.api_id, |tx, at, api| {
        let content = match stage_name {
            Some(name) => of_stage(tx, at, name)?,
            None => current(tx, at, &api)?,
        };
        Ok((api, content))
    })?;
    let written = openapi::export(&Export {
        api: &api,
        content: &content,
        endpoint: &api::endpoint(gateway, cx, &api),
        base_path: stage_name.filter(|name| *name != "$default").unwrap_or_default(),
        with_extensions: req.include_extensions.unwrap_or(true),
    });
    let (text, content_type) = match as_yaml {
        true => (openapi::to_yaml(&written), "application/yaml"),
        false => (format!("{written:#}"), "application/json"),
    };
    Ok(Typed { output: ExportApiResponse { body: text.into() }, content_type })
}

fn only_http(gateway: &Gateway, cx: &Cx, api_id: &str, done: &str) -> Result<()> {
    if gateway.is_websocket(cx, api_id)? {
        return Err(Error::invalid(format!(
            "Only APIs with a protocol type of HTTP can be {done}."
        )));
    }
    Ok(())
}

fn current(tx: &impl Reader, at: &ApiKey, api: &ApiRecord) -> Result<Content> {
    let (settings, key) = (api.settings.clone(), at.key());
    Ok(Content {
        settings,
        routes: rows(&ROUTES, tx, &key)?,
        integrations: rows(&INTEGRATIONS, tx, &key)?,
        authorizers: rows(&AUTHORIZERS, tx, &key)?,
    })
}

fn rows<R: Record>(table: &Table<R>, from: &impl Reader, prefix: &Key) -> Result<Vec<R>> {
    Ok(table.scan(from, prefix, None, usize::MAX)?.into_iter().map(|(_, row)| row).collect())
}

fn of_stage(tx: &impl Reader, at: &ApiKey, name: &str) -> Result<Content> {
    let stage = stage::find(tx, at, name)?;
    let revision = snapshot::revision(tx, at, &stage)?
        .ok_or_else(|| Error::invalid("The stage has no deployment that could be exported."))?;
    let versions = VERSIONS.scan(tx, &at.key(), None, usize::MAX)?;
    let shown = snapshot::shown(&versions, revision);
    Ok(Content {
        settings: shown.settings.cloned().unwrap_or_default(),
        routes: shown.routes.into_iter().cloned().collect(),
        integrations: shown.integrations.into_values().cloned().collect(),
        authorizers: shown.authorizers.into_iter().cloned().collect(),
    })
}

/// Reads a definition and checks what can be checked outside of a transaction. `known` are the authorizers that are there.
async fn read(
    gateway: &Gateway,
    cx: &Cx,
    body: String,
    basepath: Option<&str>,
    fail_on_warnings: Option<bool>,
    known: &[AuthorizerRecord],
) -> Result<(Parts, Said)> {
    let basepath = match basepath {
        None | Some("") => Basepath::default(),
        Some(text) => Basepath::parse(text).ok_or_else(|| {
            Error::invalid("Invalid basepath specified. Must be one of [ignore, prepend, split]")
        })?,
    };
    // Six megabytes of YAML take a while, in which this thread has other callers.
    let importer = Importer { account: cx.account().to_owned(), region: cx.region.clone() };
    let reading = move || openapi::read(&body, basepath, &importer);
    let reading = tokio::task::spawn_blocking(reading).await;
    let definition = reading.map_err(|_| Error::invalid("The definition cannot be read"))?;
    if !definition.notes.errors.is_empty() {
        return Err(found("Errors", &definition.notes.errors));
    }
    if fail_on_warnings == Some(true) && !definition.notes.warnings.is_empty() {
        return Err(found("Warnings", &definition.notes.warnings));
    }
    let said = |notes: &Vec<String>| (!notes.is_empty()).then(|| notes.clone());
    let said =
        Said { info: said(&definition.notes.info), warnings: said(&definition.notes.warnings) };
    let parts = accept(gateway, cx, definition)?;
    for authorizer in &parts.authorizers {
        let before = known.iter().find(|known| known.name == authorizer.name);
        authorizer::check_issuer(gateway, authorizer, before).await?;
    }
    Ok((parts, said))
}

/// The frame is AWS's.
fn found(what: &str, notes: &[String]) -> Error {
    Error::invalid(format!("{what} found during import:\n\t{}", notes.join("\n\t")))
}

/// Makes records of a definition, by the rules for what clients make one by one.
fn accept(gateway: &Gateway, cx: &Cx, definition: Definition) -> Result<Parts> {
    let mut wrong = Vec::new();
    let mut keep = |what: String, error: Error| match error {
        Error::Invalid(text) => {
            wrong.push(format!("Unable to create {what}: {text}"));
            Ok(())
        }
        other => Err(other),
    };
    api::check_common(None, None, None, definition.ip_address_type.as_deref())?;
    let description = definition.description.as_deref();
    api::check_texts(Some(&definition.name), description, definition.version.as_deref())?;
    let mut authorizers = Vec::new();
    for request in definition.authorizers {
        let what = format!("authorizer '{}'", request.name);
        match authorizer::accept(cx, request, false) {
            Ok(record) => authorizers.push(record),
            Err(error) => keep(what, error)?,
        }
    }
    let mut integrations = Vec::new();
    for openapi::Integration { place, request } in definition.integrations {
        match integration::accept(gateway, cx, request) {
            Ok(record) => integrations.push(record),
            Err(error) => keep(format!("the integration of {place}"), error)?,
        }
    }
    let mut routes = Vec::new();
    let mut keys = BTreeSet::new();
    for openapi::Route { key, operation_name, integration, guard } in definition.routes {
        let checked = route::check_key(&key);
        if let Err(error) = checked.and(route::check_operation(operation_name.as_deref())) {
            keep(format!("route '{key}'"), error)?;
        }
        if !keys.insert(key.clone()) {
            keep(format!("route '{key}'"), Error::invalid("it is there twice"))?;
        }
        routes.push(NewRoute { id: cx.id(7), key, operation_name, integration, guard });
    }
    if !wrong.is_empty() {
        return Err(found("Errors", &wrong));
    }
    Ok(Parts {
        name: definition.name,
        description: definition.description.filter(|text| !text.is_empty()),
        version: definition.version.filter(|text| !text.is_empty()),
        disable_execute_api_endpoint: definition.disable_execute_api_endpoint,
        cors: definition.cors.map(cors::accept).transpose()?,
        tags: tag::accept(definition.tags)?,
        authorizers,
        integrations,
        routes,
    })
}

/// Puts the parts of a definition in the place of what an API has.
fn replace(edition: &mut Edition<'_>, parts: &Parts) -> Result<()> {
    let before = current(&*edition.tx, edition.at, &edition.api)?;
    let after = with_ids_of(&before, parts)?;
    // What routes hold on to is let go first, so that nothing is in use that goes or changes.
    for route in &before.routes {
        route::unlink(edition, route)?;
    }
    remove_gone(edition, &before, &after)?;
    for record in changed(&before.authorizers, &after.authorizers, |record| &record.id) {
        authorizer::insert(edition, record)?;
    }
    for record in changed(&before.integrations, &after.integrations, |record| &record.id) {
        integration::insert(edition, record)?;
    }
    let mut known: BTreeMap<&str, &RouteRecord> = BTreeMap::new();
    known.extend(before.routes.iter().map(|route| (route.id.as_str(), route)));
    for record in &after.routes {
        match known.get(record.id.as_str()) {
            None => route::insert(edition, record)?,
            Some(before) if *before == record => route::link(edition, record)?,
            Some(_) => {
                route::link(edition, record)?;
                route::store(edition, record)?;
            }
        }
    }
    // What quick create made is the owner's now.
    edition.api.quick = None;
    Ok(())
}

/// The records that are new, or not what they were.
fn changed<'a, R: PartialEq>(before: &[R], after: &'a [R], id: impl Fn(&R) -> &str) -> Vec<&'a R> {
    let before: BTreeMap<&str, &R> = before.iter().map(|record| (id(record), record)).collect();
    after.iter().filter(|record| before.get(id(record)) != Some(record)).collect()
}

fn remove_gone(edition: &mut Edition<'_>, before: &Content, after: &Content) -> Result<()> {
    let kept: BTreeSet<&str> = after.routes.iter().map(|record| record.id.as_str()).collect();
    for route in before.routes.iter().filter(|route| !kept.contains(route.id.as_str())) {
        ROUTES.delete(edition.tx, &edition.at.of(&route.id))?;
        edition.api.routes = edition.api.routes.saturating_sub(1);
        edition.note(Kind::Route, &route.id, &Version::Removed)?;
    }
    let kept: BTreeSet<&str> = after.integrations.iter().map(|record| record.id.as_str()).collect();
    for gone in before.integrations.iter().filter(|record| !kept.contains(record.id.as_str())) {
        INTEGRATIONS.delete(edition.tx, &edition.at.of(&gone.id))?;
        edition.api.integrations = edition.api.integrations.saturating_sub(1);
        edition.note(Kind::Integration, &gone.id, &Version::Removed)?;
    }
    let kept: BTreeSet<&str> = after.authorizers.iter().map(|record| record.id.as_str()).collect();
    for gone in before.authorizers.iter().filter(|record| !kept.contains(record.id.as_str())) {
        AUTHORIZERS.delete(edition.tx, &edition.at.of(&gone.id))?;
        edition.note(Kind::Authorizer, &gone.id, &Version::Removed)?;
    }
    Ok(())
}

/// The new content, with the ids of what it takes the place of: routes by their keys, authorizers by their names, and
/// integrations by their routes, or where no route has them by what they are.
fn with_ids_of(before: &Content, parts: &Parts) -> Result<Content> {
    let mut content = Content {
        authorizers: parts.authorizers.clone(),
        integrations: parts.integrations.clone(),
        ..Content::default()
    };
    for record in &mut content.authorizers {
        if let Some(known) = before.authorizers.iter().find(|known| known.name == record.name) {
            record.id.clone_from(&known.id);
        }
    }
    let by_key: BTreeMap<&str, &RouteRecord> =
        before.routes.iter().map(|route| (route.key.as_str(), route)).collect();
    let mut free: BTreeMap<&str, &IntegrationRecord> =
        before.integrations.iter().map(|record| (record.id.as_str(), record)).collect();
    let mut settled = vec![false; content.integrations.len()];
    for route in &parts.routes {
        let known = by_key.get(route.key.as_str()).and_then(|route| route.integration.as_deref());
        if let (Some(place), Some(known)) = (route.integration, known)
            && !settled[place]
            && free.remove(known).is_some()
        {
            known.clone_into(&mut content.integrations[place].id);
            settled[place] = true;
        }
    }
    let mut same: BTreeMap<String, &str> =
        free.into_iter().map(|(id, record)| (sameness(record), id)).collect();
    for (record, settled) in content.integrations.iter_mut().zip(settled) {
        if let Some(id) = same.remove(&sameness(record)).filter(|_| !settled) {
            id.clone_into(&mut record.id);
        }
    }
    for route in &parts.routes {
        let known = by_key.get(route.key.as_str());
        content.routes.push(RouteRecord {
            id: known.map_or_else(|| route.id.clone(), |known| known.id.clone()),
            key: route.key.clone(),
            integration: route.integration.map(|place| content.integrations[place].id.clone()),
            operation_name: route.operation_name.clone(),
            managed: false,
            websocket: None,
            authorization: authorization(&route.guard, &content.authorizers)?,
        });
    }
    Ok(content)
}

fn authorization(guard: &Guard, authorizers: &[AuthorizerRecord]) -> Result<Authorization> {
    let (kind, id, scopes) = match guard {
        Guard::Open => return Ok(Authorization::default()),
        Guard::Iam => (AuthorizationKind::Iam, None, None),
        Guard::Authorizer(name, scopes) => {
            let mut all = authorizers.iter();
            let authorizer = all.find(|authorizer| authorizer.name == *name);
            let kind = match authorizer.map(|authorizer| &authorizer.how) {
                Some(AuthorizerKind::Jwt { .. }) => AuthorizationKind::Jwt,
                Some(AuthorizerKind::Request(_)) | None => AuthorizationKind::Custom,
            };
            (kind, authorizer.map(|authorizer| authorizer.id.as_str()), Some(scopes.as_slice()))
        }
    };
    let kind = authorizer::kind_text(kind);
    authorizer::authorization(&Authorization::default(), Some(kind), id, scopes)
}

/// An integration as text, without its id.
fn sameness(record: &IntegrationRecord) -> String {
    let anonymous = IntegrationRecord { id: String::new(), ..record.clone() };
    serde_json::to_string(&anonymous).unwrap_or_default()
}
