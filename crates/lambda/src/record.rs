//! What is stored of a function, and where.
//!
//! Records are types of their own: neither the wire's nor the runtime's. Every state of a function that a client can see
//! follows from its one [`FunctionRecord`]; the index tables beside it change in the same transaction and answer
//! the questions that would else need a scan of all functions.

use std::collections::BTreeMap;

use gatemill_store::{Digest, Key, Record, Table};
use gatemill_wire::Qualifier;
use serde::{Deserialize, Serialize};

use crate::{
    layer_record::{UsedLayer, merged_digest},
    target::FunctionKey,
};

/// Functions by account, region and name.
pub(crate) const FUNCTIONS: Table<FunctionRecord> = Table::new("lambda-functions");
/// Functions that wait for the worker that settles them, by account, region and name.
pub(crate) const WORK: Table<Mark> = Table::new("lambda-work");
/// Which functions use a package: by its digest, account, region and name.
pub(crate) const CODE_USES: Table<Mark> = Table::new("lambda-code-uses");
/// Packages that were put into the store, by digest: what may be removed once no function names it.
pub(crate) const PACKAGES: Table<Mark> = Table::new("lambda-packages");
/// What an account has in a region.
pub(crate) const USAGE: Table<UsageRecord> = Table::new("lambda-usage");
/// Published versions by account, region, name and number.
pub(crate) const VERSIONS: Table<VersionRecord> = Table::new("lambda-versions");
/// Versions that wait for the worker that settles them, by the same keys.
pub(crate) const VERSION_WORK: Table<Mark> = Table::new("lambda-version-work");
/// Functions, and versions by their number, that are deleted as soon as their durable executions are over.
pub(crate) const DRAINING: Table<Mark> = Table::new("lambda-draining");
/// The last version number that a function gave, by account, region and name. Outlives the function: numbers are
/// never given again.
pub(crate) const VERSION_NUMBERS: Table<NumberRecord> = Table::new("lambda-version-numbers");
/// Aliases by account, region, name and alias.
pub(crate) const ALIASES: Table<AliasRecord> = Table::new("lambda-aliases");
/// Reserved concurrency by account, region and name.
pub(crate) const RESERVED: Table<ReservedRecord> = Table::new("lambda-reserved-concurrency");
/// Provisioned concurrency by account, region, name, and version or alias.
pub(crate) const PROVISIONED: Table<ProvisionedRecord> =
    Table::new("lambda-provisioned-concurrency");
/// Resource policies by account, region, name and qualifier (empty for none).
pub(crate) const POLICIES: Table<PolicyRecord> = Table::new("lambda-policies");

/// Versions of runtimes that functions are held to, by account, region, name and version (empty for `$LATEST`).
pub(crate) const RUNTIME_PINS: Table<RuntimePinRecord> = Table::new("lambda-runtime-pins");

/// A function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FunctionRecord {
    /// What clients read; while an update is under way, already the new one.
    pub(crate) configuration: Configuration,
    pub(crate) lifecycle: Lifecycle,
    /// Changes with every transition.
    pub(crate) revision_id: String,
    pub(crate) last_modified_ms: i64,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
    /// Whether it is deleted as soon as its durable executions are over ([`DRAINING`]).
    #[serde(default, skip_serializing_if = "is_not")]
    pub(crate) draining: bool,
}

impl Record for FunctionRecord {
    const VERSION: u8 = 1;
}

/// A published version: what `$LATEST` was then, for ever.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct VersionRecord {
    /// Its deployment is its own; its description may be, too.
    pub(crate) configuration: Configuration,
    /// [`Lifecycle::Creating`] until a worker made it runnable; it is never updated.
    pub(crate) lifecycle: Lifecycle,
    pub(crate) revision_id: String,
    pub(crate) last_modified_ms: i64,
    /// The description that `$LATEST` had: another one there makes a new version.
    pub(crate) latest_description: String,
    /// Whether it is deleted as soon as its durable executions are over ([`DRAINING`]).
    #[serde(default, skip_serializing_if = "is_not")]
    pub(crate) draining: bool,
}

impl Record for VersionRecord {
    const VERSION: u8 = 1;
}

/// The last number that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NumberRecord {
    pub(crate) last: u64,
}

