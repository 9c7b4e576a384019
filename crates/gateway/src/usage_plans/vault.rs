//! Values of API keys at rest: sealed for the owner who asks for one ([`gatemill_store::Sealer`]), and found by a keyed digest.
//!
//! A copy of the records gives neither away: without the server's key a digest cannot be compared with a guess.

use gatemill_store::Sealer;
use gatemill_wire::sigv4::{hex, hmac_sha256};

use super::record::Place;

/// What seals, opens and finds values.
pub(crate) struct Vault {
    sealer: Sealer,
    digests: Vec<u8>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

impl Vault {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self { sealer: Sealer::new(key), digests: hmac_sha256(key, b"digests") }
    }

    /// By what a value is found in an account and a region.
    pub(crate) fn digest(&self, place: &Place, value: &str) -> String {
        let told = [context(place, "").as_bytes(), b"\0", value.as_bytes()].concat();
        hex(&hmac_sha256(&self.digests, &told))
    }

    /// Seals the value of the key of this id; `None` when it cannot be encrypted.
    pub(crate) fn seal(&self, place: &Place, id: &str, value: &str) -> Option<String> {
        self.sealer.seal(&context(place, id), value.as_bytes()).ok()
    }

    /// Opens what [`Self::seal`] made for the same key.
    pub(crate) fn open(&self, place: &Place, id: &str, sealed: &str) -> Option<String> {
        String::from_utf8(self.sealer.open(&context(place, id), sealed)?).ok()
    }
}

fn context(Place { account, region }: &Place, id: &str) -> String {
    format!("{account}/{region}/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_for_its_key_alone_and_is_found_in_its_place_alone() {
        let place = |region: &str| Place { account: "1".to_owned(), region: region.to_owned() };
        let vault = Vault::new(&[7; 32]);
        let sealed = vault.seal(&place("r"), "k", "a value").unwrap();
        assert_eq!(vault.open(&place("r"), "k", &sealed).as_deref(), Some("a value"));
        assert_eq!(vault.open(&place("r"), "l", &sealed), None);
        assert_eq!(vault.open(&place("s"), "k", &sealed), None);
        assert_eq!(Vault::new(&[8; 32]).open(&place("r"), "k", &sealed), None);
        assert_eq!(vault.open(&place("r"), "k", ""), None);
        let digest = vault.digest(&place("r"), "a value");
        assert_eq!(digest, vault.digest(&place("r"), "a value"));
        assert_ne!(digest, vault.digest(&place("s"), "a value"));
        assert_ne!(digest, vault.digest(&place("r"), "a value "));
        assert_ne!(digest, Vault::new(&[8; 32]).digest(&place("r"), "a value"));
        assert!(!format!("{sealed}{digest}").contains("value"));
    }
}
