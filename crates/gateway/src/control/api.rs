//! The family of APIs: `CreateApi` (with quick create), `GetApi`, `GetApis`, `UpdateApi`, `DeleteApi`.

use gatemill_api::apigatewayv2::{
    Api, CreateApiRequest, CreateApiResponse, DeleteApiRequest, GetApiRequest, GetApiResponse,
    GetApisRequest, GetApisResponse, ImportApiResponse, ReimportApiResponse, UpdateApiRequest,
    UpdateApiResponse,
};
use gatemill_store::{Key, Record, Table, Write};
use gatemill_wire::{Cx, Iso8601};

use crate::{
    Gateway,
    control::{
        cors,
        edition::{Edition, Stamp},
        endpoint::api_endpoint,
        gaps, integration, lead, length,
        page::page,
        rest, route, says, stage, tag, unbuilt, websocket,
    },
    error::{Error, Result},
    record::{
        APIS, AUTHORIZERS, ApiKey, ApiRecord, DEPLOYED, DEPLOYMENTS, INTEGRATIONS, MODEL_NAMES,
        MODELS, OWNERS, OwnerRecord, QuickCreate, ROUTE_AUTHORIZERS, ROUTE_KEYS, ROUTE_TARGETS,
        ROUTES, STAGES, Settings, VERSIONS,
    },
    usage_plans::record::Place,
};

/// What AWS answers for an HTTP API, and takes as long as nothing else is asked for.
const ROUTE_SELECTION: &str = "$request.method $request.path";
const ROUTE_SELECTION_BRACED: &str = "${request.method} ${request.path}";
const API_KEY_SELECTION: &str = "$request.header.x-api-key";
pub(crate) const IPV4: &str = "ipv4";

/// The members of an API in an answer; the answers of four operations have the same.
macro_rules! members {
    ($answer:ident, $record:expr, $endpoint:expr) => {{
        let record: &ApiRecord = $record;
        $answer {
            api_endpoint: Some($endpoint),
            api_gateway_managed: None,
            api_id: Some(record.id.clone()),
            api_key_selection_expression: Some(api_key_selection(record).to_owned()),
            cors_configuration: record.settings.cors.as_ref().map(cors::answer),
            created_date: Some(Iso8601(record.created)),
            description: record.description.clone(),
            disable_schema_validation: disable_schema_validation(record),
            disable_execute_api_endpoint: Some(record.settings.disable_execute_api_endpoint),
            import_info: None,
            ip_address_type: Some(record.ip_address_type.clone()),
            name: record.name.clone().into(),
            protocol_type: protocol(record).to_owned().into(),
            route_selection_expression: route_selection(record).to_owned().into(),
            tags: Some(record.tags.clone()),
            version: record.version.clone(),
            warnings: None,
        }
    }};
}

/// `CreateApi`.
pub(crate) async fn create(
    gateway: &Gateway,
    cx: &Cx,
    req: CreateApiRequest,
) -> Result<CreateApiResponse> {
    let websocket = match req.protocol_type.as_str() {
        "HTTP" => None,
        "WEBSOCKET" => Some(websocket::api::accept(&req)?),
        _ => {
            return Err(Error::invalid(
                "Invalid protocol specified. Must be one of [HTTP, WEBSOCKET]",
            ));
        }
    };
    unbuilt(&gaps::QUICK_CREDENTIALS, says(req.credentials_arn.as_deref()))?;
    let own = websocket.is_none();
    check_common(
        req.api_key_selection_expression.as_deref().filter(|_| own),
        req.route_selection_expression.as_deref().filter(|_| own),
        req.disable_schema_validation.filter(|_| own),
        req.ip_address_type.as_deref(),
    )?;
    check_texts(Some(&req.name), req.description.as_deref(), req.version.as_deref())?;
    let quick = quick_create(cx, req.target.as_deref(), req.route_key.as_deref())?;
    let api = ApiRecord {
        id: cx.id(10),
        name: req.name,
        description: req.description.filter(|text| !text.is_empty()),
        version: req.version.filter(|text| !text.is_empty()),
        ip_address_type: IPV4.to_owned(),
        settings: Settings {
            cors: req.cors_configuration.map(cors::accept).transpose()?,
            disable_execute_api_endpoint: req.disable_execute_api_endpoint.unwrap_or(false),
            websocket,
        },
        tags: tag::accept(req.tags.unwrap_or_default())?,
        created: cx.now,
        quick: None,
        revision: 0,
        routes: 0,
        integrations: 0,
        deployments: 0,
    };
    let at = ApiKey::new(cx, &api.id);
    let stamp = Stamp { now: cx.now, deployment: cx.id(6) };
    let api = gateway.write(at, move |tx, at| insert(tx, at, &api, quick.as_ref(), &stamp)).await?;
    let endpoint = endpoint(gateway, cx, &api);
    Ok(members!(CreateApiResponse, &api, endpoint))
}

