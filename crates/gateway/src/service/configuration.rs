//! `AppConfig-GetConfiguration`: the one action in a REST protocol.

use gatemill_aws::{Request, Service};
use gatemill_wire::percent;
use http::Method;

use super::{Action, Given, Kind::Text, Parameter, Unfit};

/// The action.
#[derive(Debug)]
pub(super) struct GetConfiguration;

impl Action for GetConfiguration {
    fn subtype(&self) -> &'static str {
        "AppConfig-GetConfiguration"
    }

    fn service(&self) -> Service {
        Service::Appconfig
    }

    fn parameters(&self) -> &'static [Parameter] {
        const {
            &[
                Parameter::required("Application", Text),
                Parameter::required("Environment", Text),
                Parameter::required("Configuration", Text),
                Parameter::required("ClientId", Text),
                Parameter::optional("ClientConfigurationVersion", Text),
            ]
        }
    }

    fn request(&self, values: &Given) -> Result<Request, Unfit> {
        // Each is one segment of a path, and stays one.
        let is_no_segment = |text: &String| matches!(text.as_str(), "" | "." | "..");
        for parameter in self.parameters() {
            if values.get(parameter.name).is_some_and(is_no_segment) {
                return Err(Unfit::Value(parameter.name));
            }
        }
        let text = |name| values.get(name).map_or("", String::as_str);
        let encoded = |name| percent::encode(text(name).as_bytes(), b"");
        let mut path = format!(
            "/applications/{}/environments/{}/configurations/{}?client_id={}",
            encoded("Application"),
            encoded("Environment"),
            encoded("Configuration"),
            encoded("ClientId"),
        );
        if values.contains_key("ClientConfigurationVersion") {
            let version = encoded("ClientConfigurationVersion");
            path.push_str(&format!("&client_configuration_version={version}"));
        }
        Ok(Request::rest(Method::GET, path))
    }
}
