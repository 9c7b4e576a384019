//! Which registries images may come from, and with which credentials.
//!
//! Credentials come from a file in the form of Docker's `config.json`, so that `docker login`, `skopeo login` and
//! whatever else writes one can be used. It is read anew for every image: some credentials live for hours only, and
//! another program renews them. Programs that hold credentials (`credHelpers`) are not run.

use std::{collections::BTreeMap, fs, io::Read as _, path::PathBuf};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;

use crate::{Error, limits::CREDENTIALS_BYTES_MAX};

/// Where images may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registries {
    /// From any registry.
    Any,
    /// From these alone, named with their port as in an `ImageUri`.
    Only(Vec<String>),
}

/// What the operator says about images. By default there is nowhere that they may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which registries may be used.
    pub registries: Registries,
    /// A file in the form of Docker's `config.json`.
    pub credentials: Option<PathBuf>,
    /// The folder that `oci-layout:` names folders in; without it there are none.
    pub layouts: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { registries: Registries::Only(Vec::new()), credentials: None, layouts: None }
    }
}

impl Settings {
    pub(crate) fn check(&self, host: &str) -> Result<(), Error> {
        match &self.registries {
            Registries::Any => Ok(()),
            Registries::Only(hosts) if hosts.iter().any(|one| one == host) => Ok(()),
            Registries::Only(_) => Err(Error::NotAllowed(host.to_owned())),
        }
    }

    /// The value of a `Basic` authorization for a registry, if there are credentials for it.
    pub(crate) fn basic(&self, host: &str) -> Result<Option<String>, Error> {
        let Some(path) = &self.credentials else { return Ok(None) };
        let file = fs::File::open(path)
            .map_err(|error| Error::Settings(format!("{}: {error}", path.display())))?;
        let mut text = String::new();
        file.take(CREDENTIALS_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| Error::Settings(format!("{}: {error}", path.display())))?;
        let written: Written = serde_json::from_str(&text)
            // The error itself could quote a password.
            .map_err(|_| Error::Settings(format!("{} is no config.json", path.display())))?;
        Ok(written.basic(host))
    }
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    auths: BTreeMap<String, Login>,
}

#[derive(Deserialize)]
struct Login {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Written {
    fn basic(&self, host: &str) -> Option<String> {
        let host = if host == "docker.io" { "index.docker.io" } else { host };
        let bare = |key: &str| {
            let key = key.trim_start_matches("https://").trim_start_matches("http://");
            key.split('/').next().unwrap_or_default() == host
        };
        let (_, login) = self.auths.iter().find(|(key, _)| bare(key))?;
        match (&login.auth, &login.username, &login.password) {
            (_, Some(name), Some(password)) => {
                Some(BASE64_STANDARD.encode(format!("{name}:{password}")))
            }
            (Some(auth), _, _) if !auth.is_empty() => Some(auth.trim().to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_as_tools_write_them() {
        let text = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"aDpw"},"localhost:5000":{"auth":"YTpi"},
            "r.example.com":{"username":"u","password":"p"},"empty.example.com":{}},"credsStore":"x"}"#;
        let written: Written = serde_json::from_str(text).unwrap();
        for (host, basic) in [
            ("docker.io", Some("aDpw")),
            ("localhost:5000", Some("YTpi")),
            ("r.example.com", Some("dTpw")),
            ("empty.example.com", None),
            ("localhost", None),
        ] {
            assert_eq!(written.basic(host).as_deref(), basic, "{host}");
        }
    }

    #[test]
    fn only_the_registries_that_are_named() {
        let only = Registries::Only(vec!["localhost:5000".to_owned()]);
        let settings = Settings { registries: only, credentials: None, layouts: None };
        assert!(settings.check("localhost:5000").is_ok());
        assert!(matches!(settings.check("localhost:5001"), Err(Error::NotAllowed(_))));
    }
}