/// `GetApi`.
pub(crate) async fn get(gateway: &Gateway, cx: &Cx, req: GetApiRequest) -> Result<GetApiResponse> {
    let api = gateway.read(cx, &req.api_id, |_, _, api| Ok(api))?;
    let endpoint = endpoint(gateway, cx, &api);
    Ok(members!(GetApiResponse, &api, endpoint))
}

/// `GetApis`.
pub(crate) async fn list(
    gateway: &Gateway,
    cx: &Cx,
    req: GetApisRequest,
) -> Result<GetApisResponse> {
    let prefix = Key::new([cx.account(), &cx.region]);
    let (apis, next_token) = gateway.store.read(|tx| {
        page(&APIS, tx, &prefix, req.max_results.as_deref(), req.next_token.as_deref())
    })?;
    let items = apis.iter().map(|api| members!(Api, api, endpoint(gateway, cx, api)));
    Ok(GetApisResponse { items: Some(items.collect()), next_token })
}

/// `UpdateApi`.
pub(crate) async fn update(
    gateway: &Gateway,
    cx: &Cx,
    req: UpdateApiRequest,
) -> Result<UpdateApiResponse> {
    unbuilt(&gaps::QUICK_CREDENTIALS, says(req.credentials_arn.as_deref()))?;
    let own = !gateway.is_websocket(cx, &req.api_id)?;
    check_common(
        req.api_key_selection_expression.as_deref().filter(|_| own),
        req.route_selection_expression.as_deref().filter(|_| own),
        req.disable_schema_validation.filter(|_| own),
        req.ip_address_type.as_deref(),
    )?;
    check_texts(req.name.as_deref(), req.description.as_deref(), req.version.as_deref())?;
    if let Some(key) = &req.route_key {
        route::check_key(key)?;
    }
    let cors = req.cors_configuration.clone().map(cors::accept).transpose()?;
    let api_id = req.api_id.clone();
    let api = gateway
        .edit(cx, &api_id, move |edition| {
            apply(&mut edition.api, &req);
            let mut settings = edition.api.settings.clone();
            if let Some(cors) = &cors {
                settings.cors = Some(cors.clone());
            }
            if let Some(disable) = req.disable_execute_api_endpoint {
                settings.disable_execute_api_endpoint = disable;
            }
            if let Some(websocket) = &mut settings.websocket {
                websocket::api::apply(websocket, &req)?;
            }
            if settings != edition.api.settings {
                edition.api.settings = settings;
                edition.note_settings()?;
            }
            update_quick(edition, req.target.as_deref(), req.route_key.as_deref())?;
            Ok(edition.api.clone())
        })
        .await?;
    let endpoint = endpoint(gateway, cx, &api);
    Ok(members!(UpdateApiResponse, &api, endpoint))
}

