//! What is stored of an event source mapping, and where.

use std::collections::BTreeMap;

use gatemill_store::{Key, Record, Table};
use serde::{Deserialize, Serialize};

/// Mappings by account, region and UUID.
pub const MAPPINGS: Table<Mapping> = Table::new("lambda-mappings");
/// Mappings whose state asks for work, by the same keys.
pub const MAPPING_WORK: Table<Work> = Table::new("lambda-mapping-work");
/// What came last of a mapping, by the same keys. Apart from the mapping, which changes seldom.
pub const MAPPING_RESULTS: Table<MappingResult> = Table::new("lambda-mapping-results");
/// Mappings of a function: by account, region, the function's name and UUID.
pub(crate) const MAPPINGS_BY_FUNCTION: Table<Work> = Table::new("lambda-mappings-by-function");
/// Mappings of an event source: by account, region, the source's ARN and UUID.
pub(crate) const MAPPINGS_BY_SOURCE: Table<Work> = Table::new("lambda-mappings-by-source");

/// An event source mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// The function, with the qualifier that was named.
    pub function_arn: String,
    /// The queue or stream.
    pub source_arn: String,
    /// Where it stands.
    pub state: State,
    /// Grows with every change that a client asks for.
    pub revision: u64,
    /// When that was.
    pub last_modified_ms: i64,
    /// How its source is read and its function called.
    pub settings: Settings,
    /// Its tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl Record for Mapping {
    const VERSION: u8 = 1;
}

/// The state of a mapping. All but [`Self::Enabled`] and [`Self::Disabled`] ask for work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It was created and nothing reads its source yet.
    Creating {
        /// Whether it is to be enabled.
        enabled: bool,
    },
    /// It was disabled and is to be enabled.
    Enabling,
    /// Its source is read.
    Enabled,
    /// It is to be disabled.
    Disabling,
    /// Its source is not read.
    Disabled,
    /// Its settings have changed.
    Updating {
        /// Whether it is enabled.
        enabled: bool,
    },
    /// It is to be deleted.
    Deleting,
}

impl State {
    /// AWS's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Creating { .. } => "Creating",
            Self::Enabling => "Enabling",
            Self::Enabled => "Enabled",
            Self::Disabling => "Disabling",
            Self::Disabled => "Disabled",
            Self::Updating { .. } => "Updating",
            Self::Deleting => "Deleting",
        }
    }

    /// What it becomes when the work is done; `None` is gone.
    pub fn after(self) -> Option<Self> {
        match self {
            Self::Creating { enabled: true }
            | Self::Updating { enabled: true }
            | Self::Enabling
            | Self::Enabled => Some(Self::Enabled),
            Self::Creating { enabled: false }
            | Self::Updating { enabled: false }
            | Self::Disabling
            | Self::Disabled => Some(Self::Disabled),
            Self::Deleting => None,
        }
    }

    /// Whether nothing is to be done.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Enabled | Self::Disabled)
    }
}

/// How a source is read and a function called. What does not apply to a kind of source has its default there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The most records of one call.
    pub batch_size: u32,
    /// How long records are gathered for one call, in seconds.
    pub window_s: u32,
    /// Patterns, of which a record has to match one; none lets every record pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
    /// Whether the function says which records failed.
    #[serde(default, skip_serializing_if = "is_not")]
    pub reports_item_failures: bool,
    /// Calls at one time, of a queue; `None` is AWS's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_concurrency: Option<u32>,
    /// Event pollers of its own, of a queue in provisioned mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pollers: Option<Pollers>,
    /// What streams have besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamSettings>,
    /// Whether its own metrics were asked for.
    #[serde(default, skip_serializing_if = "is_not")]
    pub counts_events: bool,
    /// Taken without effect, where the operator wants such settings taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_arn: Option<String>,
}

/// How many event pollers a mapping in provisioned mode has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pollers {
    /// Always.
    pub minimum: u32,
    /// While there is much to do.
    pub maximum: u32,
}

/// How a stream is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSettings {
    /// Where reading begins.
    pub starting: StartingPosition,
    /// Calls at one time for each shard.
    pub parallelization: u32,
    /// The ARN that is told of records that are given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<String>,
    /// The oldest records that are tried, in seconds; `None` is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_age_s: Option<u32>,
    /// Whether a batch that failed is split.
    #[serde(default, skip_serializing_if = "is_not")]
    pub bisects: bool,
    /// How often a failed batch is tried again; `None` is until its records are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// The length of tumbling windows in seconds; 0 is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tumbling_s: u32,
}

/// Where reading a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartingPosition {
    /// The oldest record that there is.
    TrimHorizon,
    /// What comes from now on.
    Latest,
    /// The first record of this time, in milliseconds, or after it.
    AtTimestamp(i64),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_not(flag: &bool) -> bool {
    !flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A mark: its key says everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {}

impl Record for Work {
    const VERSION: u8 = 1;
}

/// `LastProcessingResult`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingResult {
    /// `OK`, or `PROBLEM:` and what it is.
    pub text: String,
}

impl Record for MappingResult {
    const VERSION: u8 = 1;
}

/// Which mapping.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MappingKey {
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// The UUID.
    pub uuid: String,
}

impl MappingKey {
    /// The key of its records.
    pub fn record(&self) -> Key {
        Key::new([&self.account, &self.region, &self.uuid])
    }

    /// Reads back [`Self::record`].
    pub fn from_record(key: &Key) -> Option<Self> {
        Some(Self {
            account: key.text(0)?.into_owned(),
            region: key.text(1)?.into_owned(),
            uuid: key.text(2)?.into_owned(),
        })
    }

    /// Its ARN.
    pub fn arn(&self) -> String {
        let Self { account, region, uuid } = self;
        format!("arn:aws:lambda:{region}:{account}:event-source-mapping:{uuid}")
    }
}

/// The key of the index of functions.
pub(crate) fn by_function(key: &MappingKey, function: &str) -> Key {
    Key::new([&key.account, &key.region, function, &key.uuid])
}

/// The key of the index of sources.
pub(crate) fn by_source(key: &MappingKey, source_arn: &str) -> Key {
    Key::new([&key.account, &key.region, source_arn, &key.uuid])
}
