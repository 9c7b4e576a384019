//! A definition, read: what is to be made of it, and what is to be said about it.
//!
//! AWS sorts what it has to say into three kinds, and so does this: *info* about what is valid OpenAPI and of no use to
//! an HTTP API, *warnings* about what is not valid and does no harm, and errors, which nothing is imported with. All of
//! them are collected, so that an author need not come back for each.

use std::collections::BTreeMap;

use gatemill_api::apigatewayv2::{Cors, CreateAuthorizerRequest, CreateIntegrationRequest};
use serde_json::{Map, Value};

use super::{extension, operation, text};
use crate::limits::DEFINITION_NOTES_MAX;

/// What is to be made.
#[derive(Debug, Default)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) ip_address_type: Option<String>,
    /// `None` where the definition does not say.
    pub(crate) disable_execute_api_endpoint: Option<bool>,
    pub(crate) cors: Option<Cors>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) authorizers: Vec<CreateAuthorizerRequest>,
    pub(crate) integrations: Vec<Integration>,
    pub(crate) routes: Vec<Route>,
    pub(crate) notes: Notes,
}

/// An integration to be made, and where it stands.
#[derive(Debug)]
pub(crate) struct Integration {
    pub(crate) place: String,
    pub(crate) request: CreateIntegrationRequest,
}

/// A route to be made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) key: String,
    pub(crate) operation_name: Option<String>,
    /// Its place among the integrations.
    pub(crate) integration: Option<usize>,
    pub(crate) guard: Guard,
}

/// Who may use a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Guard {
    Open,
    Iam,
    /// Whom the authorizer of this name lets through, with these scopes.
    Authorizer(String, Vec<String>),
}

/// What is said about a definition.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    pub(crate) info: Vec<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) errors: Vec<String>,
}

impl Notes {
    pub(super) fn info(&mut self, text: impl Into<String>) {
        note(&mut self.info, text.into());
    }

    pub(super) fn warn(&mut self, text: impl Into<String>) {
        note(&mut self.warnings, text.into());
    }

    pub(super) fn error(&mut self, text: impl Into<String>) {
        note(&mut self.errors, text.into());
    }
}

fn note(notes: &mut Vec<String>, text: String) {
    if notes.len() < DEFINITION_NOTES_MAX && !notes.contains(&text) {
        notes.push(text);
    }
}

/// What the base path of the servers does to the paths of routes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Basepath {
    #[default]
    Ignore,
    Prepend,
    /// Its first part is a stage's name, and the rest is prepended.
    Split,
}

impl Basepath {
    /// Reads the value of the member; `None` for another than AWS's three.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "ignore" => Some(Self::Ignore),
            "prepend" => Some(Self::Prepend),
            "split" => Some(Self::Split),
            _ => None,
        }
    }
}

/// Who imports, for what a definition leaves to be filled in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Importer {
    pub(crate) account: String,
    pub(crate) region: String,
}

