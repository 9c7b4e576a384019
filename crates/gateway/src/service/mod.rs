//! First-class service integrations: an action of an AWS service behind a route, without a function between them.
//!
//! What an [`Action`] needs is a list of parameters, and how they become a call in the protocol of its service. The
//! values of the parameters are expressions over the request, as in parameter mappings. Calls go to the services that
//! the operator configured and with the operator's keys (`docs/decisions/0010-client-of-aws.md`); the service's own
//! answer is what the client gets. The answers of SQS are XML, because those of AWS are.
//!
//! | module | what it holds |
//! |---|---|
//! | `actions` | the actions, by the name that `integrationSubtype` has |
//! | `json`, `queue`, `configuration` | actions in the JSON protocol, of SQS in the query protocol, and AppConfig's |
//!
//! It calls nothing itself: `proxy::integrate` does.

mod actions;
mod configuration;
mod json;
mod queue;

use std::{collections::BTreeMap, fmt};

use gatemill_aws::{Request, Service};

use crate::expression::{Expression, Piece, Side};

/// Something that a service does.
pub(crate) trait Action: fmt::Debug + Send + Sync {
    /// Its name, such as `SQS-SendMessage`.
    fn subtype(&self) -> &'static str;
    /// Whose it is.
    fn service(&self) -> Service;
    /// What it takes, beside `Region`.
    fn parameters(&self) -> &'static [Parameter];
    /// What stands before the service's own host at AWS.
    fn host_prefix(&self) -> Option<&'static str> {
        None
    }
    /// The call with these values; every required one is there.
    ///
    /// # Errors
    /// [`Unfit`] when a value is not of its parameter's kind.
    fn request(&self, values: &Given) -> Result<Request, Unfit>;
}

/// The values of a call, by the names of their parameters.
pub(crate) type Given = BTreeMap<&'static str, String>;

/// Something that an action takes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
}

/// What the value of a parameter has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A whole number.
    Number,
    /// A JSON list of texts, or texts between commas.
    List,
    /// A JSON object.
    Object,
    /// Seconds since 1970, or a date with a time (RFC 3339).
    Time,
}

impl Parameter {
    pub(crate) const fn required(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, required: true }
    }

    pub(crate) const fn optional(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, required: false }
    }
}

/// Why a call cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// *Seen* in the access logs of AWS's users.
    #[error("Unable to resolve property {name} from source {source_text}")]
    Unresolved { name: &'static str, source_text: String },
    #[error("The value of {0} is not valid")]
    Value(&'static str),
    #[error("The call cannot be made: {0}")]
    Unsendable(#[from] gatemill_aws::Error),
}

/// Why parameters are none for an action. The frame and the invalid source are *seen*; the rest imitates them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    #[error("Invalid IntegrationSubtype specified: {0}")]
    Subtype(String),
    #[error("Invalid selection expression specified: Validation Result: warnings : [], errors : [{}]", .0.join(", "))]
    Parameters(Vec<String>),
}

/// An action with its parameters, as a stage calls it.
#[derive(Debug)]
pub(crate) struct ServiceTarget {
    pub(crate) action: &'static dyn Action,
    /// Where the resource is, if that is not where the API is.
    pub(crate) region: Option<String>,
    parameters: Vec<(&'static Parameter, Expression, String)>,
}

/// The action of this name.
pub(crate) fn action(subtype: &str) -> Option<&'static dyn Action> {
    actions::ACTIONS.iter().copied().find(|action| action.subtype() == subtype)
}

impl ServiceTarget {
    /// Reads `integrationSubtype` and `requestParameters`.
    pub(crate) fn read(subtype: &str, given: &BTreeMap<String, String>) -> Result<Self, Wrong> {
        let action = action(subtype).ok_or_else(|| Wrong::Subtype(subtype.to_owned()))?;
        let mut target = Self { action, region: None, parameters: Vec::new() };
        let mut wrong = Vec::new();
        for (name, text) in given {
            let invalid = || format!("Invalid source: {text} specified for destination: {name}");
            if name == "Region" {
                // It chooses where a call goes, which no client may.
                let legal =
                    |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
                match !text.is_empty() && text.bytes().all(legal) {
                    true => target.region = Some(text.clone()),
                    false => wrong.push(invalid()),
                }
                continue;
            }
            let known = action.parameters().iter().find(|parameter| parameter.name == name);
            match (known, Expression::parse(text, Side::Request)) {
                (Some(parameter), Some(expression)) => {
                    target.parameters.push((parameter, expression, text.clone()));
                }
                (Some(_), None) => wrong.push(invalid()),
                (None, _) => wrong.push(format!("Invalid destination: {name} specified")),
            }
        }
        let missing = action.parameters().iter().filter(|parameter| {
            let is_given = given.get(parameter.name).is_some_and(|text| !text.is_empty());
            parameter.required && !is_given
        });
        wrong.extend(
            missing.map(|parameter| {
                format!("Required destination: {} is not specified", parameter.name)
            }),
        );
        if wrong.is_empty() { Ok(target) } else { Err(Wrong::Parameters(wrong)) }
    }

    /// The call for a request, whose sources `text` knows.
    pub(crate) fn request(
        &self,
        text: impl Fn(&Expression) -> Option<String>,
    ) -> Result<Request, Unfit> {
        let mut values = Given::new();
        for (parameter, expression, source) in &self.parameters {
            let is_text = matches!(expression.pieces.as_slice(), [Piece::Text(_)]);
            let value = text(expression).filter(|value| is_text || !value.is_empty());
            let unresolved =
                || Unfit::Unresolved { name: parameter.name, source_text: source.clone() };
            values.insert(parameter.name, value.ok_or_else(unresolved)?);
        }
        self.action.request(&values)
    }
}

#[cfg(test)]
mod tests;