impl Record for NumberRecord {
    const VERSION: u8 = 1;
}

/// Where a function stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Lifecycle {
    /// Created, not yet runnable.
    Creating,
    /// Runnable; the last update, if there was one, succeeded.
    Active,
    /// Runnable with what it was, until the update is done.
    Updating { serving: Box<Configuration> },
    /// Could not be made runnable. `code` is AWS's word for why; without it, a fault of ours.
    CreateFailed {
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
    /// Runnable with what it was; the last update failed.
    UpdateFailed {
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
}

/// How a function runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Configuration {
    /// New with every change of this configuration: environments belong to one deployment.
    pub(crate) deployment: String,
    pub(crate) runtime: String,
    pub(crate) role: String,
    pub(crate) handler: String,
    pub(crate) description: String,
    pub(crate) timeout_s: u32,
    pub(crate) memory_mb: u32,
    pub(crate) ephemeral_mb: u32,
    /// `None` when the caller never gave any: AWS tells that from an empty map.
    pub(crate) environment: Option<Variables>,
    pub(crate) logging: Logging,
    pub(crate) package: Package,
    /// The container image that is the function's code. It has no runtime and no handler then; both are empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<Image>,
    /// Whether published versions start from a snapshot.
    #[serde(default, skip_serializing_if = "is_not")]
    pub(crate) snap_start: bool,
    /// Whether environments are never shared by tenants; decided when the function is created.
    #[serde(default, skip_serializing_if = "is_not")]
    pub(crate) per_tenant: bool,
    /// Where events go whose attempts all failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dead_letter_arn: Option<String>,
    /// What appears at `/opt`, later ones over earlier ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) layers: Vec<UsedLayer>,
    /// Whether the calls that nobody decided about are sampled (`TracingConfig.Mode` is `Active`).
    #[serde(default, skip_serializing_if = "is_not")]
    pub(crate) traced: bool,
    /// What is shown and has no effect, where the operator wants it so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unenforced: Option<Unenforced>,
    /// What a good signature of the package says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signing: Option<Signing>,
    /// What executions of a durable function may take; decided when the function is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) durable: Option<Durable>,
    /// Where the zip is, if it stays there (`S3ObjectStorageMode` is `REFERENCE`); else it is a blob of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) s3_object: Option<S3Object>,
}

/// An object of S3 that is a function's code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct S3Object {
    pub(crate) region: String,
    pub(crate) bucket: String,
    pub(crate) key: String,
    /// Every object of a bucket with versioning has one, and never changes under it.
    pub(crate) version: String,
}

/// What executions of a durable function may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Durable {
    pub(crate) execution_timeout_s: u32,
    /// How long they are kept once they are over.
    pub(crate) retention_days: u32,
    /// Taken without effect, where the operator wants such settings taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kms_key_arn: Option<String>,
}

/// What was added to records later is left out where it is not used, so that their bytes stay what they were.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_not(flag: &bool) -> bool {
    !flag
}

/// Environment variables. At rest they are sealed; records of earlier versions, and what runs, have them plain.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Variables {
    /// What the [`Vault`](crate::vault::Vault) made, in base64.
    Sealed(String),
    Plain(BTreeMap<String, String>),
}

impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variables").finish_non_exhaustive()
    }
}

/// Settings that nothing here enforces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unenforced {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vpc: Option<Vpc>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) file_systems: Vec<FileSystem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kms_key_arn: Option<String>,
    /// The key of the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source_kms_key_arn: Option<String>,
}

/// A VPC that a function shall be connected to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Vpc {
    pub(crate) subnets: Vec<String>,
    pub(crate) security_groups: Vec<String>,
    pub(crate) dual_stack: bool,
}

/// A file system that a function shall see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileSystem {
    pub(crate) arn: String,
    pub(crate) path: String,
}

/// Where and how a function logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Logging {
    /// `None` is `/aws/lambda/<name>`.
    pub(crate) group: Option<String>,
    pub(crate) format: LogFormat,
}

/// The format of log lines, with its levels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LogFormat {
    Text,
    Json { application: String, system: String },
}