/// The answer of `ImportApi`, without what there is to say about the definition.
pub(crate) fn imported(gateway: &Gateway, cx: &Cx, api: &ApiRecord) -> ImportApiResponse {
    members!(ImportApiResponse, api, endpoint(gateway, cx, api))
}

/// The answer of `ReimportApi`, without what there is to say about the definition.
pub(crate) fn reimported(gateway: &Gateway, cx: &Cx, api: &ApiRecord) -> ReimportApiResponse {
    members!(ReimportApiResponse, api, endpoint(gateway, cx, api))
}

/// `DeleteApi`, with everything in it; refused while a domain's mapping leads to it.
pub(crate) async fn delete(gateway: &Gateway, cx: &Cx, req: DeleteApiRequest) -> Result<()> {
    let plans = std::sync::Arc::clone(&gateway.usage_plans);
    gateway
        .write(ApiKey::new(cx, &req.api_id), move |tx, at| {
            super::edition::api(tx, at)?;
            if lead::is_mapped(tx, at, None)? {
                return Err(Error::ApiMapped(at.id.clone()));
            }
            rest::forget_api(tx, at)?;
            plans.note_change(tx, &Place::of_api(at));
            let key = at.key();
            APIS.delete(tx, &key)?;
            OWNERS.delete(tx, &Key::new([&at.id]))?;
            delete_below(&ROUTES, tx, &key)?;
            delete_below(&ROUTE_KEYS, tx, &key)?;
            delete_below(&ROUTE_TARGETS, tx, &key)?;
            delete_below(&INTEGRATIONS, tx, &key)?;
            delete_below(&AUTHORIZERS, tx, &key)?;
            delete_below(&ROUTE_AUTHORIZERS, tx, &key)?;
            delete_below(&STAGES, tx, &key)?;
            delete_below(&DEPLOYMENTS, tx, &key)?;
            delete_below(&DEPLOYED, tx, &key)?;
            delete_below(&MODELS, tx, &key)?;
            delete_below(&MODEL_NAMES, tx, &key)?;
            delete_below(&VERSIONS, tx, &key)
        })
        .await
}

fn delete_below<R: Record>(table: &Table<R>, tx: &mut Write, prefix: &Key) -> Result<()> {
    for (key, _) in table.scan(tx, prefix, None, usize::MAX)? {
        table.delete(tx, &key)?;
    }
    Ok(())
}

/// The address of an API in answers.
pub(crate) fn endpoint(gateway: &Gateway, cx: &Cx, api: &ApiRecord) -> String {
    let endpoint = api_endpoint(&cx.endpoint, gateway.settings.base_domain.as_deref(), &api.id);
    match (&api.settings.websocket, endpoint.strip_prefix("http")) {
        (Some(_), Some(rest)) => format!("ws{rest}"),
        (_, _) => endpoint,
    }
}

fn protocol(api: &ApiRecord) -> &'static str {
    if api.settings.websocket.is_some() { "WEBSOCKET" } else { "HTTP" }
}

fn route_selection(api: &ApiRecord) -> &str {
    let websocket = api.settings.websocket.as_ref();
    websocket.map_or(ROUTE_SELECTION, |websocket| &websocket.route_selection)
}

/// Only WebSocket APIs have models.
fn disable_schema_validation(api: &ApiRecord) -> Option<bool> {
    api.settings.websocket.as_ref().map(|websocket| websocket.disable_schema_validation)
}

fn api_key_selection(api: &ApiRecord) -> &str {
    let websocket = api.settings.websocket.as_ref();
    websocket.map_or(API_KEY_SELECTION, |websocket| &websocket.api_key_selection)
}

