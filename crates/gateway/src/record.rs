//! What is stored of an API, and under which keys.
//!
//! The current state is one row per API, route, integration and stage. What deployments show is kept beside it as
//! rows stamped with the API's revision ([`VERSIONS`]): a deployment is the number of a revision, and shows of each
//! route the newest row that is not newer. So a deployment is immutable, making one costs the same for ten routes and
//! ten thousand, and a change writes one row more. `control::edition` keeps these rows and removes those that no
//! deployment shows any more.

use std::collections::BTreeMap;

use gatemill_store::{Key, Record, Table};
use gatemill_wire::{Cx, Timestamp};
use serde::{Deserialize, Serialize};

/// By account, region, API.
pub(crate) const APIS: Table<ApiRecord> = Table::new("gateway-apis");
/// By API alone: what a request's host names.
pub(crate) const OWNERS: Table<OwnerRecord> = Table::new("gateway-owners");
/// By API, route.
pub(crate) const ROUTES: Table<RouteRecord> = Table::new("gateway-routes");
/// By API, route key: two routes of one key cannot be.
pub(crate) const ROUTE_KEYS: Table<IdRecord> = Table::new("gateway-route-keys");
/// By API, integration, route: which routes point at an integration.
pub(crate) const ROUTE_TARGETS: Table<IdRecord> = Table::new("gateway-route-targets");
/// By API, integration.
pub(crate) const INTEGRATIONS: Table<IntegrationRecord> = Table::new("gateway-integrations");
/// By API, authorizer.
pub(crate) const AUTHORIZERS: Table<AuthorizerRecord> = Table::new("gateway-authorizers");
/// By API, authorizer, route: which routes ask an authorizer.
pub(crate) const ROUTE_AUTHORIZERS: Table<IdRecord> = Table::new("gateway-route-authorizers");
/// By account, region, VPC link.
pub(crate) const VPC_LINKS: Table<VpcLinkRecord> = Table::new("gateway-vpc-links");
/// By account, region, VPC link, API: which APIs have had an integration through it.
pub(crate) const VPC_LINK_USERS: Table<IdRecord> = Table::new("gateway-vpc-link-users");
/// By account, region, API, stage, day: what was used. It outlives the API.
pub(crate) const USAGE: Table<UsageRecord> = Table::new("gateway-usage");
/// By account, region, domain.
pub(crate) const DOMAINS: Table<DomainRecord> = Table::new("gateway-domains");
/// By account, region, domain: whom the clients of a domain with mutual TLS have to be known to.
pub(crate) const TRUST_STORES: Table<TrustStoreRecord> = Table::new("gateway-trust-stores");
/// By domain alone: what a request's host names.
pub(crate) const DOMAIN_OWNERS: Table<OwnerRecord> = Table::new("gateway-domain-owners");
/// By account, region, domain, mapping.
pub(crate) const API_MAPPINGS: Table<ApiMappingRecord> = Table::new("gateway-api-mappings");
/// By account, region, domain, rule.
pub(crate) const ROUTING_RULES: Table<RoutingRuleRecord> = Table::new("gateway-routing-rules");
/// By API, stage name.
pub(crate) const STAGES: Table<StageRecord> = Table::new("gateway-stages");
/// By API, deployment.
pub(crate) const DEPLOYMENTS: Table<DeploymentRecord> = Table::new("gateway-deployments");
/// By API, revision, deployment: which revisions are deployed.
pub(crate) const DEPLOYED: Table<IdRecord> = Table::new("gateway-deployed");
/// By API, kind, id, revision: what deployments show.
pub(crate) const VERSIONS: Table<Version> = Table::new("gateway-versions");
/// By API, model.
pub(crate) const MODELS: Table<ModelRecord> = Table::new("gateway-models");
/// By API, name: two models of one name cannot be.
pub(crate) const MODEL_NAMES: Table<IdRecord> = Table::new("gateway-model-names");
/// By connection: the WebSocket connections whose `$disconnect` is still to be delivered.
pub(crate) const CONNECTIONS: Table<ConnectionRecord> = Table::new("gateway-connections");

/// Where an API lives: the prefix of all its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiKey {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) id: String,
}

impl ApiKey {
    /// The API of this id in the caller's account and region.
    pub(crate) fn new(cx: &Cx, id: &str) -> Self {
        Self { account: cx.account().to_owned(), region: cx.region.clone(), id: id.to_owned() }
    }

