//! The immutable view of an API's stages that requests are served from.
//!
//! Compiled from the stored versions at the revision that each stage shows: routes in a trie, source ARNs, functions
//! and URIs resolved with the stage's variables. Whatever can be known before a request is known here.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gatemill_store::{Key, Reader, Store};
use gatemill_wire::payload::CorsPolicy;
use http::Method;

use crate::{
    access_log::StageLog,
    authorizer::AuthorizerSnapshot,
    error::Result,
    functions::FunctionTarget,
    limits::{STAGES_PER_API_MAX, VPC_LINKS_MAX},
    mapping::{RequestMapping, ResponseMapping},
    measure,
    proxy::{
        cors,
        throttle::{AccountBuckets, Bucket},
    },
    record::{
        APIS, ApiKey, Authorization, AuthorizationKind, AuthorizerRecord, DEPLOYMENTS,
        IntegrationKind, IntegrationRecord, ModelRecord, OWNERS, PayloadFormat, RouteRecord,
        RouteSettings, STAGES, Settings, StageRecord, VERSIONS, VPC_LINKS, Version,
        WebSocketSettings,
    },
    service::ServiceTarget,
    trie::{RouteKey, Trie},
    uri::{UriTemplate, substitute},
    usage::{Counters, Metered, Usage},
    websocket::{
        key::KeySource,
        snapshot::{self as websocket, Surroundings, WebSocketStage},
        validate,
    },
};
use gatemill_meter::Subject;

/// An API as requests see it.
#[derive(Debug)]
pub(crate) struct ApiSnapshot {
    pub(crate) stages: Vec<Arc<StageSnapshot>>,
}

/// A stage as requests see it.
#[derive(Debug)]
pub(crate) struct StageSnapshot {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) api_id: String,
    pub(crate) name: String,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) cors: Option<CorsPolicy>,
    pub(crate) disabled: bool,
    pub(crate) routes: Vec<RouteSnapshot>,
    pub(crate) trie: Trie,
    /// What the stage of a WebSocket API has in place of routes.
    pub(crate) websocket: Option<WebSocketStage>,
    pub(crate) authorizers: BTreeMap<String, Arc<AuthorizerSnapshot>>,
    pub(crate) log: Option<StageLog>,
    pub(crate) counters: Arc<Counters>,
    /// As what its requests are measured.
    pub(crate) subject: Arc<Subject>,
    /// The account's.
    pub(crate) bucket: Option<Arc<Bucket>>,
}

/// What a snapshot is compiled with, beside the store.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) usage: Arc<Usage>,
    pub(crate) accounts: AccountBuckets,
}

/// A route as requests see it.
#[derive(Debug)]
pub(crate) struct RouteSnapshot {
    pub(crate) key: String,
    /// The path of the key; `$default` for the route of that name.
    pub(crate) path: String,
    /// The names of its variables, in their order.
    pub(crate) variables: Vec<String>,
    /// What API Gateway calls itself towards a function's policy.
    pub(crate) source_arn: String,
    pub(crate) integration: Option<Arc<IntegrationSnapshot>>,
    pub(crate) bucket: Option<Arc<Bucket>>,
    pub(crate) access: Access,
    pub(crate) counters: Option<Arc<Counters>>,
    /// As what its requests are measured, where the stage asked for that.
    pub(crate) subject: Option<Arc<Subject>>,
}

/// Who may use a route.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// Everybody.
    Open,
    /// Who signs.
    Iam,
    /// Whom an authorizer lets through, with one of the scopes if there are any.
    By { authorizer: Arc<AuthorizerSnapshot>, scopes: Vec<String> },
    /// Nobody: its authorizer is not there.
    Broken,
}

/// An integration as requests see it.
#[derive(Debug)]
pub(crate) struct IntegrationSnapshot {
    pub(crate) timeout: Duration,
    pub(crate) to: To,
    pub(crate) request: RequestMapping,
    /// By the status of the integration's answer.
    pub(crate) responses: BTreeMap<u16, ResponseMapping>,
}

/// What an integration passes requests to.
#[derive(Debug)]
pub(crate) enum To {
    /// A function.
    Function { function: FunctionTarget, format: PayloadFormat },
    /// An HTTP server.
    Http(HttpTarget),
    /// An action of a service.
    Service(ServiceTarget),
    /// Nothing: with this stage's variables the URI is none.
    Nowhere,
}

/// An HTTP server behind a route.
#[derive(Debug)]
pub(crate) struct HttpTarget {
    pub(crate) uri: UriTemplate,
    /// Replaces the request's.
    pub(crate) method: Option<Method>,
    /// Whether it is a host behind a VPC link, which gets the whole path with its stage.
    pub(crate) private: bool,
    /// The name that its certificate has to be for, where that is not the host's.
    pub(crate) server_name: Option<Arc<str>>,
}