impl Importer {
    /// Puts in the place of AWS's variables what they stand for.
    fn fill(&self, value: &mut Value) {
        match value {
            Value::String(text) if text.contains("${AWS::") => {
                for (variable, meaning) in [
                    ("${AWS::AccountId}", self.account.as_str()),
                    ("${AWS::Partition}", "aws"),
                    ("${AWS::Region}", self.region.as_str()),
                ] {
                    *text = text.replace(variable, meaning);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.fill(item)),
            Value::Object(members) => members.values_mut().for_each(|member| self.fill(member)),
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// The members of an object; none of anything else.
pub(super) fn members(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

/// An object that every definition has; there is an error where it is none.
pub(super) fn required<'d>(
    root: &'d Map<String, Value>,
    name: &str,
    notes: &mut Notes,
) -> Option<&'d Map<String, Value>> {
    match root.get(name) {
        Some(Value::Object(members)) => return Some(members),
        Some(_) => notes.error(format!("Parse issue: attribute {name} is not of type `object`")),
        None => notes.error(format!("Parse issue: attribute {name} is missing")),
    }
    None
}

/// A scalar as text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Reads a definition. Where its notes have errors, nothing else of it counts.
pub(crate) fn read(body: &str, basepath: Basepath, importer: &Importer) -> Definition {
    let mut definition = Definition::default();
    let parsed = text::parse(body).map(|mut root| {
        importer.fill(&mut root);
        root
    });
    let root = match parsed {
        Ok(Value::Object(root)) => root,
        Ok(_) => {
            definition.notes.error("Parse issue: attribute openapi is not of type `object`");
            return definition;
        }
        Err(problem) => {
            definition.notes.error(format!("Unable to parse the definition: {problem}"));
            return definition;
        }
    };
    if !is_version_three(&root, &mut definition.notes) {
        return definition;
    }
    read_info(&root, &mut definition);
    read_settings(&root, &mut definition);
    let schemes = read_schemes(&root, &mut definition);
    let shared = read_shared(&root, &mut definition);
    let reader = operation::Reader { prefix: prefix(&root, basepath), schemes, shared };
    reader.read(&root, &mut definition);
    note_ignored(&root, &mut definition.notes);
    definition
}

fn is_version_three(root: &Map<String, Value>, notes: &mut Notes) -> bool {
    match root.get("openapi").and_then(scalar) {
        Some(version) if version == "3" || version.starts_with("3.0") => return true,
        Some(version) => {
            notes.error(format!(
                "OpenAPI {version} is not supported for HTTP APIs: 3.0 is expected"
            ));
        }
        None if root.contains_key("swagger") => {
            notes.error("OpenAPI 2.0 is not supported for HTTP APIs: 3.0 is expected");
        }
        None => notes.error("Parse issue: attribute openapi is missing"),
    }
    false
}

fn read_info(root: &Map<String, Value>, definition: &mut Definition) {
    let notes = &mut definition.notes;
    let Some(info) = required(root, "info", notes) else { return };
    match info.get("title").and_then(scalar).filter(|title| !title.is_empty()) {
        Some(title) => definition.name = title,
        None => notes.error("Parse issue: attribute info.title is missing"),
    }
    definition.description = info.get("description").and_then(scalar);
    definition.version = info.get("version").and_then(scalar);
    if definition.version.is_none() {
        notes.warn("Parse issue: attribute info.version is missing");
    }
}

fn read_settings(root: &Map<String, Value>, definition: &mut Definition) {
    const ENDPOINT: &str = "x-amazon-apigateway-endpoint-configuration";
    let servers = root.get("servers").and_then(Value::as_array);
    let of_server = servers.and_then(|servers| servers.first()?.get(ENDPOINT));
    if let Some(endpoint) = of_server.or_else(|| root.get(ENDPOINT)) {
        let disable = endpoint.get("disableExecuteApiEndpoint");
        definition.disable_execute_api_endpoint = disable.and_then(Value::as_bool);
        if disable.is_some_and(|value| !value.is_boolean()) {
            definition.notes.error("disableExecuteApiEndpoint is not of type `boolean`");
        }
        definition.ip_address_type = endpoint.get("ipAddressType").and_then(scalar);
    }
    if let Some(cors) = root.get("x-amazon-apigateway-cors") {
        match serde_json::from_value(cors.clone()) {
            Ok(cors) => definition.cors = Some(cors),
            Err(error) => {
                definition.notes.error(format!("Invalid x-amazon-apigateway-cors: {error}"));
            }
        }
    }
    for tag in root.get("tags").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| tag.get(name).and_then(scalar);
        // Others are OpenAPI's own tags, which mark operations for readers.
        if let (Some(key), Some(value)) = (text("name"), text("x-amazon-apigateway-tag-value")) {
            definition.tags.insert(key, value);
        }
    }
}

/// The security schemes by name, as far as a route can use them; their authorizers are to be made.
fn read_schemes(
    root: &Map<String, Value>,
    definition: &mut Definition,
) -> BTreeMap<String, Option<Guard>> {
    let schemes = root.get("components").and_then(|components| components.get("securitySchemes"));
    let mut guards = BTreeMap::new();
    for (name, scheme) in members(schemes) {
        let guard = if scheme.get("x-amazon-apigateway-authorizer").is_some() {
            match extension::read_authorizer(name, scheme) {
                Ok(request) => definition.authorizers.push(request),
                Err(problem) => definition
                    .notes
                    .error(format!("Unable to create authorizer '{name}': {problem}")),
            }
            Some(Guard::Authorizer(name.clone(), Vec::new()))
        } else {
            let kind = scheme.get("x-amazon-apigateway-authtype").and_then(Value::as_str);
            kind.is_some_and(|kind| kind.eq_ignore_ascii_case("awsSigv4")).then_some(Guard::Iam)
        };
        guards.insert(name.clone(), guard);
    }
    guards
}

/// The integrations that operations refer to, by name.
fn read_shared(
    root: &Map<String, Value>,
    definition: &mut Definition,
) -> BTreeMap<String, Option<usize>> {
    let components = root.get("components");
    let given =
        components.and_then(|components| components.get("x-amazon-apigateway-integrations"));
    let mut shared = BTreeMap::new();
    for (name, value) in members(given) {
        let place = format!("components.x-amazon-apigateway-integrations.{name}");
        shared.insert(name.clone(), add_integration(place, value, definition));
    }
    shared
}

/// Notes an integration to be made, and says which it is.
pub(super) fn add_integration(
    place: String,
    value: &Value,
    definition: &mut Definition,
) -> Option<usize> {
    match extension::read_integration(&place, value, &mut definition.notes) {
        Ok(request) => {
            definition.integrations.push(Integration { place, request: request? });
            Some(definition.integrations.len() - 1)
        }
        Err(problem) => {
            definition
                .notes
                .error(format!("Unable to create the integration of {place}: {problem}"));
            None
        }
    }
}

/// What stands before the path of every route: nothing, or text that begins with a slash and does not end with one.
fn prefix(root: &Map<String, Value>, basepath: Basepath) -> String {
    if basepath == Basepath::Ignore {
        return String::new();
    }
    let path = base_path(root);
    let path = path.trim_matches('/');
    let path = match basepath {
        Basepath::Split => path.split_once('/').map_or("", |(_, rest)| rest),
        Basepath::Prepend | Basepath::Ignore => path,
    };
    if path.is_empty() { String::new() } else { format!("/{path}") }
}

/// The first variable `basePath` of a server, whether its URL refers to it or not; without one the path of the first
/// server's URL.
fn base_path(root: &Map<String, Value>) -> String {
    let default = |variable: &Value| variable.get("default").and_then(scalar).unwrap_or_default();
    let mut servers = root.get("servers").and_then(Value::as_array).into_iter().flatten();
    let first = servers.clone().next();
    if let Some(variable) = servers.find_map(|server| server.get("variables")?.get("basePath")) {
        return default(variable);
    }
    let mut url = first.and_then(|server| server.get("url")).and_then(scalar).unwrap_or_default();
    for (name, variable) in members(first.and_then(|server| server.get("variables"))) {
        url = url.replace(&format!("{{{name}}}"), default(variable).trim_start_matches('/'));
    }
    let after_scheme = url.split_once("://").map_or(url.as_str(), |(_, after)| after);
    let path = after_scheme.find('/').map_or("", |at| &after_scheme[at..]);
    path.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// What stands in definitions of REST APIs and means nothing here.
fn note_ignored(root: &Map<String, Value>, notes: &mut Notes) {
    for name in [
        "x-amazon-apigateway-api-key-source",
        "x-amazon-apigateway-binary-media-types",
        "x-amazon-apigateway-documentation",
        "x-amazon-apigateway-gateway-responses",
        "x-amazon-apigateway-minimum-compression-size",
        "x-amazon-apigateway-request-validator",
        "x-amazon-apigateway-request-validators",
        "security",
    ] {
        if root.contains_key(name) {
            notes.info(format!("{name} is not supported for HTTP APIs and is ignored"));
        }
    }
    if root.contains_key("x-amazon-apigateway-policy") {
        notes.warn("Resource policies are not supported for HTTP APIs: the policy is ignored");
    }
    if root.get("components").is_some_and(|components| components.get("schemas").is_some()) {
        notes.info("Models are not supported for HTTP APIs: components.schemas is ignored");
    }
}
