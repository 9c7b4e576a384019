//! The stored form of access keys.

use gatemill_store::{Record, Table};
use gatemill_wire::Blob;
use serde::{Deserialize, Serialize};

/// Access keys by their id.
pub(crate) const ACCESS_KEYS: Table<AccessKeyRecord> = Table::new("access_keys");

/// An access key. The secret is encrypted with the key file, so that a copy of the records alone opens nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AccessKeyRecord {
    pub(crate) account: String,
    /// AES-256-GCM: twelve bytes of nonce, the text, sixteen bytes of tag; the key's id is authenticated with it.
    pub(crate) secret: Blob,
}

impl Record for AccessKeyRecord {
    const VERSION: u8 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of version 1, which must decode for ever.
    #[test]
    fn golden_record_of_version_1() {
        let key = AccessKeyRecord {
            account: "000000000000".to_owned(),
            secret: Blob(b"sealed".to_vec().into()),
        };
        let bytes = "\u{1}{\"account\":\"000000000000\",\"secret\":\"c2VhbGVk\"}";
        assert_eq!(gatemill_store::encode(&key).unwrap(), bytes.as_bytes());
        assert_eq!(gatemill_store::decode::<AccessKeyRecord>(bytes.as_bytes()).unwrap(), key);
    }
}
