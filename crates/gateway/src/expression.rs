//! Expressions: what a mapping, an identity source or a log line takes from a request, read once when a stage is
//! compiled.
//!
//! An expression is one source (`$request.header.name`), or text in which sources stand in braces
//! (`${request.path.id}-x`), or text alone. What the sources mean for a request is known by `proxy::values`.

/// Text with places to fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expression {
    pub(crate) pieces: Vec<Piece>,
}

/// A part of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// As it is.
    Text(String),
    /// What a source gives.
    Value(Source),
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A header of the request, in lower case.
    RequestHeader(String),
    /// A parameter of the query.
    RequestQuery(String),
    /// The path, without the stage.
    RequestPath,
    /// What a variable of the route stands for.
    RequestPathParameter(String),
    /// The body, or something in it.
    RequestBody(BodyPath),
    /// A header of the integration's answer, in lower case.
    ResponseHeader(String),
    /// The body of the integration's answer, or something in it.
    ResponseBody(BodyPath),
    /// Something that the gateway knows.
    Context(String),
    /// A variable of the stage.
    StageVariable(String),
}

/// The way to a value in a JSON body; an empty one is the whole body, JSON or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BodyPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Member(String),
    Item(usize),
}

/// Which sources an expression may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Those of a request.
    Request,
    /// Those of an answer.
    Response,
}

/// Longest name of anything in an expression; AWS names no number.
const NAME_MAX: usize = 256;
/// Deepest way into a body.
const STEPS_MAX: usize = 32;

impl Expression {
    /// Reads an expression; `None` when it names a source that is not there on this side.
    pub(crate) fn parse(text: &str, side: Side) -> Option<Self> {
        let source = |text: &str| Source::parse(text).filter(|source| source.is_on(side));
        if text.starts_with('$') && !text.contains("${") {
            return Some(Self { pieces: vec![Piece::Value(source(text)?)] });
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (inside, after) = after.split_once('}')?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(Piece::Value(source(&format!("${inside}"))?));
            rest = after;
        }
        if !rest.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Some(Self { pieces })
    }

    /// The sources in it.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Value(source) => Some(source),
            Piece::Text(_) => None,
        })
    }
}

/// Makes a source of a name.
type Named = fn(String) -> Source;

impl Source {
    /// Reads a source, such as `$request.header.name`. WebSocket APIs write `route.` for the dollar.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('$').or_else(|| text.strip_prefix("route."))?;
        if text.len() > NAME_MAX {
            return None;
        }
        let named = |prefix: &str| text.strip_prefix(prefix).filter(|name| is_name(name));
        let body = |prefix: &str| text.strip_prefix(prefix).and_then(BodyPath::parse);
        if text == "request.path" {
            return Some(Self::RequestPath);
        }
        if let Some(name) = named("request.header.") {
            return Some(Self::RequestHeader(name.to_ascii_lowercase()));
        }
        if let Some(name) = named("response.header.") {
            return Some(Self::ResponseHeader(name.to_ascii_lowercase()));
        }
        if let Some(path) = body("request.body") {
            return Some(Self::RequestBody(path));
        }
        if let Some(path) = body("response.body") {
            return Some(Self::ResponseBody(path));
        }
        let kinds: [(&str, Named); 4] = [
            ("request.querystring.", Self::RequestQuery),
            ("request.path.", Self::RequestPathParameter),
            ("context.", Self::Context),
            ("stageVariables.", Self::StageVariable),
        ];
        let found = kinds.into_iter().find_map(|(prefix, kind)| Some((named(prefix)?, kind)));
        found.map(|(name, kind)| kind(name.to_owned()))
    }

    /// Whether this source is there on a side.
    pub(crate) fn is_on(&self, side: Side) -> bool {
        match self {
            Self::Context(_) | Self::StageVariable(_) => true,
            Self::ResponseHeader(_) | Self::ResponseBody(_) => side == Side::Response,
            Self::RequestHeader(_)
            | Self::RequestQuery(_)
            | Self::RequestPath
            | Self::RequestPathParameter(_)
            | Self::RequestBody(_) => side == Side::Request,
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| !c.is_control() && !c.is_whitespace())
}

