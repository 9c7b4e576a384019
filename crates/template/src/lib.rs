//! Mapping templates: API Gateway's dialect of Velocity, and the JSONPath that it reads messages with.
//!
//! A [`Template`] is read once, when an API is deployed, and rendered for each message in a [`Scope`]. What it renders is
//! text, and what it asked to be overridden in the request or the response beside it.
//!
//! ```
//! use gatemill_template::{Input, Scope, Template};
//!
//! let template = Template::parse(r#"{"name": $input.json('$.user.name')}"#)?;
//! let scope = Scope { input: Input { body: r#"{"user": {"name": "Ada"}}"#, ..Input::default() }, ..Scope::default() };
//! assert_eq!(template.render(&scope)?.text, r#"{"name": "Ada"}"#);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | `parse`, `expression`, `tree` | from text to tree |
//! | `evaluate`, `reference` | from tree to text |
//! | `value`, `print` | the values of an evaluation, and how Java prints them |
//! | `method` | the methods of Java's strings, lists, maps and numbers |
//! | `encode` | `$util` |
//! | [`path`] | JSONPath as Jayway reads it |
//! | [`mock`] | the status that a mock's template asks for |
//!
//! Java's reflection is not there: a value has the methods that `method` lists and no others. What Velocity has and API
//! Gateway has not (`#parse`, `#include`, `#evaluate`) is refused. It knows no HTTP and no WebSocket, reads no clock and
//! opens no file.
//!
//! Where AWS is silent, this holds: a reference whose name nobody set is printed as it is written, one that leads from a
//! known name to nothing prints nothing. Nothing is equal to the empty text, and false.

mod encode;
mod evaluate;
mod expression;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
pub mod limits;
mod method;
pub mod mock;
mod parse;
pub mod path;
mod pattern;
mod print;
mod reference;
#[cfg(test)]
mod tests;
mod tree;
mod value;

use std::collections::BTreeMap;

pub use evaluate::Failed;
pub use parse::BadTemplate;
use tree::Block;

/// A template that was read.
#[derive(Debug, Default)]
pub struct Template {
    body: Block,
    /// By name: the parameters and the body.
    macros: BTreeMap<String, tree::Macro>,
    /// The blocks of `#define`.
    defined: Vec<Block>,
}

/// What a template is rendered with.
#[derive(Debug, Default)]
pub struct Scope<'a> {
    /// `$input`.
    pub input: Input<'a>,
    /// `$context`, without overrides.
    pub context: serde_json::Map<String, serde_json::Value>,
    /// `$stageVariables`.
    pub stage_variables: Option<&'a BTreeMap<String, String>>,
    /// What an earlier template of the same request overrode.
    pub overrides: Overrides,
}

/// What came in.
#[derive(Debug, Default)]
pub struct Input<'a> {
    /// The body as text; an empty one reads as `{}`.
    pub body: &'a str,
    /// Parameters by name, in this order of precedence.
    pub path: Vec<(String, String)>,
    /// Of the query.
    pub querystring: Vec<(String, String)>,
    /// Headers, with their names as they came.
    pub header: Vec<(String, String)>,
}

/// What templates override, by name; lists have several values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Headers towards the integration.
    pub request_header: BTreeMap<String, Vec<String>>,
    /// Path parameters towards the integration.
    pub request_path: BTreeMap<String, Vec<String>>,
    /// Query parameters towards the integration.
    pub request_querystring: BTreeMap<String, Vec<String>>,
    /// Headers towards the client.
    pub response_header: BTreeMap<String, Vec<String>>,
    /// The status towards the client, 100 to 599.
    pub response_status: Option<u16>,
}

/// What a template made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// What it overrode, and what was overridden before.
    pub overrides: Overrides,
}

impl Template {
    /// Reads a template; white space around it does not count.
    ///
    /// # Errors
    /// [`BadTemplate`] where it is none, too large or nested too deeply.
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        parse::parse(text)
    }

    /// Renders it.
    ///
    /// # Errors
    /// [`Failed`] when it takes more than [`limits`] allow, or overrides something twice.
    pub fn render(&self, scope: &Scope<'_>) -> Result<Rendered, Failed> {
        evaluate::render(self, scope)
    }

    /// The text that it renders whatever comes in, where it has neither references nor directives.
    #[must_use]
    pub fn as_literal(&self) -> Option<&str> {
        match self.body.as_slice() {
            [] => Some(""),
            [tree::Node::Text(text)] => Some(text),
            _ => None,
        }
    }
}
