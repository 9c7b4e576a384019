//! What is stored of code signing: the configurations, and which function has which.

use std::collections::BTreeMap;

use gatemill_store::{Key, Record, Table};
use serde::{Deserialize, Serialize};

use crate::record::Mark;

/// Code signing configurations by account, region and id.
pub(crate) const CODE_SIGNING_CONFIGS: Table<CodeSigningRecord> =
    Table::new("lambda-code-signing-configs");
/// The configuration that a function has, by account, region and name.
pub(crate) const FUNCTION_CODE_SIGNING: Table<FunctionCodeSigningRecord> =
    Table::new("lambda-function-code-signing");
/// The same the other way round: by account, region, id of the configuration and name of the function.
pub(crate) const CODE_SIGNING_USES: Table<Mark> = Table::new("lambda-code-signing-uses");

/// A code signing configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CodeSigningRecord {
    pub(crate) description: String,
    /// The ARNs of versions of signing profiles whose signatures are good.
    pub(crate) publishers: Vec<String>,
    /// Whether code without a good signature is refused; else the log says so.
    pub(crate) enforced: bool,
    pub(crate) last_modified_ms: i64,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

impl Record for CodeSigningRecord {
    const VERSION: u8 = 1;
}

/// The configuration that a function has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FunctionCodeSigningRecord {
    pub(crate) id: String,
}

impl Record for FunctionCodeSigningRecord {
    const VERSION: u8 = 1;
}

/// The key of the mark that a function has a configuration: below the configuration's.
pub(crate) fn use_key(config: &Key, function: &str) -> Key {
    config.clone().and(function)
}

/// Reads the function's name back from [`use_key`].
pub(crate) fn function_of_use(key: &Key) -> Option<String> {
    Some(key.text(3)?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let record = CodeSigningRecord {
            description: "d".to_owned(),
            publishers: vec!["p".to_owned()],
            enforced: true,
            last_modified_ms: 7,
            tags: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        };
        let golden = r#"{"description":"d","publishers":["p"],"enforced":true,"last_modified_ms":7,"tags":{"k":"v"}}"#;
        assert_eq!(serde_json::to_string(&record).unwrap(), golden);
        let record = FunctionCodeSigningRecord { id: "csc-0".to_owned() };
        assert_eq!(serde_json::to_string(&record).unwrap(), r#"{"id":"csc-0"}"#);
    }
}