    /// The key of the API itself.
    pub(crate) fn key(&self) -> Key {
        Key::new([&self.account, &self.region, &self.id])
    }

    /// The key of something in the API.
    pub(crate) fn of(&self, part: &str) -> Key {
        self.key().and(part)
    }
}

/// An API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ApiRecord {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) ip_address_type: String,
    pub(crate) settings: Settings,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) created: Timestamp,
    /// Made by quick create: the route and the integration that it manages.
    pub(crate) quick: Option<QuickCreate>,
    /// Counts every change of what a deployment shows.
    pub(crate) revision: u64,
    pub(crate) routes: u32,
    pub(crate) integrations: u32,
    pub(crate) deployments: u32,
}

/// What quick create made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct QuickCreate {
    pub(crate) route: String,
    pub(crate) integration: String,
}

/// What of the API itself is deployed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) cors: Option<Cors>,
    pub(crate) disable_execute_api_endpoint: bool,
    /// What a WebSocket API has; an HTTP API has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) websocket: Option<WebSocketSettings>,
}

/// Cross-origin resource sharing, as the owner set it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cors {
    pub(crate) allow_credentials: Option<bool>,
    pub(crate) allow_headers: Option<Vec<String>>,
    pub(crate) allow_methods: Option<Vec<String>>,
    pub(crate) allow_origins: Option<Vec<String>>,
    pub(crate) expose_headers: Option<Vec<String>>,
    pub(crate) max_age: Option<i32>,
}

/// Whose an API is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OwnerRecord {
    pub(crate) account: String,
    pub(crate) region: String,
}

/// A row of an index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct IdRecord {
    pub(crate) id: String,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RouteRecord {
    pub(crate) id: String,
    pub(crate) key: String,
    /// The id of its integration.
    pub(crate) integration: Option<String>,
    pub(crate) operation_name: Option<String>,
    pub(crate) managed: bool,
    /// What a route of a WebSocket API has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) websocket: Option<WebSocketRoute>,
    #[serde(default, skip_serializing_if = "Authorization::is_open")]
    pub(crate) authorization: Authorization,
}

/// Who may use a route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Authorization {
    pub(crate) kind: AuthorizationKind,
    /// The id of the authorizer of the kinds that have one.
    pub(crate) authorizer: Option<String>,
    /// A token has to have one of these, if there are any.
    pub(crate) scopes: Vec<String>,
}

/// How a route finds out who asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AuthorizationKind {
    /// It does not.
    #[default]
    None,
    /// By the signature.
    Iam,
    /// By a function.
    Custom,
    /// By a token.
    Jwt,
}

impl Authorization {
    /// Whether it is the default: everybody may.
    pub(crate) fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

/// An authorizer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuthorizerRecord {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) identity_source: Vec<String>,
    pub(crate) how: AuthorizerKind,
}

/// How an authorizer decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AuthorizerKind {
    /// By asking a function.
    Request(RequestAuthorizer),
    /// By the signature and the claims of a token.
    Jwt { issuer: String, audience: Vec<String> },
}

/// An authorizer that asks a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RequestAuthorizer {
    pub(crate) uri: String,
    pub(crate) payload_format: PayloadFormat,
    /// Whether it answers with `isAuthorized` and not with a policy.
    pub(crate) simple: bool,
    pub(crate) ttl_seconds: i32,
}

/// A domain of a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DomainRecord {
    pub(crate) name: String,
    /// The ARN that was given for it.
    pub(crate) certificate: Option<String>,
    pub(crate) mode: RoutingMode,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) created: Timestamp,
    /// Whom its clients have to be known to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mutual_tls: Option<MutualTlsRecord>,
}

/// The trust store of a domain, as it was named; its text is a [`TrustStoreRecord`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MutualTlsRecord {
    pub(crate) uri: String,
    pub(crate) version: Option<String>,
    /// What it is known by.
    pub(crate) fingerprint: String,
    /// What of it is not used.
    pub(crate) warnings: Vec<String>,
}

/// The certificates of a trust store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrustStoreRecord {
    pub(crate) pem: String,
}

/// What decides where the requests of a domain go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RoutingMode {
    #[default]
    Mappings,
    Rules,
    RulesThenMappings,
}

