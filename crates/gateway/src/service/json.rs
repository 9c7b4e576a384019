//! Actions in the JSON protocol: EventBridge, Kinesis and Step Functions.

use gatemill_aws::{Request, Service};
use serde_json::{Map, Value, json};

use super::{Action, Given, Kind, Parameter, Unfit};

/// An action in the JSON protocol.
#[derive(Debug)]
pub(super) struct JsonAction {
    pub(super) subtype: &'static str,
    pub(super) service: Service,
    pub(super) target: &'static str,
    pub(super) shape: Shape,
    pub(super) host_prefix: Option<&'static str>,
    pub(super) parameters: &'static [Parameter],
}

/// How the parameters become the members of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// They are its members.
    Members,
    /// They are the only one of its entries.
    Entry,
    /// They are its members, whose names begin with a small letter there; version 1.0 of the protocol.
    StateMachine,
}

impl Action for JsonAction {
    fn subtype(&self) -> &'static str {
        self.subtype
    }

    fn service(&self) -> Service {
        self.service
    }

    fn parameters(&self) -> &'static [Parameter] {
        self.parameters
    }

    fn host_prefix(&self) -> Option<&'static str> {
        self.host_prefix
    }

    fn request(&self, values: &Given) -> Result<Request, Unfit> {
        let mut members = Map::new();
        for parameter in self.parameters {
            let Some(text) = values.get(parameter.name) else { continue };
            let name = match self.shape {
                Shape::StateMachine => small(parameter.name),
                Shape::Members | Shape::Entry => parameter.name.to_owned(),
            };
            members.insert(name, value(parameter, text)?);
        }
        Ok(match self.shape {
            Shape::Members => Request::json_1_1(self.target, &members)?,
            Shape::Entry => Request::json_1_1(self.target, &json!({ "Entries": [members] }))?,
            Shape::StateMachine => Request::json(self.target, &members)?,
        })
    }
}

fn small(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// The value of a parameter as JSON.
fn value(parameter: &Parameter, text: &str) -> Result<Value, Unfit> {
    let unfit = || Unfit::Value(parameter.name);
    Ok(match parameter.kind {
        Kind::Text => text.into(),
        Kind::Number => text.trim().parse::<i64>().map_err(|_| unfit())?.into(),
        Kind::List => list(text).ok_or_else(unfit)?.into(),
        Kind::Object => Value::Object(serde_json::from_str(text).map_err(|_| unfit())?),
        Kind::Time => seconds(text).ok_or_else(unfit)?.into(),
    })
}

/// A JSON list of texts, or texts between commas.
pub(super) fn list(text: &str) -> Option<Vec<String>> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).ok();
    }
    Some(text.split(',').map(|item| item.trim().to_owned()).collect())
}

/// Seconds since 1970.
fn seconds(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(seconds);
    }
    gatemill_wire::Timestamp::parse_iso8601(text.trim()).map(gatemill_wire::Timestamp::seconds)
}
