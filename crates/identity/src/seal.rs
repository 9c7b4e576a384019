//! Secrets at rest: AES-256-GCM with a key in a file beside the records.
//!
//! The file is for its owner alone and appears whole or not at all. It protects copies of the records (backups, a
//! database that others may read); whoever can read both has both.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use gatemill_wire::{Entropy, sigv4::hmac_sha256};

use crate::{Error, limits::KEY_FILE_BYTES};

pub(crate) const KEY_FILE: &str = "identity.key";
const NEW_KEY_FILE: &str = "identity.key.new";

/// The key that secrets are encrypted with.
pub(crate) struct SealingKey {
    aead: LessSafeKey,
    bytes: [u8; KEY_FILE_BYTES],
}

impl SealingKey {
    /// Reads the key file; `None` when there is none.
    pub(crate) fn read(data_dir: &Path) -> Result<Option<Self>, Error> {
        let path = data_dir.join(KEY_FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::KeyFile { doing: "read", path, source }),
        };
        Self::new(&bytes).ok_or(Error::NotAKey { path }).map(Some)
    }

    /// Makes the key file.
    pub(crate) fn create(data_dir: &Path, entropy: &dyn Entropy) -> Result<Self, Error> {
        let mut bytes = [0; KEY_FILE_BYTES];
        entropy.fill(&mut bytes);
        let path = data_dir.join(KEY_FILE);
        write_whole(data_dir, &bytes).map_err(|source| Error::KeyFile {
            doing: "write",
            path: path.clone(),
            source,
        })?;
        Self::new(&bytes).ok_or(Error::NotAKey { path })
    }

    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let bytes = <[u8; KEY_FILE_BYTES]>::try_from(bytes).ok()?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).ok()?;
        Some(Self { aead: LessSafeKey::new(key), bytes })
    }

    /// Key material for another purpose, which says nothing about this key.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; KEY_FILE_BYTES] {
        let derived = hmac_sha256(&self.bytes, purpose.as_bytes());
        derived.try_into().expect("an HMAC-SHA256 has 32 bytes")
    }

    /// A key for another purpose.
    pub(crate) fn derived(&self, purpose: &str) -> Self {
        Self::new(&self.derive(purpose)).expect("a derived key has the right length")
    }

    /// Encrypts a secret for the place that `context` names.
    pub(crate) fn seal(
        &self,
        context: &str,
        secret: &str,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, Error> {
        // Random nonces are safe for 2^32 secrets under one key.
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce);
        let mut sealed = secret.as_bytes().to_vec();
        let aad = Aad::from(context.as_bytes());
        self.aead
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .map_err(|_| Error::Encrypt)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Decrypts what [`Self::seal`] made for the same place.
    pub(crate) fn open(&self, context: &str, sealed: &[u8]) -> Option<String> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = sealed.to_vec();
        let aad = Aad::from(context.as_bytes());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.aead.open_in_place(nonce, aad, &mut text).ok()?;
        String::from_utf8(opened.to_vec()).ok()
    }
}

/// Written under another name, synced and renamed, so that a crash leaves the old state or the new one.
fn write_whole(data_dir: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = data_dir.join(NEW_KEY_FILE);
    // What an earlier crash left may have other permissions.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, data_dir.join(KEY_FILE))?;
    File::open(data_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Sevens;

    impl Entropy for Sevens {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(7);
        }
    }

    #[test]
    fn sealed_secrets_open_with_the_same_key_and_place_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(SealingKey::read(dir.path()).unwrap().is_none());
        fs::write(dir.path().join(NEW_KEY_FILE), "left by a crash").unwrap();
        let key = SealingKey::create(dir.path(), &Sevens).unwrap();
        let mode = fs::metadata(dir.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let sealed = key.seal("AKIA", "secret", &Sevens).unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("secret"));
        let again = SealingKey::read(dir.path()).unwrap().unwrap();
        assert_eq!(again.open("AKIA", &sealed).as_deref(), Some("secret"));
        assert_eq!(again.open("AKIB", &sealed), None);
        assert_eq!(SealingKey::new(&[8; 32]).unwrap().open("AKIA", &sealed), None);
        for at in 0..sealed.len() {
            let mut tampered = sealed.clone();
            tampered[at] ^= 1;
            assert_eq!(again.open("AKIA", &tampered), None);
        }
        assert_eq!(again.open("AKIA", &[]), None);
    }

    #[test]
    fn a_file_that_is_no_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(KEY_FILE), "short").unwrap();
        assert!(matches!(SealingKey::read(dir.path()), Err(Error::NotAKey { .. })));
    }
}