/// A path of a domain that leads to a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApiMappingRecord {
    pub(crate) id: String,
    /// Without slashes around it; empty for what no other mapping takes.
    pub(crate) key: String,
    pub(crate) api: String,
    pub(crate) stage: String,
}

/// A rule by which requests of a domain lead to a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoutingRuleRecord {
    pub(crate) id: String,
    /// The lowest comes first.
    pub(crate) priority: i32,
    /// One of them has to begin the path, if there are any.
    pub(crate) base_paths: Vec<String>,
    /// Of each list one header has to have a value that its pattern takes.
    pub(crate) headers: Vec<Vec<(String, String)>>,
    pub(crate) api: String,
    pub(crate) stage: String,
    /// Whether the API does not see the base path.
    pub(crate) strip: bool,
}

/// What a stage was used for on a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// Requests answered.
    pub calls: u64,
    /// Bytes of their answers.
    pub bytes_out: u64,
    /// Messages of WebSocket APIs.
    pub messages: u64,
    /// Minutes that connections of WebSocket APIs were open.
    pub connection_minutes: u64,
}

impl UsageRecord {
    /// What came since.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            calls: self.calls - before.calls,
            bytes_out: self.bytes_out - before.bytes_out,
            messages: self.messages - before.messages,
            connection_minutes: self.connection_minutes - before.connection_minutes,
        }
    }

    /// With more of it.
    pub(crate) fn plus(&self, more: &Self) -> Self {
        Self {
            calls: self.calls + more.calls,
            bytes_out: self.bytes_out + more.bytes_out,
            messages: self.messages + more.messages,
            connection_minutes: self.connection_minutes + more.connection_minutes,
        }
    }
}

/// A VPC link: a way to hosts that clients cannot reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VpcLinkRecord {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) subnets: Vec<String>,
    pub(crate) security_groups: Vec<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) created: Timestamp,
}

/// An integration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct IntegrationRecord {
    pub(crate) id: String,
    pub(crate) kind: IntegrationKind,
    pub(crate) uri: String,
    /// `ANY` keeps the request's.
    pub(crate) method: Option<String>,
    pub(crate) payload_format: PayloadFormat,
    pub(crate) timeout_ms: i32,
    pub(crate) description: Option<String>,
    pub(crate) managed: bool,
    /// What an integration of a WebSocket API has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) websocket: Option<WebSocketIntegration>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) request_parameters: BTreeMap<String, String>,
    /// By status.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) response_parameters: BTreeMap<String, BTreeMap<String, String>>,
    /// The id of the VPC link that it goes through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vpc_link: Option<String>,
    /// The action of a service that it is, in place of a URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<ServiceIntegration>,
    /// How the server behind a VPC link is spoken to where not in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<IntegrationTls>,
}

/// TLS towards a private server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IntegrationTls {
    /// The name that its certificate has to be for, where that is not the host's.
    pub(crate) server_name: Option<String>,
}

/// An action of a service, as an integration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceIntegration {
    /// Such as `SQS-SendMessage`.
    pub(crate) subtype: String,
    /// The role that was named for it.
    pub(crate) credentials: String,
}

/// What an integration passes requests to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum IntegrationKind {
    /// A function.
    AwsProxy,
    /// An HTTP server.
    HttpProxy,
    /// A function, called with what a template makes (WebSocket APIs).
    Aws,
    /// An HTTP server, asked with what a template makes (WebSocket APIs).
    Http,
    /// Nobody: a template is the answer (WebSocket APIs).
    Mock,
}

/// The form of a function's event and answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PayloadFormat {
    V1,
    V2,
}

/// A stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StageRecord {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) auto_deploy: bool,
    pub(crate) deployment: Option<String>,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) default_settings: RouteSettings,
    pub(crate) route_settings: BTreeMap<String, RouteSettings>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    pub(crate) status_message: Option<String>,
    pub(crate) managed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) access_log: Option<AccessLog>,
    /// Counts how often the answers of authorizers were to be forgotten.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) authorizer_cache: u64,
}

/// Where a stage logs its requests, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccessLog {
    pub(crate) destination: String,
    pub(crate) format: String,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How a stage treats a route.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RouteSettings {
    pub(crate) burst: Option<i32>,
    pub(crate) rate: Option<f64>,
    /// Whether metrics are kept by route.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) metrics: bool,
}

