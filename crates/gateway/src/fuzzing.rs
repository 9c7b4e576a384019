//! What `cargo xtask fuzz` feeds with bytes: route keys, the trie of routes, URIs of integrations, definitions of APIs, and
//! files of API keys.
//!
//! Each function panics when something is wrong. In an ordinary build none of this is there.

use gatemill_wire::percent;

use crate::{
    control::rest::csv,
    openapi::{self, Basepath, Importer},
    trie::{RouteKey, Segment, Trie, verb},
    uri::UriTemplate,
};

/// A request's path in the first line, route keys in the others: the route that is found matches, and none is found only
/// where none matches.
pub fn routes(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.lines();
    let Some(path) = lines.next().filter(|path| path.starts_with('/')) else { return };
    let keys: Vec<_> = lines.take(32).filter_map(RouteKey::parse).collect();
    let mut trie = Trie::new();
    for (number, key) in (0..).zip(&keys) {
        trie.insert(key, number);
    }
    for method in ["GET", "DELETE", "TRACE"] {
        let found = trie.find(method, path);
        let matching = keys.iter().any(|key| matches(key, method, path));
        assert_eq!(found.is_some(), matching, "{method} {path}");
        let Some(found) = found else { continue };
        let key = &keys[found.route];
        assert!(matches(key, method, path), "{method} {path} is no {key:?}");
        if let RouteKey::Path { segments, .. } = key {
            let variables = segments.iter().filter_map(Segment::name).count();
            assert_eq!(found.captures.len(), variables);
        }
    }
}

fn matches(key: &RouteKey<'_>, method: &str, path: &str) -> bool {
    let RouteKey::Path { verb: wanted, segments, .. } = key else { return true };
    if wanted.is_some() && *wanted != verb(method) {
        return false;
    }
    let Some(rest) = path.strip_prefix('/') else { return false };
    let parts: Vec<_> = rest.split('/').collect();
    for (at, segment) in segments.iter().enumerate() {
        match (segment, parts.get(at)) {
            (Segment::Greedy(_), Some(_)) => {
                return !parts[at..].concat().is_empty() || parts.len() > at + 1;
            }
            (Segment::Literal(text), Some(part)) if percent::decode(part) == *text => {}
            (Segment::Variable(_), Some(part)) if !part.is_empty() => {}
            _ => return false,
        }
    }
    segments.len() == parts.len()
}

/// Definitions: what was written of a value is read as the same value, and nothing else does harm.
pub fn definition(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = openapi::read(text, Basepath::Prepend, &Importer::default());
    let Ok(value) = openapi::from_yaml(text) else { return };
    // A key `<<` is no member when it is read.
    let written = openapi::to_yaml(&value);
    if !written.contains("<<") {
        assert_eq!(openapi::from_yaml(&written), Ok(value), "{written}");
    }
}

/// Files of API keys: a value that is put between quotes is read as it was.
pub fn keys(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = csv::read(text);
    let quoted = format!("key,name\n\"{}\",n", text.replace('"', "\"\""));
    let rows = csv::read(&quoted).expect("the columns are there");
    assert_eq!(rows[0].value, text.trim(), "{quoted:?}");
}

/// URIs of integrations: whatever a client puts into the parameters, the host stays.
pub fn uri(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (template, value) = text.split_once('\n').unwrap_or((text, "@evil.example/"));
    let Some(template) = UriTemplate::parse(template) else { return };
    let host = |value: &str| {
        let uri: Option<http::Uri> = template.render(|_| Some(value)).parse().ok();
        uri.and_then(|uri| uri.host().map(str::to_owned))
    };
    let (expected, found) = (host("x"), host(value));
    assert!(found.is_none() || found == expected, "{expected:?} became {found:?}");
}