impl BodyPath {
    /// Reads what follows `body`: nothing, or steps such as `.a['b'][0]`.
    fn parse(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if steps.len() == STEPS_MAX {
                return None;
            }
            rest = match rest.strip_prefix('.') {
                Some(after) => {
                    let end = after.find(['.', '[']).unwrap_or(after.len());
                    let (name, after) = after.split_at(end);
                    if !is_name(name) || name.contains(['*', '?', '(', ')', '@', ']']) {
                        return None;
                    }
                    steps.push(Step::Member(name.to_owned()));
                    after
                }
                None => {
                    let (inside, after) = rest.strip_prefix('[')?.split_once(']')?;
                    steps.push(Step::in_brackets(inside)?);
                    after
                }
            };
        }
        Some(Self(steps))
    }

    /// Whether it is the whole body.
    pub(crate) fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    /// What it leads to, as text: a string as it is, everything else as JSON.
    pub(crate) fn value(&self, body: &serde_json::Value) -> Option<String> {
        let mut at = body;
        for step in &self.0 {
            at = match step {
                Step::Member(name) => at.get(name)?,
                Step::Item(index) => at.get(index)?,
            };
        }
        match at {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }
}

impl Step {
    fn in_brackets(text: &str) -> Option<Self> {
        let quoted = ['\'', '"'].into_iter().find_map(|quote| {
            text.strip_prefix(quote)?.strip_suffix(quote).filter(|name| !name.is_empty())
        });
        match quoted {
            Some(name) => Some(Self::Member(name.to_owned())),
            None => text.parse().ok().map(Self::Item),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pieces(text: &str) -> Option<Vec<Piece>> {
        Expression::parse(text, Side::Request).map(|expression| expression.pieces)
    }

    #[test]
    fn sources_and_text() {
        let header = || Piece::Value(Source::RequestHeader("x-a".to_owned()));
        assert_eq!(pieces("$request.header.X-A"), Some(vec![header()]));
        assert_eq!(
            pieces("a ${request.header.x-a}/${context.requestId}"),
            Some(vec![
                Piece::Text("a ".to_owned()),
                header(),
                Piece::Text("/".to_owned()),
                Piece::Value(Source::Context("requestId".to_owned())),
            ])
        );
        assert_eq!(pieces("plain"), Some(vec![Piece::Text("plain".to_owned())]));
        assert_eq!(pieces(""), Some(vec![Piece::Text(String::new())]));
        for wrong in
            ["$nothing", "$request.header.", "${request.path", "$response.header.a", "${x}"]
        {
            assert_eq!(pieces(wrong), None, "{wrong}");
        }
        assert!(Expression::parse("$response.body.a", Side::Response).is_some());
    }

    #[test]
    fn ways_into_a_body() {
        let body = json!({"a": [{"b.c": 1, "d": null}, "text", [true]]});
        let value = |text: &str| BodyPath::parse(text).unwrap().value(&body);
        assert_eq!(value(".a[0]['b.c']"), Some("1".to_owned()));
        assert_eq!(value(".a[1]"), Some("text".to_owned()));
        assert_eq!(value(".a[2]"), Some("[true]".to_owned()));
        assert_eq!(value(".a[0].d"), None);
        assert_eq!(value(".a[9]"), None);
        for wrong in ["a", "..a", ".a[*]", ".a[?(@.b)]", "[", ".", ".a[-1]"] {
            assert!(BodyPath::parse(wrong).is_none(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn hostile_expressions_do_no_harm(text in "(\\$|\\$\\{)?(request|response|context)?[\\PC]{0,40}") {
            let _ = Expression::parse(&text, Side::Request);
            let _ = Source::parse(&text);
        }
    }
}