/// A function's container image, and what its configuration changes about how it is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Image {
    /// As it was given.
    pub(crate) uri: String,
    /// The same by its digest, which was found when it was given.
    pub(crate) resolved_uri: String,
    /// In place of the image's `ENTRYPOINT`.
    pub(crate) entry_point: Option<Vec<String>>,
    /// In place of the image's `CMD`.
    pub(crate) command: Option<Vec<String>>,
    /// In place of the image's `WORKDIR`.
    pub(crate) working_directory: Option<String>,
}

/// Who signed a function's package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signing {
    /// The ARN of the version of the signing profile.
    pub(crate) profile: String,
    /// The ARN of the signing job.
    pub(crate) job: String,
}

/// The code of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Package {
    /// The SHA-256 of the zip, which is its blob's name, or of the image's manifest.
    pub(crate) digest: Digest,
    /// The zip's size; 0 for images.
    pub(crate) bytes: u64,
    /// What comes out of the zip; 0 for images, and where it was not counted yet.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) unpacked_bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A mark in an index: its key says everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {}

impl Record for Mark {
    const VERSION: u8 = 1;
}

/// Counts that would else need a scan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UsageRecord {
    pub(crate) functions: u64,
    /// Bytes of all zips, as AWS counts them.
    pub(crate) code_bytes: u64,
    /// Concurrency that is not for everybody: of each function what it reserved, or else what it provisioned.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) allotted: u64,
}

impl Record for UsageRecord {
    const VERSION: u8 = 1;
}

/// An alias.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AliasRecord {
    /// The version that it points to; `None` is `$LATEST`.
    pub(crate) version: Option<u64>,
    pub(crate) description: String,
    /// Where part of the calls go instead.
    pub(crate) route: Option<RouteRecord>,
    pub(crate) revision_id: String,
}

/// The second version of an alias.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct RouteRecord {
    pub(crate) version: u64,
    /// The part of the calls that goes there, from 0 to 1.
    pub(crate) weight: f64,
}

impl Record for AliasRecord {
    const VERSION: u8 = 1;
}

/// The concurrency that a function has reserved: its own, and not more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReservedRecord {
    pub(crate) executions: u32,
}

impl Record for ReservedRecord {
    const VERSION: u8 = 1;
}

/// How many environments of a version are kept initialised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProvisionedRecord {
    pub(crate) executions: u32,
    pub(crate) last_modified_ms: i64,
}

impl Record for ProvisionedRecord {
    const VERSION: u8 = 1;
}

/// The version of its runtime that a function is held to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RuntimePinRecord {
    /// AWS's word for when it changes: `Manual` or `FunctionUpdate`.
    pub(crate) update_on: String,
    pub(crate) arn: String,
}

impl Record for RuntimePinRecord {
    const VERSION: u8 = 1;
}

/// A resource policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PolicyRecord {
    pub(crate) revision_id: String,
    /// Where it was put as a whole document that has one; else it is `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// In the order in which they were added.
    pub(crate) statements: Vec<StatementRecord>,
}

impl Record for PolicyRecord {
    const VERSION: u8 = 1;
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StatementRecord {
    pub(crate) sid: String,
    /// The statement as the client reads it, key order and all.
    pub(crate) json: String,
}

impl Configuration {
    /// Everything that has to stay in the store and on the disk for this to run.
    pub(crate) fn code_digests(&self) -> impl Iterator<Item = Digest> {
        let layers = self.layers.iter().map(|layer| layer.package.digest);
        std::iter::once(self.package.digest).chain(layers).chain(merged_digest(&self.layers))
    }

    /// The environment variables of a configuration that was made ready to run, where they are plain.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&String, &String)> {
        let plain = match &self.environment {
            Some(Variables::Plain(plain)) => Some(plain),
            Some(Variables::Sealed(_)) | None => None,
        };
        plain.into_iter().flatten()
    }

    /// What counts as stored here, in bytes.
    pub(crate) fn stored_bytes(&self) -> u64 {
        if self.s3_object.is_some() { 0 } else { self.package.bytes }
    }

    /// `CodeSha256`: of a zip in base64, of an image in hexadecimal digits.
    pub(crate) fn code_sha256(&self) -> String {
        let digest = &self.package.digest;
        if self.image.is_some() { digest.to_string() } else { digest.base64() }
    }
}

