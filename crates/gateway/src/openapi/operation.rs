//! What of a definition becomes routes: paths, their operations, and who may use them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::import::{Definition, Guard, Route, add_integration, members, required, scalar};

pub(super) const ANY_METHOD: &str = "x-amazon-apigateway-any-method";
pub(super) const INTEGRATION: &str = "x-amazon-apigateway-integration";
pub(super) const INTEGRATIONS: &str = "#/components/x-amazon-apigateway-integrations/";
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];
/// What a path has beside operations.
const OF_PATHS: [&str; 4] = ["summary", "description", "servers", "parameters"];

/// Reads operations.
pub(super) struct Reader {
    /// What stands before every path.
    pub(super) prefix: String,
    /// The security schemes, and what they mean for a route.
    pub(super) schemes: BTreeMap<String, Option<Guard>>,
    /// The integrations that operations refer to.
    pub(super) shared: BTreeMap<String, Option<usize>>,
}

impl Reader {
    pub(super) fn read(&self, root: &Map<String, Value>, definition: &mut Definition) {
        let Some(paths) = required(root, "paths", &mut definition.notes) else { return };
        for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
            let Some(item) = item.as_object() else {
                let notes = &mut definition.notes;
                notes
                    .warn(format!("Parse issue: attribute paths.'{path}' is not of type `object`"));
                continue;
            };
            for (method, operation) in item {
                self.read_member(path, method, operation, definition);
            }
        }
    }

    fn read_member(
        &self,
        path: &str,
        method: &str,
        operation: &Value,
        definition: &mut Definition,
    ) {
        let verb = match method {
            ANY_METHOD => "ANY".to_owned(),
            method if METHODS.contains(&method) => method.to_ascii_uppercase(),
            method if OF_PATHS.contains(&method) || method.starts_with("x-") => return,
            method => {
                let notes = &mut definition.notes;
                return notes.warn(format!(
                    "Parse issue: attribute paths.'{path}'.{method} is not supported for HTTP APIs"
                ));
            }
        };
        let place = format!("paths.'{path}'({method})");
        let Some(operation) = operation.as_object() else {
            return definition
                .notes
                .error(format!("Parse issue: attribute {place} is not of type `object`"));
        };
        let is_default = path == "$default"
            || operation.get("isDefaultRoute").and_then(Value::as_bool) == Some(true);
        let key = match is_default {
            true => "$default".to_owned(),
            false => format!("{verb} {}{path}", self.prefix),
        };
        note_ignored(&place, operation, definition);
        let integration = operation
            .get(INTEGRATION)
            .and_then(|value| self.integration(&place, value, definition));
        let guard = match self.guard(operation) {
            Ok(guard) => guard,
            Err(problem) => {
                definition.notes.error(format!("Unable to create the route '{key}': {problem}"));
                Guard::Open
            }
        };
        let operation_name = operation.get("operationId").and_then(scalar);
        definition.routes.push(Route { key, operation_name, integration, guard });
    }

    fn integration(
        &self,
        place: &str,
        value: &Value,
        definition: &mut Definition,
    ) -> Option<usize> {
        let Some(reference) = value.get("$ref") else {
            return add_integration(place.to_owned(), value, definition);
        };
        let name = reference.as_str().and_then(|text| text.strip_prefix(INTEGRATIONS));
        let name = name.map(|name| name.replace("~1", "/").replace("~0", "~"));
        let found = name.and_then(|name| self.shared.get(&name));
        if found.is_none() {
            definition
                .notes
                .error(format!("The integration of {place} refers to nothing: {reference}"));
        }
        found.copied().flatten()
    }

    fn guard(&self, operation: &Map<String, Value>) -> Result<Guard, String> {
        let auth = operation.get("x-amazon-apigateway-auth").and_then(|auth| auth.get("type"));
        match auth.and_then(Value::as_str) {
            Some(kind) if kind.eq_ignore_ascii_case("AWS_IAM") => return Ok(Guard::Iam),
            Some(kind) if kind.eq_ignore_ascii_case("NONE") => return Ok(Guard::Open),
            Some(kind) => {
                return Err(format!("x-amazon-apigateway-auth has the unknown type {kind}"));
            }
            None => {}
        }
        let Some(security) = operation.get("security") else { return Ok(Guard::Open) };
        let requirements = security.as_array().ok_or("security is not of type `array`")?;
        let mut schemes = requirements.iter().flat_map(|requirement| members(Some(requirement)));
        let Some((name, scopes)) = schemes.next() else { return Ok(Guard::Open) };
        if requirements.len() > 1 || schemes.next().is_some() {
            return Err("HTTP APIs do not support multiple security requirements on one operation"
                .to_owned());
        }
        let scopes: Vec<String> =
            scopes.as_array().into_iter().flatten().filter_map(scalar).collect();
        // A route that was meant to be guarded is never imported as one that is not.
        match self.schemes.get(name) {
            None => Err(format!("the security scheme {name} is not defined")),
            Some(None) => Err(format!("the security scheme {name} has no authorizer")),
            Some(Some(Guard::Authorizer(name, _))) => Ok(Guard::Authorizer(name.clone(), scopes)),
            Some(Some(guard)) => Ok(guard.clone()),
        }
    }
}

fn note_ignored(place: &str, operation: &Map<String, Value>, definition: &mut Definition) {
    let notes = &mut definition.notes;
    if !operation.contains_key("responses") && !place.contains(ANY_METHOD) {
        notes.warn(format!("Parse issue: attribute {place}.responses is missing"));
    }
    for name in ["requestBody", "x-amazon-apigateway-request-validator", "callbacks"] {
        if operation.contains_key(name) {
            notes.info(format!("{place}.{name} is not supported for HTTP APIs and is ignored"));
        }
    }
}
