//! Values of API keys at rest: sealed with AES-256-GCM for the owner who asks for one, and found by a keyed digest.
//!
//! A copy of the records gives neither away: without the server's key a digest cannot be compared with a guess. The nonce is a
//! pseudo-random function of the value and its place, so that no nonce is used for two values.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gatemill_wire::sigv4::{hex, hmac_sha256};

use super::record::Place;

/// What seals, opens and finds values.
pub(crate) struct Vault {
    aead: LessSafeKey,
    nonces: Vec<u8>,
    digests: Vec<u8>,
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
        Self {
            aead: LessSafeKey::new(aead),
            nonces: hmac_sha256(key, b"nonces"),
            digests: hmac_sha256(key, b"digests"),
        }
    }

    /// By what a value is found in an account and a region.
    pub(crate) fn digest(&self, place: &Place, value: &str) -> String {
        hex(&hmac_sha256(&self.digests, &told(&context(place, ""), value)))
    }

    /// Seals the value of the key of this id; `None` when it cannot be encrypted.
    pub(crate) fn seal(&self, place: &Place, id: &str, value: &str) -> Option<String> {
        let context = context(place, id);
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&hmac_sha256(&self.nonces, &told(&context, value))[..NONCE_LEN]);
        let mut bytes = value.as_bytes().to_vec();
        let aad = Aad::from(context.as_bytes());
        self.aead
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut bytes)
            .ok()?;
        Some(STANDARD.encode([&nonce[..], &bytes].concat()))
    }

    /// Opens what [`Self::seal`] made for the same key.
    pub(crate) fn open(&self, place: &Place, id: &str, sealed: &str) -> Option<String> {
        let mut bytes = STANDARD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk_mut::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let context = context(place, id);
        let opened = self.aead.open_in_place(nonce, Aad::from(context.as_bytes()), sealed).ok()?;
        String::from_utf8(opened.to_vec()).ok()
    }
}

fn context(Place { account, region }: &Place, id: &str) -> String {
    format!("{account}/{region}/{id}")
}

fn told(context: &str, value: &str) -> Vec<u8> {
    [context.as_bytes(), b"\0", value.as_bytes()].concat()
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