impl AliasRecord {
    /// The published versions that it points to.
    pub(crate) fn versions(&self) -> impl Iterator<Item = u64> {
        self.version.into_iter().chain(self.route.iter().map(|route| route.version))
    }

    /// How many of its provisioned environments are of each version: as many as its part of the calls.
    pub(crate) fn shares(&self, executions: u32) -> impl Iterator<Item = (u64, u32)> {
        let weight = self.route.map_or(0.0, |route| route.weight);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part, between 0 and 1, of a number of 32 bits"
        )]
        let other = (f64::from(executions) * weight).round() as u32;
        let main = self.version.map(|version| (version, executions.saturating_sub(other)));
        main.into_iter().chain(self.route.map(|route| (route.version, other)))
    }
}

impl VersionRecord {
    /// What calls run with; `None` while there is nothing that can run.
    pub(crate) fn serving(&self) -> Option<&Configuration> {
        matches!(self.lifecycle, Lifecycle::Active).then_some(&self.configuration)
    }

    /// Whether publishing `latest` now would give this version again.
    pub(crate) fn is_still(&self, latest: &Configuration) -> bool {
        let as_published = Configuration {
            deployment: self.configuration.deployment.clone(),
            description: self.configuration.description.clone(),
            ..latest.clone()
        };
        as_published == self.configuration && latest.description == self.latest_description
    }
}

impl FunctionRecord {
    /// What calls run with now; `None` while there is nothing that can run.
    pub(crate) fn serving(&self) -> Option<&Configuration> {
        match &self.lifecycle {
            Lifecycle::Creating | Lifecycle::CreateFailed { .. } => None,
            Lifecycle::Active | Lifecycle::UpdateFailed { .. } => Some(&self.configuration),
            Lifecycle::Updating { serving } => Some(serving),
        }
    }
}

/// The key of an account's usage in a region.
pub(crate) fn usage_key(account: &str, region: &str) -> Key {
    Key::new([account, region])
}

/// The key of the mark that a function uses a package.
pub(crate) fn code_use_key(digest: &Digest, function: &FunctionKey) -> Key {
    Key::new([digest.to_string().as_str(), &function.account, &function.region, &function.name])
}

/// The key of a published version.
pub(crate) fn version_key(function: &FunctionKey, number: u64) -> Key {
    function.record().and_u64(number)
}

/// Reads back [`version_key`].
pub(crate) fn version_from_key(key: &Key) -> Option<(FunctionKey, u64)> {
    Some((FunctionKey::from_record(key)?, key.number(3)?))
}

/// The key of an alias.
pub(crate) fn alias_key(function: &FunctionKey, name: &str) -> Key {
    function.record().and(name)
}

/// Reads the name back from [`alias_key`].
pub(crate) fn alias_name(key: &Key) -> Option<String> {
    Some(key.text(3)?.into_owned())
}

/// The key of what a version or an alias has provisioned.
pub(crate) fn provisioned_key(function: &FunctionKey, qualifier: &Qualifier) -> Key {
    match qualifier {
        Qualifier::Version(number) => version_key(function, *number),
        Qualifier::Latest | Qualifier::Alias(_) => alias_key(function, &qualifier.to_string()),
    }
}

/// Reads back [`provisioned_key`].
pub(crate) fn provisioned_from_key(key: &Key) -> Option<(FunctionKey, Qualifier)> {
    let function = FunctionKey::from_record(key)?;
    let number = key.number(3).map(Qualifier::Version);
    Some((function, number.or_else(|| alias_name(key).map(Qualifier::Alias))?))
}

/// The key of the mark that a version uses a package: below that of its function.
pub(crate) fn version_code_use_key(digest: &Digest, function: &FunctionKey, number: u64) -> Key {
    code_use_key(digest, function).and_u64(number)
}

/// The key of a function's policy; an empty qualifier stands for none.
pub(crate) fn policy_key(function: &FunctionKey, qualifier: &str) -> Key {
    function.record().and(qualifier)
}

/// Reads the qualifier back from [`policy_key`].
pub(crate) fn policy_qualifier(key: &Key) -> Option<String> {
    Some(key.text(3)?.into_owned())
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
