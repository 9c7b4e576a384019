//! Request parameters of HTTP integrations: what of a message, its connection and its stage goes where in the request.

use super::select::text_of;

/// One mapping, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) place: Place,
    /// The name there.
    pub(crate) name: String,
    from: From,
}

/// Where in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Header,
    Query,
    Path,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum From {
    Text(String),
    /// A variable, such as `context.connectionId`.
    Variable(String),
}

impl Mapping {
    /// Reads `integration.request.{header,querystring,path}.name` and what goes there; `None` when either is nothing.
    pub(crate) fn parse(to: &str, from: &str) -> Option<Self> {
        let (place, name) = to.strip_prefix("integration.request.")?.split_once('.')?;
        let place = match place {
            "header" => Place::Header,
            "querystring" => Place::Query,
            "path" => Place::Path,
            _ => return None,
        };
        let legal = match place {
            Place::Header => http::HeaderName::from_bytes(name.as_bytes()).is_ok(),
            Place::Query | Place::Path => !name.is_empty(),
        };
        let from = match from.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
            Some(text) => From::Text(text.to_owned()),
            None => {
                let known = from == "route.request.body"
                    || ["route.request.", "context.", "stageVariables."]
                        .iter()
                        .any(|root| from.strip_prefix(root).is_some_and(|rest| !rest.is_empty()));
                From::Variable(known.then(|| from.to_owned())?)
            }
        };
        legal.then(|| Self { place, name: name.to_owned(), from })
    }

    /// What goes there; nothing where the variable holds nothing.
    pub(crate) fn value(&self, lookup: impl Fn(&str) -> String) -> Option<String> {
        let value = match &self.from {
            From::Text(text) => text.clone(),
            From::Variable(name) => lookup(name),
        };
        Some(value).filter(|value| !value.is_empty())
    }
}

/// A member of an authorizer's context, as mappings and logs show it.
pub(crate) fn authorizer_text(
    context: Option<&serde_json::Map<String, serde_json::Value>>,
    name: &str,
) -> String {
    text_of(context.and_then(|context| context.get(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_read() {
        let lookup = |name: &str| format!("<{name}>");
        let value = |to, from| Mapping::parse(to, from).and_then(|mapping| mapping.value(lookup));
        for (from, to) in [
            ("context.connectionId", "<context.connectionId>"),
            ("route.request.body", "<route.request.body>"),
            ("stageVariables.x", "<stageVariables.x>"),
            ("'fixed'", "fixed"),
        ] {
            let value = value("integration.request.header.connectionId", from);
            assert_eq!(value.as_deref(), Some(to));
        }
        for (to, from) in [
            ("header.x", "'a'"),
            ("integration.request.body.x", "'a'"),
            ("integration.request.header.a b", "'a'"),
            ("integration.request.header.x", "context."),
            ("integration.request.header.x", "nothing"),
        ] {
            assert_eq!(Mapping::parse(to, from), None, "{to} {from}");
        }
    }
}
