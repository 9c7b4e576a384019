//! An API, written as a definition.
//!
//! Integrations stand in their operation, as AWS writes them. Those that several routes share, or none uses, stand
//! among the components and are referred to, so that reading the definition gives the same API again.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    extension,
    operation::{ANY_METHOD, INTEGRATION, INTEGRATIONS},
};
use crate::{
    control::cors,
    record::{
        ApiRecord, AuthorizationKind, AuthorizerRecord, IntegrationRecord, RouteRecord, Settings,
    },
    trie::{RouteKey, Segment},
};

/// What an API consists of, at one moment.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) settings: Settings,
    pub(crate) routes: Vec<RouteRecord>,
    pub(crate) integrations: Vec<IntegrationRecord>,
    pub(crate) authorizers: Vec<AuthorizerRecord>,
}

/// What is to be written.
#[derive(Debug)]
pub(crate) struct Export<'a> {
    pub(crate) api: &'a ApiRecord,
    pub(crate) content: &'a Content,
    /// The API's address.
    pub(crate) endpoint: &'a str,
    /// What follows it: nothing, or the name of a stage.
    pub(crate) base_path: &'a str,
    pub(crate) with_extensions: bool,
}

/// Writes a definition.
pub(crate) fn export(export: &Export<'_>) -> Value {
    let Export { api, content, with_extensions, .. } = *export;
    let mut root = Map::new();
    root.insert("openapi".to_owned(), "3.0.1".into());
    root.insert("info".to_owned(), info(api));
    root.insert("servers".to_owned(), json!([server(export)]));
    let tags = api
        .tags
        .iter()
        .map(|(key, value)| json!({"name": key, "x-amazon-apigateway-tag-value": value}));
    let tags: Vec<Value> = tags.collect();
    if !tags.is_empty() && with_extensions {
        root.insert("tags".to_owned(), tags.into());
    }
    let writer = Writer::new(content, with_extensions);
    root.insert("paths".to_owned(), writer.paths());
    let components = writer.components();
    if !components.is_empty() {
        root.insert("components".to_owned(), components.into());
    }
    if with_extensions {
        if let Some(cors) = &content.settings.cors {
            root.insert("x-amazon-apigateway-cors".to_owned(), json!(cors::answer(cors)));
        }
        root.insert("x-amazon-apigateway-importexport-version".to_owned(), "1.0".into());
    }
    root.into()
}

fn info(api: &ApiRecord) -> Value {
    let mut info = Map::new();
    info.insert("title".to_owned(), api.name.as_str().into());
    if let Some(description) = &api.description {
        info.insert("description".to_owned(), description.as_str().into());
    }
    // `2026-11-28T20:00:00Z` as AWS writes it there.
    let created =
        || format!("{}UTC", api.created.iso8601().trim_end_matches('Z').replace('T', " "));
    let version = api.version.clone().unwrap_or_else(created);
    info.insert("version".to_owned(), version.into());
    info.into()
}

fn server(export: &Export<'_>) -> Value {
    let mut server = json!({
        "url": format!("{}/{{basePath}}", export.endpoint),
        "variables": {"basePath": {"default": export.base_path}},
    });
    if export.with_extensions && export.content.settings.disable_execute_api_endpoint {
        server["x-amazon-apigateway-endpoint-configuration"] =
            json!({"disableExecuteApiEndpoint": true});
    }
    server
}

struct Writer<'a> {
    content: &'a Content,
    /// In the order of their keys, so that the same API is always written in the same way.
    routes: Vec<&'a RouteRecord>,
    with_extensions: bool,
    integrations: BTreeMap<&'a str, &'a IntegrationRecord>,
    /// The names of those that stand among the components.
    names: BTreeMap<&'a str, String>,
    /// The name of the scheme for routes whose callers sign.
    iam: String,
}

impl<'a> Writer<'a> {
    fn new(content: &'a Content, with_extensions: bool) -> Self {
        let mut routes: Vec<_> = content.routes.iter().collect();
        routes.sort_by(|a, b| a.key.cmp(&b.key));
        let mut uses = BTreeMap::new();
        for id in routes.iter().filter_map(|route| route.integration.as_deref()) {
            *uses.entry(id).or_insert(0) += 1;
        }
        let mut names: BTreeMap<&str, String> = BTreeMap::new();
        let used = routes.iter().filter_map(|route| route.integration.as_deref());
        let mut unused: Vec<_> = content.integrations.iter().collect();
        unused.retain(|record| !uses.contains_key(record.id.as_str()));
        unused.sort_by_cached_key(|record| extension::write_integration(record).to_string());
        let unused = unused.into_iter().map(|record| record.id.as_str());
        for id in used.filter(|id| uses.get(id) != Some(&1)).chain(unused) {
            let next = names.len() + 1;
            names.entry(id).or_insert_with(|| format!("integration{next}"));
        }
        let mut iam = "sigv4".to_owned();
        while content.authorizers.iter().any(|authorizer| authorizer.name == iam) {
            iam.push('_');
        }
        let integrations = content.integrations.iter();
        let integrations = integrations.map(|record| (record.id.as_str(), record)).collect();
        Self { content, routes, integrations, with_extensions, names, iam }
    }

