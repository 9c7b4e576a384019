//! Secret parts of records: sealed with AES-256-GCM, so that a copy of the records does not give them away.
//!
//! The nonce is a pseudo-random function of what is sealed and where it belongs, as in the SIV modes: the same text in the same
//! place gives the same bytes, which says that nothing changed and nothing else, and no nonce is used for two texts. Where
//! the key comes from is the caller's business, and so is what is sealed: the store itself seals nothing.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Seals and opens.
pub struct Sealer {
    aead: LessSafeKey,
    nonces: hmac::Key,
}

/// Nothing can be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret cannot be encrypted")]
pub struct Unsealed;

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

impl Sealer {
    /// With this key, of which both parts are derived.
    ///
    /// # Panics
    /// Never: what is derived has the length that is needed.
    pub fn new(key: &[u8; 32]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let encryption = hmac::sign(&key, b"encryption");
        let aead = UnboundKey::new(&AES_256_GCM, encryption.as_ref());
        let nonces = hmac::sign(&key, b"nonces");
        Self {
            aead: LessSafeKey::new(aead.expect("an HMAC-SHA256 has 32 bytes")),
            nonces: hmac::Key::new(hmac::HMAC_SHA256, nonces.as_ref()),
        }
    }

    /// Seals a text for the place that `context` names; gives base64.
    ///
    /// # Errors
    /// When it is longer than the cipher takes (64 GB).
    pub fn seal(&self, context: &str, text: &[u8]) -> Result<String, Unsealed> {
        let told = [context.as_bytes(), b"\0", text].concat();
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&hmac::sign(&self.nonces, &told).as_ref()[..NONCE_LEN]);
        let mut bytes = text.to_vec();
        let aad = Aad::from(context.as_bytes());
        self.aead
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut bytes)
            .map_err(|_| Unsealed)?;
        Ok(STANDARD.encode([&nonce[..], &bytes].concat()))
    }

    /// Opens what [`Self::seal`] made for the same place; `None` of anything else.
    pub fn open(&self, context: &str, sealed: &str) -> Option<Vec<u8>> {
        let mut bytes = STANDARD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk_mut::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.aead.open_in_place(nonce, Aad::from(context.as_bytes()), sealed).ok()?;
        Some(opened.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As records that were written before have it.
    #[test]
    fn what_was_sealed_opens_for_ever() {
        let sealer = Sealer::new(&[7; 32]);
        let sealed = sealer.seal("1/r/f", b"hunter2").unwrap();
        assert_eq!(sealed, "5Q3iVip8LkLc0aOLK7E9WQKw5ZOny0S8AwKbaFZYXHJ66ms=");
        assert_eq!(sealer.open("1/r/f", &sealed).as_deref(), Some(&b"hunter2"[..]));
    }

    #[test]
    fn a_text_opens_in_its_place_alone() {
        let sealer = Sealer::new(&[7; 32]);
        let sealed = sealer.seal("a", b"hunter2").unwrap();
        assert_eq!(sealer.seal("a", b"hunter2").unwrap(), sealed);
        assert_ne!(sealer.seal("b", b"hunter2").unwrap(), sealed);
        assert_eq!(sealer.open("b", &sealed), None);
        assert_eq!(sealer.open("a", ""), None);
        assert_eq!(Sealer::new(&[8; 32]).open("a", &sealed), None);
        assert!(!sealed.contains("hunter2"));
        for at in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(sealer.open("a", &String::from_utf8(bytes).unwrap()), None, "{at}");
        }
    }
}
