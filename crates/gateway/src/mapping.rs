//! Parameter mappings: what an integration changes of a request before it is sent on, and of an answer before the client
//! gets it. Read once, when the integration is made and again when a stage is compiled; applied by `proxy::mapping`.

use std::collections::BTreeMap;

use http::{HeaderName, StatusCode};

use crate::expression::{Expression, Piece, Side, Source};

/// What happens to a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RequestMapping {
    pub(crate) headers: Vec<Change<HeaderName>>,
    pub(crate) query: Vec<Change<String>>,
    pub(crate) path: Option<Expression>,
}

/// What happens to answers of one status.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ResponseMapping {
    pub(crate) headers: Vec<Change<HeaderName>>,
    pub(crate) status: Option<Expression>,
    /// Whether it looks into the body, which has to be read as a whole then.
    pub(crate) reads_body: bool,
}

/// A change of what has a name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change<N> {
    pub(crate) name: N,
    pub(crate) to: To,
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum To {
    Appended(Expression),
    Overwritten(Expression),
    Removed,
}

/// Why a mapping is none, in AWS's words as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    #[error("Invalid mapping expression specified: {0}")]
    Key(String),
    #[error("Invalid mapping expression specified: {0}")]
    Value(String),
    #[error("Operations on header {0} are restricted")]
    Restricted(String),
    #[error("Invalid status code {0} specified: a status from 200 to 599 is expected")]
    Status(String),
}

/// Headers that no mapping changes, beside those that begin with one of [`RESTRICTED_STARTS`].
const RESTRICTED: [&str; 19] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-location",
    "forwarded",
    "keep-alive",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailers",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "via",
    "host",
];
const RESTRICTED_STARTS: [&str; 4] = ["access-control-", "apigw-", "x-amz-", "x-amzn-"];

enum Place {
    Header(HeaderName),
    Query(String),
    Path,
    Status,
}

impl RequestMapping {
    /// Reads `requestParameters`.
    pub(crate) fn read(parameters: &BTreeMap<String, String>) -> Result<Self, Wrong> {
        let mut mapping = Self::default();
        for (key, text) in parameters {
            let (place, to) = read(key, text, Side::Request)?;
            match (place, to) {
                (Place::Header(name), to) => mapping.headers.push(Change { name, to }),
                (Place::Query(name), to) => mapping.query.push(Change { name, to }),
                (Place::Path, To::Overwritten(expression)) => mapping.path = Some(expression),
                (Place::Path | Place::Status, _) => return Err(Wrong::Key(key.clone())),
            }
        }
        Ok(mapping)
    }

    /// Whether it changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl ResponseMapping {
    /// Reads the mapping of one status in `responseParameters`.
    pub(crate) fn read(parameters: &BTreeMap<String, String>) -> Result<Self, Wrong> {
        let mut mapping = Self::default();
        for (key, text) in parameters {
            let (place, to) = read(key, text, Side::Response)?;
            if let To::Appended(expression) | To::Overwritten(expression) = &to {
                let body = |source: &Source| matches!(source, Source::ResponseBody(_));
                mapping.reads_body |= expression.sources().any(body);
            }
            match (place, to) {
                (Place::Header(name), to) => mapping.headers.push(Change { name, to }),
                (Place::Status, To::Overwritten(expression)) => {
                    check_status(&expression)?;
                    mapping.status = Some(expression);
                }
                (Place::Query(_) | Place::Path | Place::Status, _) => {
                    return Err(Wrong::Key(key.clone()));
                }
            }
        }
        Ok(mapping)
    }

    /// Reads `responseParameters`, by status.
    pub(crate) fn read_all(
        parameters: &BTreeMap<String, BTreeMap<String, String>>,
    ) -> Result<BTreeMap<u16, Self>, Wrong> {
        let mapping = |(status, parameters): (&String, _)| {
            let number = status.parse().ok().filter(|number| (200..600).contains(number));
            let number = number.ok_or_else(|| Wrong::Status(status.clone()))?;
            Ok((number, Self::read(parameters)?))
        };
        parameters.iter().map(mapping).collect()
    }
}

