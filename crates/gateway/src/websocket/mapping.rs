//! Parameters of integrations: what of a message, its connection and its stage goes where in the request of an HTTP
//! integration, and what of an answer into the headers of a handshake's.

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
        let from = From::parse(from, "route.request.")?;
        place.has(name).then(|| Self { place, name: name.to_owned(), from })
    }

    /// Reads `route.response.header.name`, or the same with `method` as AWS's model writes it, and what goes there.
    pub(crate) fn parse_response(to: &str, from: &str) -> Option<Self> {
        let name = to.strip_prefix("route.response.header.");
        let name = name.or_else(|| to.strip_prefix("method.response.header."))?;
        let from = From::parse(from, "integration.response.")?;
        let place = Place::Header;
        place.has(name).then(|| Self { place, name: name.to_owned(), from })
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

impl Place {
    /// Whether something of this name can stand there.
    fn has(self, name: &str) -> bool {
        match self {
            Self::Header => http::HeaderName::from_bytes(name.as_bytes()).is_ok(),
            Self::Query | Self::Path => !name.is_empty(),
        }
    }
}

impl From {
    /// Reads a text in quotes, or a variable: of the stage, of the context, or below `own`.
    fn parse(text: &str, own: &str) -> Option<Self> {
        if let Some(text) = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
            return Some(Self::Text(text.to_owned()));
        }
        let known = [own, "context.", "stageVariables."]
            .iter()
            .any(|root| text.strip_prefix(root).is_some_and(|rest| !rest.is_empty()));
        known.then(|| Self::Variable(text.to_owned()))
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
        for to in ["route.response.header.x", "method.response.header.x"] {
            let mapping = Mapping::parse_response(to, "integration.response.header.y").unwrap();
            let value = mapping.value(lookup);
            assert_eq!(value.as_deref(), Some("<integration.response.header.y>"));
            assert_eq!(Mapping::parse_response(to, "route.request.body"), None);
        }
        assert_eq!(Mapping::parse_response("route.response.body", "'x'"), None);
    }
}