impl StageSnapshot {
    /// Where the keys of its clients come from.
    pub(crate) fn key_source(&self) -> KeySource {
        self.websocket.as_ref().map(|websocket| websocket.key_source).unwrap_or_default()
    }
}

impl ApiSnapshot {
    /// The stage of this name.
    pub(crate) fn stage(&self, name: &str) -> Option<&Arc<StageSnapshot>> {
        self.stages.iter().find(|stage| stage.name == name)
    }
}

/// Compiles an API; `None` when there is none. The buckets of `before` live on, so that a change of the API does not
/// fill them.
pub(crate) fn compile(
    store: &Store,
    api_id: &str,
    before: Option<&ApiSnapshot>,
    shared: &Shared,
) -> Result<Option<ApiSnapshot>> {
    store.read(|tx| {
        let Some(owner) = OWNERS.get(tx, &Key::new([api_id]))? else { return Ok(None) };
        let at = ApiKey { account: owner.account, region: owner.region, id: api_id.to_owned() };
        let api = APIS.get(tx, &at.key())?;
        // An API never changes its protocol, so that it is known of a stage that shows nothing yet, too.
        let settings = Settings {
            websocket: api.and_then(|api| api.settings.websocket),
            ..Settings::default()
        };
        let undeployed = Shown {
            settings: settings.websocket.is_some().then_some(&settings),
            ..Shown::default()
        };
        let mut stages = Vec::new();
        let mut versions = None;
        let links =
            VPC_LINKS.scan(tx, &Key::new([&at.account, &at.region]), None, VPC_LINKS_MAX)?;
        let links: Vec<String> = links.into_iter().map(|(_, link)| link.id).collect();
        for (_, stage) in STAGES.scan(tx, &at.key(), None, STAGES_PER_API_MAX)? {
            let Some(revision) = revision(tx, &at, &stage)? else {
                stages.push(Arc::new(compile_stage(&at, &stage, &undeployed, before, shared)));
                continue;
            };
            let versions = match &versions {
                Some(versions) => versions,
                None => versions.insert(VERSIONS.scan(tx, &at.key(), None, usize::MAX)?),
            };
            let mut shown = shown(versions, revision);
            shown.links = &links;
            stages.push(Arc::new(compile_stage(&at, &stage, &shown, before, shared)));
        }
        Ok(Some(ApiSnapshot { stages }))
    })
}

/// The revision that a stage shows.
pub(crate) fn revision(tx: &impl Reader, at: &ApiKey, stage: &StageRecord) -> Result<Option<u64>> {
    let Some(id) = &stage.deployment else { return Ok(None) };
    Ok(DEPLOYMENTS.get(tx, &at.of(id))?.map(|deployment| deployment.revision))
}

/// What an API was at one revision.
#[derive(Default)]
pub(crate) struct Shown<'v> {
    /// The VPC links that are there.
    links: &'v [String],
    pub(crate) settings: Option<&'v Settings>,
    pub(crate) routes: Vec<&'v RouteRecord>,
    pub(crate) integrations: BTreeMap<&'v str, &'v IntegrationRecord>,
    pub(crate) authorizers: Vec<&'v AuthorizerRecord>,
    models: Vec<&'v ModelRecord>,
}

/// The newest version of each thing that is not newer than the revision. The rows come ordered by thing, then by
/// revision.
pub(crate) fn shown(versions: &[(Key, Version)], revision: u64) -> Shown<'_> {
    let mut shown = Shown::default();
    let same = |(a, _): &(Key, Version), (b, _): &(Key, Version)| {
        // Kind and id, read as the key's bytes up to the revision's nine.
        let thing = |key: &Key| key.as_bytes().len().saturating_sub(9);
        a.as_bytes()[..thing(a)] == b.as_bytes()[..thing(b)]
    };
    for rows in versions.chunk_by(same) {
        let not_newer =
            |(key, _): &&(Key, Version)| key.number(5).is_some_and(|from| from <= revision);
        match rows.iter().rev().find(not_newer) {
            Some((_, Version::Settings(settings))) => shown.settings = Some(settings),
            Some((_, Version::Route(route))) => shown.routes.push(route),
            Some((_, Version::Integration(integration))) => {
                shown.integrations.insert(&integration.id, integration);
            }
            Some((_, Version::Authorizer(authorizer))) => shown.authorizers.push(authorizer),
            Some((_, Version::Model(model))) => shown.models.push(model),
            Some((_, Version::Removed)) | None => {}
        }
    }
    shown
}