/// A status that is text has to be one.
fn check_status(expression: &Expression) -> Result<(), Wrong> {
    let [Piece::Text(text)] = expression.pieces.as_slice() else { return Ok(()) };
    status(text).map(|_| ()).ok_or_else(|| Wrong::Status(text.clone()))
}

/// A status that a mapping may give.
pub(crate) fn status(text: &str) -> Option<StatusCode> {
    text.parse()
        .ok()
        .filter(|code| (200..600).contains(code))
        .and_then(|code| StatusCode::from_u16(code).ok())
}

fn read(key: &str, text: &str, side: Side) -> Result<(Place, To), Wrong> {
    let wrong = || Wrong::Key(key.to_owned());
    let (operation, place) = key.split_once(':').ok_or_else(wrong)?;
    let place = match place {
        "path" => Place::Path,
        "statuscode" => Place::Status,
        _ => match place.split_once('.').ok_or_else(wrong)? {
            ("header", name) => Place::Header(header(name).ok_or_else(wrong)??),
            ("querystring", name) if !name.is_empty() => Place::Query(name.to_owned()),
            _ => return Err(wrong()),
        },
    };
    let value = || Expression::parse(text, side).ok_or_else(|| Wrong::Value(text.to_owned()));
    let to = match operation {
        "append" => To::Appended(value()?),
        "overwrite" => To::Overwritten(value()?),
        "remove" => To::Removed,
        _ => return Err(wrong()),
    };
    Ok((place, to))
}

fn header(name: &str) -> Option<Result<HeaderName, Wrong>> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let restricted = is_restricted(&name);
    Some(if restricted { Err(Wrong::Restricted(name.as_str().to_owned())) } else { Ok(name) })
}

/// Whether a header is the gateway's own business.
pub(crate) fn is_restricted(name: &HeaderName) -> bool {
    let text = name.as_str();
    RESTRICTED.contains(&text) || RESTRICTED_STARTS.iter().any(|start| text.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_a_mapping() {
        let request = |key, value| RequestMapping::read(&map(&[(key, value)]));
        for (key, value) in [
            ("append:header.x", "$request.path.id"),
            ("overwrite:querystring.a", "${request.header.a}-${context.requestId}"),
            ("remove:header.x", "''"),
            ("overwrite:path", "/x/${request.path.id}"),
        ] {
            assert!(request(key, value).is_ok(), "{key}");
        }
        for (key, value) in [
            ("append:path", "/x"),
            ("append:header.", "x"),
            ("change:header.x", "x"),
            ("overwrite:statuscode", "200"),
            ("header.x", "x"),
            ("append:header.x", "$response.header.a"),
            ("append:header.x", "$request.body..a"),
            ("append:cookie.x", "x"),
        ] {
            assert!(request(key, value).is_err(), "{key} {value}");
        }
        for name in
            ["Authorization", "X-Amz-Date", "x-amzn-trace-id", "Access-Control-Allow-Origin", "Via"]
        {
            let key = format!("overwrite:header.{name}");
            let refused = RequestMapping::read(&map(&[(&key, "x")])).unwrap_err();
            assert_eq!(refused, Wrong::Restricted(name.to_lowercase()));
        }
    }

    #[test]
    fn what_is_a_mapping_of_an_answer() {
        let of = |status: &str, key: &str, value: &str| {
            let mappings = BTreeMap::from([(status.to_owned(), map(&[(key, value)]))]);
            ResponseMapping::read_all(&mappings)
        };
        assert!(of("200", "overwrite:statuscode", "201").is_ok());
        assert!(of("599", "overwrite:statuscode", "$response.header.status").is_ok());
        assert!(of("404", "append:header.x", "$response.body.a").unwrap()[&404].reads_body);
        for (status, key, value) in [
            ("199", "remove:header.x", ""),
            ("default", "remove:header.x", ""),
            ("200", "overwrite:statuscode", "100"),
            ("200", "append:statuscode", "200"),
            ("200", "append:header.x", "$request.header.a"),
            ("200", "overwrite:path", "/"),
        ] {
            assert!(of(status, key, value).is_err(), "{status} {key} {value}");
        }
    }
}
