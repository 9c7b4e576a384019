//! What of a WebSocket API's stage is compiled when it is deployed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use gatemill_meter::Subject;
use http::Method;

use super::{
    key::KeySource,
    mapping::Mapping,
    select::{KeyPattern, Selection},
    template::Templates,
    validate::Validation,
};
use crate::{
    functions::FunctionTarget,
    measure,
    proxy::throttle::Bucket,
    record::{
        ApiKey, ContentHandling, IntegrationKind, IntegrationRecord, Passthrough, RouteRecord,
        WebSocketIntegration, WebSocketSettings,
    },
    schema::Schema,
    snapshot::Access,
    uri::{UriTemplate, substitute},
};

/// A stage of a WebSocket API as messages see it.
#[derive(Debug, Default)]
pub(crate) struct WebSocketStage {
    pub(crate) selection: Option<Selection>,
    pub(crate) key_source: KeySource,
    pub(crate) routes: HashMap<String, Arc<Route>>,
}

/// A route as messages see it.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) key: String,
    /// What API Gateway calls itself towards a function's policy.
    pub(crate) source_arn: String,
    pub(crate) integration: Option<Arc<Integration>>,
    /// Whether what the integration answers goes back to the client.
    pub(crate) answers: bool,
    pub(crate) bucket: Option<Arc<Bucket>>,
    /// Who may open a connection; asked of `$connect` alone.
    pub(crate) access: Access,
    /// Whether only a client with an API key may use it.
    pub(crate) api_key_required: bool,
    /// As what its messages are measured, where the stage asked for that.
    pub(crate) subject: Option<Arc<Subject>>,
    pub(crate) validation: Validation,
}

/// An integration as messages see it.
#[derive(Debug)]
pub(crate) struct Integration {
    pub(crate) timeout: Duration,
    pub(crate) to: To,
    pub(crate) templates: Templates,
    pub(crate) passthrough: Passthrough,
    pub(crate) mappings: Vec<Mapping>,
    pub(crate) content_handling: Option<ContentHandling>,
    pub(crate) responses: Vec<Response>,
}

/// An integration response as answers see it.
#[derive(Debug)]
pub(crate) struct Response {
    /// What chooses it.
    pub(crate) key: KeyPattern,
    pub(crate) templates: Templates,
    pub(crate) mappings: Vec<Mapping>,
    pub(crate) content_handling: Option<ContentHandling>,
}

/// What an integration passes messages to.
#[derive(Debug)]
pub(crate) enum To {
    /// A function, with API Gateway's event.
    FunctionProxy(FunctionTarget),
    /// A function, with what a template makes or the message itself.
    Function(FunctionTarget),
    /// An HTTP server.
    Http { uri: UriTemplate, method: Method, is_proxy: bool },
    /// Nobody.
    Mock,
    /// Nothing: with this stage's variables the URI is none.
    Nowhere,
}

/// What a route is compiled from, beside its record.
pub(crate) struct Surroundings<'a> {
    pub(crate) at: &'a ApiKey,
    pub(crate) stage: &'a str,
    pub(crate) integration: Option<&'a Arc<Integration>>,
    pub(crate) bucket: Option<Arc<Bucket>>,
    pub(crate) access: Access,
    /// Whether it is measured by itself.
    pub(crate) measured: bool,
    /// The schemas of the models that routes name.
    pub(crate) schemas: &'a BTreeMap<String, Option<Arc<Schema>>>,
}

impl WebSocketStage {
    pub(crate) fn new(settings: &WebSocketSettings) -> Self {
        Self {
            selection: Selection::parse(&settings.route_selection),
            key_source: KeySource::of(&settings.api_key_selection),
            routes: HashMap::new(),
        }
    }

    pub(crate) fn insert(&mut self, record: &RouteRecord, around: Surroundings<'_>) {
        let ApiKey { account, region, id } = around.at;
        let (stage, key) = (around.stage, &record.key);
        let own = record.websocket.as_ref();
        let route = Route {
            key: key.clone(),
            source_arn: format!("arn:aws:execute-api:{region}:{account}:{id}/{stage}/{key}"),
            integration: around.integration.cloned(),
            answers: own.is_some_and(|own| !own.responses.is_empty()),
            bucket: around.bucket,
            access: around.access,
            api_key_required: own.is_some_and(|own| own.api_key_required),
            subject: around
                .measured
                .then(|| measure::of_websocket_route(around.at, stage, key, &record.id)),
            validation: Validation::new(record, around.schemas),
        };
        self.routes.insert(key.clone(), Arc::new(route));
    }
}

/// Compiles an integration.
pub(crate) fn integration(
    record: &IntegrationRecord,
    own: &WebSocketIntegration,
    variables: &BTreeMap<String, String>,
) -> Integration {
    let timeout = Duration::from_millis(u64::from(record.timeout_ms.unsigned_abs()));
    let to = substitute(&record.uri, variables).and_then(|uri| match record.kind {
        IntegrationKind::AwsProxy => {
            Some(To::FunctionProxy(FunctionTarget::from_integration_uri(&uri)?))
        }
        IntegrationKind::Aws => Some(To::Function(FunctionTarget::from_integration_uri(&uri)?)),
        IntegrationKind::HttpProxy | IntegrationKind::Http => {
            let method = Method::from_bytes(record.method.as_deref()?.as_bytes()).ok()?;
            let is_proxy = record.kind == IntegrationKind::HttpProxy;
            Some(To::Http { uri: UriTemplate::parse(&uri)?, method, is_proxy })
        }
        IntegrationKind::Mock => Some(To::Mock),
    });
    let responses = own.responses.iter().filter_map(|response| {
        let templates = Templates::new(response.template_selection.as_deref(), &response.templates);
        Some(Response {
            key: KeyPattern::parse(&response.key)?,
            templates,
            mappings: response
                .parameters
                .iter()
                .filter_map(|(to, from)| Mapping::parse_response(to, from))
                .collect(),
            content_handling: response.content_handling,
        })
    });
    Integration {
        timeout,
        to: to.unwrap_or(To::Nowhere),
        templates: Templates::new(own.template_selection.as_deref(), &own.request_templates),
        passthrough: own.passthrough,
        content_handling: own.content_handling,
        mappings: own
            .request_parameters
            .iter()
            .filter_map(|(to, from)| Mapping::parse(to, from))
            .collect(),
        responses: responses.collect(),
    }
}