fn compile_stage(
    at: &ApiKey,
    stage: &StageRecord,
    shown: &Shown<'_>,
    before: Option<&ApiSnapshot>,
    shared: &Shared,
) -> StageSnapshot {
    let before = before.and_then(|api| api.stage(&stage.name));
    let integrations: BTreeMap<_, _> = shown
        .integrations
        .iter()
        .map(|(id, record)| {
            (*id, Arc::new(compile_integration(record, &stage.variables, shown.links)))
        })
        .collect();
    let authorizers: BTreeMap<_, _> = shown
        .authorizers
        .iter()
        .map(|record| {
            let before = before.and_then(|stage| stage.authorizers.get(&record.id));
            let cache = stage.authorizer_cache;
            let compiled = AuthorizerSnapshot::compile(at, record, &stage.variables, cache, before);
            (record.id.clone(), compiled)
        })
        .collect();
    let buckets: BTreeMap<&str, &Arc<Bucket>> = before
        .iter()
        .flat_map(|stage| &stage.routes)
        .filter_map(|route| Some((route.key.as_str(), route.bucket.as_ref()?)))
        .collect();
    let settings = shown.settings;
    let websocket = settings
        .and_then(|settings| settings.websocket.as_ref())
        .map(|own| compile_websocket(at, stage, shown, own, &authorizers, before));
    let mut trie = Trie::new();
    let mut routes = Vec::with_capacity(shown.routes.len());
    for record in shown.routes.iter().filter(|_| websocket.is_none()) {
        let Some(key) = RouteKey::parse(&record.key) else { continue };
        let Ok(number) = u32::try_from(routes.len()) else { break };
        trie.insert(&key, number);
        let integration = record.integration.as_deref().and_then(|id| integrations.get(id));
        let bucket = bucket(stage, &record.key, buckets.get(record.key.as_str()).copied());
        let mut route =
            compile_route(at, &stage.name, &record.key, &key, integration.cloned(), bucket);
        route.access = access(&record.authorization, &authorizers);
        let settings = stage.route_settings.get(&record.key);
        if settings.unwrap_or(&stage.default_settings).metrics {
            route.counters = Some(shared.usage.of(metered(at, &stage.name, Some(&record.key))));
            route.subject = Some(measure::of_route(at, &stage.name, &record.key));
        }
        routes.push(route);
    }
    StageSnapshot {
        account: at.account.clone(),
        region: at.region.clone(),
        api_id: at.id.clone(),
        name: stage.name.clone(),
        variables: stage.variables.clone(),
        cors: settings.and_then(|settings| settings.cors.as_ref()).map(cors::policy),
        disabled: settings.is_some_and(|settings| settings.disable_execute_api_endpoint),
        routes,
        trie,
        websocket,
        authorizers,
        log: stage.access_log.as_ref().and_then(|log| StageLog::compile(log, &at.id, &stage.name)),
        counters: shared.usage.of(metered(at, &stage.name, None)),
        subject: measure::of_stage(at, &stage.name),
        bucket: shared.accounts.of(&at.account, &at.region),
    }
}

fn metered(at: &ApiKey, stage: &str, route: Option<&str>) -> Metered {
    Metered {
        account: at.account.clone(),
        region: at.region.clone(),
        api: at.id.clone(),
        stage: stage.to_owned(),
        route: route.map(str::to_owned),
    }
}

fn access(
    authorization: &Authorization,
    authorizers: &BTreeMap<String, Arc<AuthorizerSnapshot>>,
) -> Access {
    match authorization.kind {
        AuthorizationKind::None => Access::Open,
        AuthorizationKind::Iam => Access::Iam,
        AuthorizationKind::Custom | AuthorizationKind::Jwt => {
            let id = authorization.authorizer.as_ref();
            id.and_then(|id| authorizers.get(id)).map_or(Access::Broken, |authorizer| Access::By {
                authorizer: Arc::clone(authorizer),
                scopes: authorization.scopes.clone(),
            })
        }
    }
}

