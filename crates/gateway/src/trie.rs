//! Route keys, and the choice of a route for a request.
//!
//! AWS's order: a route whose whole path matches (variables included) comes before one with a greedy variable, and
//! that before `$default`; within a class a literal segment comes before a variable, segment by segment from the left,
//! and an explicit verb before `ANY`. Where no verb fits, the next less specific path is tried.
//!
//! The routes form a trie by segment, so a match costs the depth of the path and not the number of routes. Segments
//! are compared decoded; captured text stays as the client sent it.

use std::collections::HashMap;

use gatemill_wire::percent;

/// The verbs that a route key may name.
const VERBS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// The number of a verb.
pub(crate) fn verb(method: &str) -> Option<usize> {
    VERBS.iter().position(|verb| *verb == method)
}

/// A route key, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RouteKey<'a> {
    /// `$default`.
    Default,
    /// A verb and a path.
    Path {
        /// The number of the verb; `None` for `ANY`.
        verb: Option<usize>,
        /// The path as written, with its slash.
        path: &'a str,
        /// What stands between the slashes.
        segments: Vec<Segment<'a>>,
    },
}

/// A segment of a route's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Segment<'a> {
    /// Text that has to be there.
    Literal(&'a str),
    /// `{name}`: one segment.
    Variable(&'a str),
    /// `{name+}`: this and all that follow.
    Greedy(&'a str),
}

impl<'a> RouteKey<'a> {
    /// Reads a route key; `None` when it has not the form of one.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        if text == "$default" {
            return Some(Self::Default);
        }
        let (method, path) = text.split_once(' ')?;
        let verb = if method == "ANY" { None } else { Some(verb(method)?) };
        let segments: Option<Vec<_>> =
            path.strip_prefix('/')?.split('/').map(Segment::parse).collect();
        let segments = segments?;
        let greedy = segments.iter().position(|segment| matches!(segment, Segment::Greedy(_)));
        if greedy.is_some_and(|at| at + 1 != segments.len()) {
            return None;
        }
        let mut names: Vec<_> = segments.iter().filter_map(Segment::name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        (names.len() == count).then_some(Self::Path { verb, path, segments })
    }
}

impl<'a> Segment<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let name = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        let Some(name) = name else {
            let legal = |c: char| {
                !c.is_control() && !c.is_whitespace() && !matches!(c, '{' | '}' | '?' | '#')
            };
            return text.chars().all(legal).then_some(Self::Literal(text));
        };
        let (name, greedy) = match name.strip_suffix('+') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
        if name.is_empty() || !name.bytes().all(legal) {
            return None;
        }
        Some(if greedy { Self::Greedy(name) } else { Self::Variable(name) })
    }

    /// The name of a variable.
    pub(crate) fn name(&self) -> Option<&'a str> {
        match self {
            Self::Literal(_) => None,
            Self::Variable(name) | Self::Greedy(name) => Some(name),
        }
    }
}

/// The routes of a deployment, by number.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Vec<Node>,
    default: Option<usize>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, usize>,
    variable: Option<usize>,
    here: Verbs,
    greedy: Verbs,
}

/// Routes of one path, by verb.
#[derive(Debug, Default)]
struct Verbs {
    explicit: [Option<u32>; VERBS.len()],
    any: Option<u32>,
}

/// The route of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Match<'p> {
    /// Its number.
    pub(crate) route: usize,
    /// What its variables matched, in their order, as the client sent it.
    pub(crate) captures: Vec<&'p str>,
}

/// A request, to the trie.
struct Wanted {
    verb: Option<usize>,
}

