//! What is stored of layers, and where: their versions, the numbers that were given, and their policies.
//!
//! A layer is nothing but its versions. A version is never changed; what its zip holds is a package as those of
//! functions are, named in the same index, so that it stays as long as a version of the layer or a function names it.

use gatemill_store::{Digest, Key, Record, Table};
use serde::{Deserialize, Serialize};

use crate::record::{NumberRecord, Package, PolicyRecord, S3Object};

/// The last number that a layer gave, by account, region and name. Outlives its versions: numbers are never given again.
pub(crate) const LAYERS: Table<NumberRecord> = Table::new("lambda-layers");
/// Versions of layers by account, region, name and number.
pub(crate) const LAYER_VERSIONS: Table<LayerVersionRecord> = Table::new("lambda-layer-versions");
/// Policies of layer versions, by the same keys.
pub(crate) const LAYER_POLICIES: Table<PolicyRecord> = Table::new("lambda-layer-policies");

/// A version of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerVersionRecord {
    pub(crate) package: Package,
    pub(crate) description: String,
    pub(crate) created_ms: i64,
    /// `None` when the caller never gave any.
    pub(crate) runtimes: Option<Vec<String>>,
    pub(crate) architectures: Option<Vec<String>>,
    pub(crate) license: Option<String>,
    /// Where its content stays, if it was not copied from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) s3_object: Option<S3Object>,
}

impl LayerVersionRecord {
    /// What counts as stored here, in bytes.
    pub(crate) fn stored_bytes(&self) -> u64 {
        if self.s3_object.is_some() { 0 } else { self.package.bytes }
    }
}

impl Record for LayerVersionRecord {
    const VERSION: u8 = 1;
}

/// A version of a layer that a function uses. It holds all that running takes: the version itself may be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UsedLayer {
    /// Of the version.
    pub(crate) arn: String,
    pub(crate) package: Package,
    /// Where its content stays, if it was not copied from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) s3_object: Option<S3Object>,
}

/// A layer: account, region, name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerKey {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) name: String,
}

impl LayerKey {
    pub(crate) fn new(account: &str, region: &str, name: &str) -> Self {
        Self { account: account.to_owned(), region: region.to_owned(), name: name.to_owned() }
    }

    pub(crate) fn record(&self) -> Key {
        Key::new([&self.account, &self.region, &self.name])
    }

    pub(crate) fn version(&self, number: u64) -> Key {
        self.record().and_u64(number)
    }

    pub(crate) fn arn(&self) -> String {
        format!("arn:aws:lambda:{}:{}:layer:{}", self.region, self.account, self.name)
    }

    pub(crate) fn version_arn(&self, number: u64) -> String {
        format!("{}:{number}", self.arn())
    }

    /// The key of the mark that a version uses a package. No account is called as its second part is, so it is no
    /// function's.
    pub(crate) fn code_use(&self, digest: &Digest, number: u64) -> Key {
        let digest = digest.to_string();
        Key::new([digest.as_str(), "layer", &self.account, &self.region, &self.name])
            .and_u64(number)
    }
}

/// The name under which the merged content of several layers lies on the disk; that of one layer is its package's.
pub(crate) fn merged_digest(layers: &[UsedLayer]) -> Option<Digest> {
    match layers {
        [] => None,
        [one] => Some(one.package.digest),
        several => {
            let names: Vec<_> =
                several.iter().map(|layer| layer.package.digest.to_string()).collect();
            Some(Digest::of(names.join(" ").as_bytes()))
        }
    }
}

#[cfg(test)]
mod tests {
    use gatemill_store::{decode, encode};

    use super::*;

    #[test]
    fn golden_bytes_of_a_version() {
        let record = LayerVersionRecord {
            package: Package { digest: Digest::of(b""), bytes: 22, unpacked_bytes: 7 },
            description: "d".into(),
            created_ms: 1_795_379_214_123,
            runtimes: Some(vec!["python3.12".into()]),
            architectures: None,
            license: None,
            s3_object: None,
        };
        let digest = Digest::of(b"");
        let text = format!(
            "\u{1}{{\"package\":{{\"digest\":\"{digest}\",\"bytes\":22,\"unpacked_bytes\":7}},\"description\":\"d\",\
             \"created_ms\":1795379214123,\"runtimes\":[\"python3.12\"],\"architectures\":null,\"license\":null}}"
        );
        assert_eq!(encode(&record).unwrap(), text.as_bytes());
        assert_eq!(decode::<LayerVersionRecord>(text.as_bytes()).unwrap(), record);
    }

    #[test]
    fn what_is_merged_has_a_name_of_its_own_for_every_order() {
        let layer = |content: &[u8]| UsedLayer {
            arn: String::new(),
            package: Package { digest: Digest::of(content), bytes: 1, unpacked_bytes: 1 },
            s3_object: None,
        };
        let (a, b) = (layer(b"a"), layer(b"b"));
        assert_eq!(merged_digest(&[]), None);
        assert_eq!(merged_digest(std::slice::from_ref(&a)), Some(Digest::of(b"a")));
        let (ab, ba) = (merged_digest(&[a.clone(), b.clone()]), merged_digest(&[b, a]));
        assert!(ab.is_some() && ab != ba);
    }
}
