//! Environment variables at rest, sealed for their function ([`gatemill_store::Sealer`]).
//!
//! The same variables of one function give the same bytes, by which publishing sees that nothing changed. The key comes from
//! the server, which derives it from the key file of its data directory.

use std::collections::BTreeMap;

use gatemill_store::Sealer;

use crate::{Error, record::Variables, target::FunctionKey};

/// What seals and opens.
#[derive(Debug)]
pub(crate) struct Vault(Sealer);

impl Vault {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Sealer::new(key))
    }

    /// Seals the variables of a function.
    pub(crate) fn seal(
        &self,
        function: &FunctionKey,
        variables: &BTreeMap<String, String>,
    ) -> Result<Variables, Error> {
        const FAILED: Error = Error::Internal("environment variables could not be encrypted");
        let text = serde_json::to_vec(variables).map_err(|_| FAILED)?;
        self.0.seal(&context(function), &text).map(Variables::Sealed).map_err(|_| FAILED)
    }

    /// Opens what [`Self::seal`] made for the same function. Records of earlier versions hold the variables as they are.
    pub(crate) fn open(
        &self,
        function: &FunctionKey,
        variables: &Variables,
    ) -> Result<BTreeMap<String, String>, Error> {
        match variables {
            Variables::Plain(variables) => Ok(variables.clone()),
            Variables::Sealed(text) => self
                .0
                .open(&context(function), text)
                .and_then(|text| serde_json::from_slice(&text).ok())
                .ok_or(Error::Internal("environment variables could not be decrypted")),
        }
    }
}

/// What is sealed of one function opens for no other.
fn context(FunctionKey { account, region, name }: &FunctionKey) -> String {
    format!("{account}/{region}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_open_for_their_function_alone() {
        let vault = Vault::new(&[7; 32]);
        let (mine, other) = (FunctionKey::new("1", "r", "f"), FunctionKey::new("1", "r", "g"));
        let variables = BTreeMap::from([("SECRET".to_owned(), "hunter2".to_owned())]);
        let sealed = vault.seal(&mine, &variables).unwrap();
        assert_eq!(vault.open(&mine, &sealed).unwrap(), variables);
        assert_eq!(vault.seal(&mine, &variables).unwrap(), sealed);
        assert_ne!(vault.seal(&other, &variables).unwrap(), sealed);
        assert!(vault.open(&other, &sealed).is_err());
        assert!(Vault::new(&[8; 32]).open(&mine, &sealed).is_err());
        let text = serde_json::to_string(&sealed).unwrap();
        assert!(!text.contains("SECRET") && !text.contains("hunter2"));
        assert!(vault.open(&mine, &Variables::Sealed(String::new())).is_err());
        assert_eq!(vault.open(&other, &Variables::Plain(variables.clone())).unwrap(), variables);
    }

    #[test]
    fn values_are_in_no_debug_text() {
        let plain = Variables::Plain(BTreeMap::from([("A_KEY".to_owned(), "hunter2".to_owned())]));
        assert!(!format!("{plain:?}").contains("hunter2"));
    }
}