impl Trie {
    /// A trie without routes.
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::default()], default: None }
    }

    /// Adds a route. Of two that match the same requests (`/{a}` and `/{b}`) the one added first is chosen.
    pub(crate) fn insert(&mut self, key: &RouteKey<'_>, route: u32) {
        let RouteKey::Path { verb, segments, .. } = key else {
            self.default.get_or_insert(route as usize);
            return;
        };
        let mut at = 0;
        for segment in segments {
            match segment {
                Segment::Literal(text) => at = self.literal_child(at, text),
                Segment::Variable(_) => at = self.variable_child(at),
                Segment::Greedy(_) => {
                    self.nodes[at].greedy.add(*verb, route);
                    return;
                }
            }
        }
        self.nodes[at].here.add(*verb, route);
    }

    /// The route of a request; `path` starts with a slash.
    pub(crate) fn find<'p>(&self, method: &str, path: &'p str) -> Option<Match<'p>> {
        let wanted = Wanted { verb: verb(method) };
        let mut captures = Vec::new();
        let rest = path.strip_prefix('/');
        let found = self
            .full(0, rest, &wanted, &mut captures)
            .or_else(|| self.greedy(0, rest, &wanted, &mut captures));
        let route = match found {
            Some(route) => route as usize,
            None => {
                captures.clear();
                self.default?
            }
        };
        Some(Match { route, captures })
    }

    /// Looks for a route that matches the whole of `rest`; `None` is the end of the path.
    fn full<'p>(
        &self,
        at: usize,
        rest: Option<&'p str>,
        wanted: &Wanted,
        captures: &mut Vec<&'p str>,
    ) -> Option<u32> {
        let node = &self.nodes[at];
        let Some(rest) = rest else { return node.here.find(wanted) };
        let (segment, after) = split(rest);
        if let Some(&child) = node.literals.get(&*percent::decode(segment))
            && let Some(route) = self.full(child, after, wanted, captures)
        {
            return Some(route);
        }
        let child = node.variable.filter(|_| !segment.is_empty())?;
        captures.push(segment);
        let found = self.full(child, after, wanted, captures);
        if found.is_none() {
            captures.pop();
        }
        found
    }

    /// Looks for a route with a greedy variable: the deepest that matches.
    fn greedy<'p>(
        &self,
        at: usize,
        rest: Option<&'p str>,
        wanted: &Wanted,
        captures: &mut Vec<&'p str>,
    ) -> Option<u32> {
        let node = &self.nodes[at];
        let rest = rest?;
        let (segment, after) = split(rest);
        if let Some(&child) = node.literals.get(&*percent::decode(segment))
            && let Some(route) = self.greedy(child, after, wanted, captures)
        {
            return Some(route);
        }
        if let Some(child) = node.variable.filter(|_| !segment.is_empty()) {
            captures.push(segment);
            if let Some(route) = self.greedy(child, after, wanted, captures) {
                return Some(route);
            }
            captures.pop();
        }
        let route = node.greedy.find(wanted).filter(|_| !rest.is_empty())?;
        captures.push(rest);
        Some(route)
    }

    fn literal_child(&mut self, at: usize, text: &str) -> usize {
        if let Some(&child) = self.nodes[at].literals.get(text) {
            return child;
        }
        let child = self.grow();
        self.nodes[at].literals.insert(text.into(), child);
        child
    }

    fn variable_child(&mut self, at: usize) -> usize {
        if let Some(child) = self.nodes[at].variable {
            return child;
        }
        let child = self.grow();
        self.nodes[at].variable = Some(child);
        child
    }

    fn grow(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }
}

impl Verbs {
    fn add(&mut self, verb: Option<usize>, route: u32) {
        let place = match verb {
            Some(verb) => &mut self.explicit[verb],
            None => &mut self.any,
        };
        place.get_or_insert(route);
    }

    fn find(&self, wanted: &Wanted) -> Option<u32> {
        wanted.verb.and_then(|verb| self.explicit[verb]).or(self.any)
    }
}

/// The first segment, and what follows its slash.
fn split(rest: &str) -> (&str, Option<&str>) {
    match rest.split_once('/') {
        Some((segment, after)) => (segment, Some(after)),
        None => (rest, None),
    }
}

#[cfg(test)]
#[path = "trie_tests.rs"]
mod tests;
