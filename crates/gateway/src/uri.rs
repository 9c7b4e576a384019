//! The URI of an HTTP integration, with `{parameters}` of the route and `${stageVariables.x}`.

use std::collections::BTreeMap;

use http::Uri;

/// A URI with places to fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UriTemplate {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Parameter(String),
}

const VARIABLE: &str = "${stageVariables.";

/// The longest URI of an integration, by its shape in the service model.
const URI_BYTES_MAX: usize = 2048;

/// Fills in stage variables; `None` when one is not set.
pub(crate) fn substitute(text: &str, variables: &BTreeMap<String, String>) -> Option<String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(VARIABLE) {
        let (name, after) = after.split_once('}')?;
        filled.push_str(before);
        filled.push_str(variables.get(name)?);
        rest = after;
    }
    filled.push_str(rest);
    Some(filled)
}

/// Whether a URI names a host alone.
pub(crate) fn is_bare(text: &str) -> bool {
    let after_scheme = text.split_once("://").map_or(text, |(_, after)| after);
    matches!(after_scheme.split_once('/'), None | Some((_, ""))) && !after_scheme.contains('?')
}

impl UriTemplate {
    /// Reads a URI; stage variables may still stand in it. `None` when no request could be sent to it, or when a
    /// parameter would let the client choose the host.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > URI_BYTES_MAX {
            return None;
        }
        let filled = fill_any(text)?;
        let template = Self { pieces: pieces(&filled)? };
        let uri: Uri = template.render(|_| Some("x")).parse().ok()?;
        let authority = uri.authority()?;
        let http = matches!(uri.scheme_str(), Some("http" | "https"));
        let text = authority.as_str();
        // A port that is none does not fail to parse; it is only not there.
        let port = text.len() == authority.host().len() || authority.port_u16().is_some();
        if !http || !port || text.contains('@') || authority.host().is_empty() {
            return None;
        }
        // The first text has to reach past the host.
        let Piece::Text(first) = template.pieces.first()? else { return None };
        let (_, after) = first.split_once("://")?;
        let whole = template.pieces.len() == 1;
        (whole || after.contains(['/', '?'])).then_some(template)
    }

    /// The URI with its parameters filled in; one that the route has not is empty.
    pub(crate) fn render<'p>(&self, parameter: impl Fn(&str) -> Option<&'p str>) -> String {
        let mut uri = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => uri.push_str(text),
                Piece::Parameter(name) => uri.push_str(parameter(name).unwrap_or_default()),
            }
        }
        uri
    }
}

/// Something in place of every stage variable, to check the rest by.
fn fill_any(text: &str) -> Option<String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(VARIABLE) {
        let (_, after) = after.split_once('}')?;
        filled.push_str(before);
        // A variable may hold the scheme with the host.
        filled.push_str(if before.is_empty() && filled.is_empty() { "http://x" } else { "x" });
        rest = after;
        if filled == "http://x" && rest.starts_with("://") {
            filled = "http".to_owned();
        }
    }
    filled.push_str(rest);
    Some(filled)
}

fn pieces(text: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(Piece::Parameter(name.trim_end_matches('+').to_owned()));
        rest = after;
    }
    if rest.contains('}') {
        return None;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_variables_are_filled_in() {
        let variables = BTreeMap::from([("host".to_owned(), "10.0.0.1:80".to_owned())]);
        let text =
            substitute("http://${stageVariables.host}/v1/{proxy}?a={id}", &variables).unwrap();
        let template = UriTemplate::parse(&text).unwrap();
        let uri = template.render(|name| Some(if name == "proxy" { "a/b%20c" } else { "7" }));
        assert_eq!(uri, "http://10.0.0.1:80/v1/a/b%20c?a=7");
        assert_eq!(template.render(|_| None), "http://10.0.0.1:80/v1/?a=");
        assert_eq!(substitute("http://${stageVariables.none}/", &variables), None);
    }

    #[test]
    fn what_is_an_integration_uri() {
        for text in [
            "http://example.com",
            "https://example.com/a/{proxy}",
            "http://[::1]:8080/",
            "https://${stageVariables.url}/x",
            "${stageVariables.url}/x",
            "http://example.com?x={y}",
        ] {
            assert!(UriTemplate::parse(text).is_some(), "{text}");
        }
        for text in [
            "",
            "example.com",
            "ftp://example.com",
            "http://",
            "http://{host}/",
            "http://a{host}/",
            "http://u:p@h/",
            "http://h/{",
            "http://h/}",
            "http://h/ x",
            "/x",
            "http://h:99999/",
            "${stageVariables.x",
        ] {
            assert!(UriTemplate::parse(text).is_none(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn hostile_uris_do_no_harm(text in "(https?://)?[\\PC]{0,40}") {
            let _ = UriTemplate::parse(&text);
            let _ = substitute(&text, &BTreeMap::new());
        }
    }
}
