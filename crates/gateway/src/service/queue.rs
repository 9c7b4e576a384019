//! Actions of SQS, in the query protocol: it is the one whose answers AWS passes on.

use gatemill_aws::{Request, Service};
use serde_json::{Map, Value};

use super::{Action, Given, Kind, Parameter, Unfit, json::list};

const VERSION: &str = "2012-11-05";

/// An action of SQS.
#[derive(Debug)]
pub(super) struct QueueAction {
    pub(super) subtype: &'static str,
    pub(super) action: &'static str,
    pub(super) parameters: &'static [Parameter],
}

impl Action for QueueAction {
    fn subtype(&self) -> &'static str {
        self.subtype
    }

    fn service(&self) -> Service {
        Service::Sqs
    }

    fn parameters(&self) -> &'static [Parameter] {
        self.parameters
    }

    fn request(&self, values: &Given) -> Result<Request, Unfit> {
        let mut written = Vec::new();
        for parameter in self.parameters {
            let Some(text) = values.get(parameter.name) else { continue };
            write(parameter, text, &mut written)?;
        }
        let pairs: Vec<_> =
            written.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Ok(Request::query(self.action, VERSION, &pairs)?)
    }
}

fn write(
    parameter: &Parameter,
    text: &str,
    written: &mut Vec<(String, String)>,
) -> Result<(), Unfit> {
    let unfit = || Unfit::Value(parameter.name);
    // Lists and maps are flat, and their name is that of one element.
    let one = parameter.name.trim_end_matches('s');
    match parameter.kind {
        Kind::Text => written.push((parameter.name.to_owned(), text.to_owned())),
        Kind::Number => {
            let number: u32 = text.trim().parse().map_err(|_| unfit())?;
            written.push((parameter.name.to_owned(), number.to_string()));
        }
        Kind::List => {
            for (at, name) in list(text).ok_or_else(unfit)?.into_iter().enumerate() {
                written.push((format!("{one}.{}", at + 1), name));
            }
        }
        Kind::Object => {
            let attributes: Map<String, Value> = serde_json::from_str(text).map_err(|_| unfit())?;
            for (at, (name, attribute)) in attributes.into_iter().enumerate() {
                written.push((format!("{one}.{}.Name", at + 1), name));
                for (member, value) in attribute.as_object().ok_or_else(unfit)? {
                    let value = value.as_str().ok_or_else(unfit)?;
                    written.push((format!("{one}.{}.Value.{member}", at + 1), value.to_owned()));
                }
            }
        }
        Kind::Time => return Err(unfit()),
    }
    Ok(())
}