/// A deployment: a revision of its API under a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeploymentRecord {
    pub(crate) id: String,
    pub(crate) description: Option<String>,
    pub(crate) automatic: bool,
    pub(crate) revision: u64,
    pub(crate) created: Timestamp,
}

/// One thing as it was from one revision on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Version {
    Settings(Settings),
    Route(RouteRecord),
    Integration(IntegrationRecord),
    Model(ModelRecord),
    Authorizer(AuthorizerRecord),
    /// It is gone from this revision on.
    Removed,
}

/// What a WebSocket API has of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct WebSocketSettings {
    /// Chooses a message's route.
    pub(crate) route_selection: String,
    pub(crate) api_key_selection: String,
    /// Whether models are stored and deployed that are no valid schemas.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) disable_schema_validation: bool,
}

/// What a route of a WebSocket API has of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct WebSocketRoute {
    pub(crate) response_selection: Option<String>,
    /// Its route responses: at most one, `$default`.
    pub(crate) responses: Vec<RouteResponseRecord>,
    /// Chooses the model that a message has to fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model_selection: Option<String>,
    /// Names of models, by what chooses them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) request_models: BTreeMap<String, String>,
    /// From `route.request.{header,querystring}.name` to whether a handshake needs it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) request_parameters: BTreeMap<String, bool>,
    /// Whether only a client with an API key may use it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) api_key_required: bool,
}

/// What makes a route answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RouteResponseRecord {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) model_selection: Option<String>,
    pub(crate) models: Option<BTreeMap<String, String>>,
    /// From `route.response.header.name` to whether it is there always: a declaration, as `models` are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) parameters: BTreeMap<String, bool>,
}

/// What an integration of a WebSocket API has of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct WebSocketIntegration {
    /// From `integration.request.{header,querystring,path}.name` to an expression.
    pub(crate) request_parameters: BTreeMap<String, String>,
    pub(crate) request_templates: BTreeMap<String, String>,
    pub(crate) template_selection: Option<String>,
    pub(crate) passthrough: Passthrough,
    pub(crate) responses: Vec<IntegrationResponseRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_handling: Option<ContentHandling>,
}

/// What happens to a body between the client and the integration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ContentHandling {
    /// It is base 64, and is decoded.
    ToBinary,
    /// It is binary, and is encoded as base 64; text stays as it is.
    ToText,
}

/// What happens to a message that no request template is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Passthrough {
    /// It is passed on.
    #[default]
    WhenNoMatch,
    /// It is passed on only where there is no template at all.
    WhenNoTemplates,
    /// It is refused.
    Never,
}

/// How an integration's answer becomes a route's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct IntegrationResponseRecord {
    pub(crate) id: String,
    /// `$default`, a text, or a pattern between slashes.
    pub(crate) key: String,
    pub(crate) templates: BTreeMap<String, String>,
    pub(crate) template_selection: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_handling: Option<ContentHandling>,
    /// From `route.response.header.name` to an expression.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) parameters: BTreeMap<String, String>,
}

/// A model: a JSON schema under a name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ModelRecord {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) content_type: String,
    pub(crate) description: Option<String>,
    pub(crate) schema: String,
}

/// A WebSocket connection, as far as its `$disconnect` needs it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConnectionRecord {
    /// Which run of the server had it.
    pub(crate) run: String,
    pub(crate) account: String,
    pub(crate) api: String,
    pub(crate) stage: String,
    pub(crate) domain_name: String,
    pub(crate) source_ip: String,
    pub(crate) user_agent: Option<String>,
    pub(crate) connected: Timestamp,
    /// What the authorizer of `$connect` said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) authorizer: Option<serde_json::Map<String, serde_json::Value>>,
}

macro_rules! version_one {
    ($($record:ty),* $(,)?) => {
        $(impl Record for $record { const VERSION: u8 = 1; })*
    };
}

version_one!(
    ApiRecord,
    OwnerRecord,
    IdRecord,
    RouteRecord,
    IntegrationRecord,
    AuthorizerRecord,
    VpcLinkRecord,
    UsageRecord,
    DomainRecord,
    TrustStoreRecord,
    ApiMappingRecord,
    RoutingRuleRecord,
    StageRecord,
    DeploymentRecord,
    Version,
    ModelRecord,
    ConnectionRecord,
);

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