fn compile_websocket(
    at: &ApiKey,
    stage: &StageRecord,
    shown: &Shown<'_>,
    settings: &WebSocketSettings,
    authorizers: &BTreeMap<String, Arc<AuthorizerSnapshot>>,
    before: Option<&Arc<StageSnapshot>>,
) -> WebSocketStage {
    let before = before.and_then(|stage| stage.websocket.as_ref());
    let integrations: BTreeMap<_, _> = shown
        .integrations
        .iter()
        .filter_map(|(id, record)| {
            let own = record.websocket.as_ref()?;
            Some((*id, Arc::new(websocket::integration(record, own, &stage.variables))))
        })
        .collect();
    let schemas = validate::schemas(&shown.routes, &shown.models);
    let schemas = &schemas;
    let mut compiled = WebSocketStage::new(settings);
    for record in &shown.routes {
        let had = before.and_then(|before| before.routes.get(&record.key)?.bucket.as_ref());
        let integration = record.integration.as_deref().and_then(|id| integrations.get(id));
        let bucket = bucket(stage, &record.key, had);
        let access = access(&record.authorization, authorizers);
        let settings = stage.route_settings.get(&record.key);
        let measured = settings.unwrap_or(&stage.default_settings).metrics;
        let stage = &stage.name;
        let around = Surroundings { at, stage, integration, bucket, access, schemas, measured };
        compiled.insert(record, around);
    }
    compiled
}

fn compile_route(
    at: &ApiKey,
    stage: &str,
    text: &str,
    key: &RouteKey<'_>,
    integration: Option<Arc<IntegrationSnapshot>>,
    bucket: Option<Arc<Bucket>>,
) -> RouteSnapshot {
    let (path, variables, resource) = match key {
        RouteKey::Default => ("$default", Vec::new(), "$default".to_owned()),
        RouteKey::Path { verb, path, segments } => {
            let names = segments.iter().filter_map(|segment| segment.name().map(str::to_owned));
            let method = if verb.is_some() { text.split(' ').next().unwrap_or("*") } else { "*" };
            (*path, names.collect(), format!("{method}{path}"))
        }
    };
    let ApiKey { account, region, id } = at;
    RouteSnapshot {
        key: text.to_owned(),
        path: path.to_owned(),
        variables,
        source_arn: format!("arn:aws:execute-api:{region}:{account}:{id}/{stage}/{resource}"),
        integration,
        bucket,
        access: Access::Open,
        counters: None,
        subject: None,
    }
}

fn compile_integration(
    record: &IntegrationRecord,
    variables: &BTreeMap<String, String>,
    links: &[String],
) -> IntegrationSnapshot {
    let linked = record.vpc_link.as_ref().is_none_or(|link| links.contains(link));
    let timeout = Duration::from_millis(u64::from(record.timeout_ms.unsigned_abs()));
    let uri = substitute(&record.uri, variables).filter(|_| linked);
    let to = uri.and_then(|uri| match record.kind {
        IntegrationKind::AwsProxy if record.service.is_some() => {
            let service = record.service.as_ref()?;
            let target = ServiceTarget::read(&service.subtype, &record.request_parameters).ok()?;
            Some(To::Service(target))
        }
        IntegrationKind::AwsProxy => {
            let function = FunctionTarget::from_integration_uri(&uri)?;
            Some(To::Function { function, format: record.payload_format })
        }
        IntegrationKind::HttpProxy => {
            let method = record.method.as_deref().filter(|method| *method != "ANY");
            let method = method.and_then(|method| Method::from_bytes(method.as_bytes()).ok());
            let private = record.vpc_link.is_some() && crate::uri::is_bare(&uri);
            let tls = record.tls.as_ref();
            let server_name = tls.and_then(|tls| tls.server_name.as_deref()).map(Arc::from);
            let plain = uri.strip_prefix("http://").filter(|_| tls.is_some());
            let uri = plain.map_or_else(|| uri.clone(), |rest| format!("https://{rest}"));
            let uri = UriTemplate::parse(&uri)?;
            Some(To::Http(HttpTarget { uri, method, private, server_name }))
        }
        // Only WebSocket APIs have them.
        IntegrationKind::Aws | IntegrationKind::Http | IntegrationKind::Mock => None,
    });
    // Both were read before they were stored.
    let request = match record.service {
        Some(_) => RequestMapping::default(),
        None => RequestMapping::read(&record.request_parameters).unwrap_or_default(),
    };
    let responses = ResponseMapping::read_all(&record.response_parameters).unwrap_or_default();
    IntegrationSnapshot { timeout, to: to.unwrap_or(To::Nowhere), request, responses }
}

/// The bucket of a route: the one it had if its limits are the same.
fn bucket(stage: &StageRecord, key: &str, before: Option<&Arc<Bucket>>) -> Option<Arc<Bucket>> {
    let own = stage.route_settings.get(key);
    let limit = |settings: &RouteSettings| (settings.rate, settings.burst);
    let (rate, burst) = limit(own.unwrap_or(&RouteSettings::default()));
    let (default_rate, default_burst) = limit(&stage.default_settings);
    let bucket = Bucket::new(rate.or(default_rate), burst.or(default_burst))?;
    match before {
        Some(before) if before.same_limits(&bucket) => Some(Arc::clone(before)),
        Some(_) | None => Some(Arc::new(bucket)),
    }
}