    fn paths(&self) -> Value {
        let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
        let is_default = |route: &&&RouteRecord| route.key == "$default";
        for route in self.routes.iter().filter(|route| !is_default(route)) {
            let Some((verb, path)) = route.key.split_once(' ') else { continue };
            let item = paths.entry(path).or_default();
            match verb {
                "ANY" if self.with_extensions => {
                    item.insert(ANY_METHOD.to_owned(), self.operation(route));
                }
                "ANY" => {}
                verb => _ = item.insert(verb.to_ascii_lowercase(), self.operation(route)),
            }
        }
        for (path, item) in &mut paths {
            let parameters = parameters(path);
            if !parameters.is_empty() {
                item.insert("parameters".to_owned(), parameters.into());
            }
        }
        let default = self.routes.iter().find(is_default);
        if let Some(route) = default.filter(|_| self.with_extensions) {
            // A route may have the path by which AWS writes the default one.
            let taken = paths.get("/$default").is_some_and(|item| item.contains_key(ANY_METHOD));
            let mut operation = self.operation(route);
            operation["isDefaultRoute"] = true.into();
            let item = paths.entry(if taken { "$default" } else { "/$default" }).or_default();
            item.insert(ANY_METHOD.to_owned(), operation);
        }
        paths
            .into_iter()
            .map(|(path, item)| (path.to_owned(), item.into()))
            .collect::<Map<_, _>>()
            .into()
    }

    fn operation(&self, route: &RouteRecord) -> Value {
        let mut operation = Map::new();
        if let Some(name) = &route.operation_name {
            operation.insert("operationId".to_owned(), name.as_str().into());
        }
        let description = format!("Default response for {}", route.key);
        operation.insert("responses".to_owned(), json!({"default": {"description": description}}));
        if let Some(security) = self.security(route) {
            operation.insert("security".to_owned(), json!([security]));
        }
        if let Some(integration) = self.integration(route).filter(|_| self.with_extensions) {
            operation.insert(INTEGRATION.to_owned(), integration);
        }
        operation.into()
    }

    fn integration(&self, route: &RouteRecord) -> Option<Value> {
        let id = route.integration.as_deref()?;
        if let Some(name) = self.names.get(id) {
            return Some(json!({"$ref": format!("{INTEGRATIONS}{name}")}));
        }
        let record = self.integrations.get(id)?;
        Some(extension::write_integration(record))
    }

    fn security(&self, route: &RouteRecord) -> Option<Value> {
        let authorization = &route.authorization;
        let mut requirement = Map::new();
        match authorization.kind {
            AuthorizationKind::None => return None,
            AuthorizationKind::Iam => _ = requirement.insert(self.iam.clone(), json!([])),
            AuthorizationKind::Custom | AuthorizationKind::Jwt => {
                let id = authorization.authorizer.as_ref()?;
                let mut all = self.content.authorizers.iter();
                let authorizer = all.find(|authorizer| authorizer.id == *id)?;
                requirement.insert(authorizer.name.clone(), json!(authorization.scopes));
            }
        }
        Some(requirement.into())
    }

    fn components(&self) -> Map<String, Value> {
        let mut components = Map::new();
        let authorizers = self.content.authorizers.iter();
        // Maps of JSON keep the order in which they are made.
        let schemes: BTreeMap<String, Value> = authorizers
            .map(|record| {
                (record.name.clone(), extension::write_authorizer(record, self.with_extensions))
            })
            .collect();
        let mut schemes: Map<String, Value> = schemes.into_iter().collect();
        let signed = |route: &RouteRecord| route.authorization.kind == AuthorizationKind::Iam;
        if self.content.routes.iter().any(signed) {
            let mut scheme = json!({"type": "apiKey", "name": "Authorization", "in": "header"});
            if self.with_extensions {
                scheme["x-amazon-apigateway-authtype"] = "awsSigv4".into();
            }
            schemes.insert(self.iam.clone(), scheme);
        }
        if !schemes.is_empty() {
            components.insert("securitySchemes".to_owned(), schemes.into());
        }
        // By their numbers, of which 10 comes after 9.
        let mut shared: Vec<_> = self.names.iter().collect();
        shared.sort_by_key(|(_, name)| (name.len(), name.as_str()));
        let shared = shared.into_iter().filter_map(|(id, name)| {
            let record = self.integrations.get(*id)?;
            Some((name.clone(), extension::write_integration(record)))
        });
        let shared: Map<String, Value> = shared.collect();
        if !shared.is_empty() && self.with_extensions {
            components.insert("x-amazon-apigateway-integrations".to_owned(), shared.into());
        }
        components
    }
}

/// The variables of a path, as OpenAPI wants them.
fn parameters(path: &str) -> Vec<Value> {
    let key = format!("ANY {path}");
    let Some(RouteKey::Path { segments, .. }) = RouteKey::parse(&key) else { return Vec::new() };
    let names = segments.iter().filter_map(Segment::name);
    let parameter = |name: &str| {
        json!({
            "name": name,
            "in": "path",
            "description": format!("Generated path parameter for {name}"),
            "required": true,
            "schema": {"type": "string"},
        })
    };
    names.map(parameter).collect()
}