/// What both create and update take only as AWS's default for HTTP APIs.
pub(crate) fn check_common(
    api_key_selection: Option<&str>,
    route_selection: Option<&str>,
    disable_schema_validation: Option<bool>,
    ip_address_type: Option<&str>,
) -> Result<()> {
    unbuilt(
        &gaps::HTTP_KEY_SELECTION,
        says(api_key_selection) && api_key_selection != Some(API_KEY_SELECTION),
    )?;
    if disable_schema_validation == Some(true) {
        return Err(Error::invalid(
            "DisableSchemaValidation is not supported on protocolType HTTP",
        ));
    }
    unbuilt(&gaps::ADDRESSES, ip_address_type.is_some_and(|kind| kind != IPV4))?;
    match route_selection {
        None | Some("" | ROUTE_SELECTION | ROUTE_SELECTION_BRACED) => Ok(()),
        Some(_) => Err(Error::invalid(format!(
            "The route selection expression for APIs of protocol type HTTP must be \"{ROUTE_SELECTION_BRACED}\"."
        ))),
    }
}

/// Checks the lengths of what has a limit.
pub(crate) fn check_texts(
    name: Option<&str>,
    description: Option<&str>,
    version: Option<&str>,
) -> Result<()> {
    length("name", name.unwrap_or("-"), 1, 128)?;
    length("description", description.unwrap_or_default(), 0, 1024)?;
    length("version", version.unwrap_or_default(), 0, 64)
}

/// What quick create adds to an API.
struct Quick {
    integration: crate::record::IntegrationRecord,
    route_id: String,
    route_key: String,
}

fn quick_create(cx: &Cx, target: Option<&str>, key: Option<&str>) -> Result<Option<Quick>> {
    let Some(target) = target.filter(|target| !target.is_empty()) else {
        if says(key) {
            return Err(Error::invalid(
                "A route key can be specified only together with a target.",
            ));
        }
        return Ok(None);
    };
    let route_key = key.unwrap_or("$default").to_owned();
    route::check_key(&route_key)?;
    let integration = integration::quick(cx.id(7), target)?;
    Ok(Some(Quick { integration, route_id: cx.id(7), route_key }))
}

fn insert(
    tx: &mut Write,
    at: &ApiKey,
    api: &ApiRecord,
    quick: Option<&Quick>,
    stamp: &Stamp,
) -> Result<ApiRecord> {
    let owner = OwnerRecord { account: at.account.clone(), region: at.region.clone() };
    OWNERS.put(tx, &Key::new([&at.id]), &owner)?;
    let mut edition = Edition::new(tx, at, api.clone(), stamp);
    edition.note_settings()?;
    if let Some(quick) = quick {
        integration::insert(&mut edition, &quick.integration)?;
        let route = route::quick(&quick.route_id, &quick.route_key, &quick.integration.id);
        route::insert(&mut edition, &route)?;
        let integration = quick.integration.id.clone();
        edition.api.quick = Some(QuickCreate { route: quick.route_id.clone(), integration });
        edition.put_stage(&stage::quick(stamp.now))?;
    }
    edition.close()
}

fn apply(api: &mut ApiRecord, req: &UpdateApiRequest) {
    if let Some(name) = &req.name {
        api.name.clone_from(name);
    }
    if let Some(description) = &req.description {
        api.description = Some(description.clone()).filter(|text| !text.is_empty());
    }
    if let Some(version) = &req.version {
        api.version = Some(version.clone()).filter(|text| !text.is_empty());
    }
}

/// Changes what quick create made; an API made otherwise has nothing to change.
fn update_quick(edition: &mut Edition<'_>, target: Option<&str>, key: Option<&str>) -> Result<()> {
    if target.is_none() && key.is_none() {
        return Ok(());
    }
    let Some(quick) = edition.api.quick.clone() else {
        return Err(Error::invalid(
            "target and routeKey can be updated only for APIs that were created with quick create.",
        ));
    };
    if let Some(target) = target {
        integration::insert(edition, &integration::quick(quick.integration, target)?)?;
    }
    match key {
        Some(key) => route::rename(edition, &quick.route, key),
        None => Ok(()),
    }
}
