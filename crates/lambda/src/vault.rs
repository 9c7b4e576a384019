//! Environment variables at rest: AES-256-GCM, so that a copy of the records does not give them away.
//!
//! The nonce is a pseudo-random function of what is encrypted and where it belongs, as in the SIV modes: the same variables of
//! one function give the same bytes, by which publishing sees that nothing changed, and nothing else shows. The key comes from
//! the server, which derives it from the key file of its data directory.

use std::collections::BTreeMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gatemill_wire::sigv4::hmac_sha256;

use crate::{Error, record::Variables, target::FunctionKey};

/// What seals and opens.
pub(crate) struct Vault {
    aead: LessSafeKey,
    nonces: Vec<u8>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

impl Vault {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let encryption = hmac_sha256(key, b"encryption");
        let aead = UnboundKey::new(&AES_256_GCM, &encryption).expect("an HMAC-SHA256 has 32 bytes");
        Self { aead: LessSafeKey::new(aead), nonces: hmac_sha256(key, b"nonces") }
    }

    /// Seals the variables of a function.
    pub(crate) fn seal(
        &self,
        function: &FunctionKey,
        variables: &BTreeMap<String, String>,
    ) -> Result<Variables, Error> {
        let failed = || Error::Internal("environment variables could not be encrypted");
        let mut bytes = serde_json::to_vec(variables).map_err(|_| failed())?;
        let context = context(function);
        let told = [context.as_bytes(), b"\0", &bytes].concat();
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&hmac_sha256(&self.nonces, &told)[..NONCE_LEN]);
        let aad = Aad::from(context.as_bytes());
        self.aead
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut bytes)
            .map_err(|_| failed())?;
        Ok(Variables::Sealed(STANDARD.encode([&nonce[..], &bytes].concat())))
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
                .opened(function, text)
                .ok_or(Error::Internal("environment variables could not be decrypted")),
        }
    }

    fn opened(&self, function: &FunctionKey, text: &str) -> Option<BTreeMap<String, String>> {
        let mut bytes = STANDARD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk_mut::<NONCE_LEN>()?;
        let context = context(function);
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.aead.open_in_place(nonce, Aad::from(context.as_bytes()), sealed).ok()?;
        serde_json::from_slice(opened).ok()
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
        let Variables::Sealed(text) = &sealed else { panic!("{sealed:?}") };
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let tampered = Variables::Sealed(String::from_utf8(bytes).unwrap());
            assert!(vault.open(&mine, &tampered).is_err(), "{at}");
        }
        assert!(vault.open(&mine, &Variables::Sealed(String::new())).is_err());
        assert_eq!(vault.open(&other, &Variables::Plain(variables.clone())).unwrap(), variables);
    }

    #[test]
    fn values_are_in_no_debug_text() {
        let plain = Variables::Plain(BTreeMap::from([("A_KEY".to_owned(), "hunter2".to_owned())]));
        assert!(!format!("{plain:?}").contains("hunter2"));
    }
}
