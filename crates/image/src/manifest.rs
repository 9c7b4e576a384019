//! The documents of an image: index, manifest, configuration. Docker's second schema and OCI's first are one format with
//! two sets of names.

use serde::{Deserialize, Serialize};

use crate::{
    Digest, Error,
    decompress::Compression,
    limits::{
        COMPRESSED_BYTES_MAX, CONFIG_BYTES_MAX, INDEX_ENTRIES_MAX, LAYERS_MAX, PROCESS_BYTES_MAX,
    },
};

/// The media types that manifests and indexes are asked for with.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";

const MANIFESTS: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
const LAYERS: [(&str, Compression); 5] = [
    ("application/vnd.oci.image.layer.v1.tar", Compression::None),
    ("application/vnd.oci.image.layer.v1.tar+gzip", Compression::Gzip),
    ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
    ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::Gzip),
    ("application/vnd.docker.image.rootfs.diff.tar", Compression::None),
];

/// What a digest stands for.
#[derive(Debug)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Index),
}

/// What an image consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) config: Blob,
    pub(crate) layers: Vec<(Blob, Compression)>,
}

/// A blob by its sum, and how large it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// One image for many platforms, or the images of a layout.
#[derive(Debug)]
pub(crate) struct Index(Vec<Descriptor>);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

impl Descriptor {
    fn blob(&self) -> Result<Blob, Error> {
        let digest = self.digest.parse();
        let digest = digest.map_err(|_| Error::Unsupported("a digest that is not SHA-256"))?;
        Ok(Blob { digest, size: self.size })
    }
}

impl Document {
    /// Reads a manifest or an index. What it says of itself goes before what the registry said of it.
    pub(crate) fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, Error> {
        let written: Written = serde_json::from_slice(bytes)
            .map_err(|_| Error::Invalid("its manifest is not the JSON that it should be"))?;
        let said = written.media_type.as_deref().or(media_type).unwrap_or_default();
        let is = |known: &[&str]| known.contains(&said);
        let unknown = said.is_empty() || said == "application/json";
        match (written.config, written.layers, written.manifests) {
            (Some(config), Some(layers), None) if is(&MANIFESTS) || unknown => {
                Manifest::of(&config, &layers).map(Self::Manifest)
            }
            (None, None, Some(manifests)) if is(&INDEXES) || unknown => {
                if manifests.len() > INDEX_ENTRIES_MAX {
                    return Err(Error::Unsupported("an index that is too long"));
                }
                Ok(Self::Index(Index(manifests)))
            }
            _ => Err(Error::Unsupported("an unknown kind of manifest")),
        }
    }
}

impl Manifest {
    fn of(config: &Descriptor, layers: &[Descriptor]) -> Result<Self, Error> {
        if !CONFIGS.contains(&config.media_type.as_str()) {
            return Err(Error::Unsupported("an unknown kind of configuration"));
        }
        if config.size > CONFIG_BYTES_MAX as u64 {
            return Err(Error::Unsupported("a configuration that is too long"));
        }
        if layers.len() > LAYERS_MAX {
            return Err(Error::Unsupported("too many layers"));
        }
        let layer = |layer: &Descriptor| {
            let known = LAYERS.iter().find(|(name, _)| *name == layer.media_type);
            let (_, compression) = known.ok_or(Error::Unsupported("an unknown kind of layer"))?;
            Ok((layer.blob()?, *compression))
        };
        let layers = layers.iter().map(layer).collect::<Result<Vec<_>, Error>>()?;
        let all = layers.iter().try_fold(0_u64, |all, (blob, _)| all.checked_add(blob.size));
        if all.is_none_or(|all| all > COMPRESSED_BYTES_MAX) {
            return Err(Error::TooLarge);
        }
        Ok(Self { config: config.blob()?, layers })
    }
}

impl Index {
    /// The image for this machine.
    pub(crate) fn for_this_machine(&self) -> Result<Blob, Error> {
        let fits =
            |platform: &Platform| platform.os == "linux" && platform.architecture == architecture();
        let found = self.0.iter().find(|one| one.platform.as_ref().is_some_and(fits));
        // An index of one image may leave out what all know.
        let only = || (self.0.len() == 1 && self.0[0].platform.is_none()).then(|| &self.0[0]);
        let found = found.or_else(only);
        found.ok_or(Error::Unsupported("none for this machine's architecture"))?.blob()
    }

    /// What a layout calls by this name, with its media type.
    pub(crate) fn named(&self, tag: &str) -> Option<(Blob, &str)> {
        let name = "org.opencontainers.image.ref.name";
        let is_named = |one: &&Descriptor| {
            let given = one.annotations.get(name);
            given.is_some_and(|given| given == tag || given.rsplit(':').next() == Some(tag))
        };
        let found = self.0.iter().find(is_named)?;
        Some((found.blob().ok()?, &found.media_type))
    }
}

/// The architecture of this machine, in Go's word, which images use.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// How an image wants to be run. Lists are as the image has them: absent means empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// `ENTRYPOINT`.
    pub entry_point: Vec<String>,
    /// `CMD`.
    pub command: Vec<String>,
    /// `WORKDIR`; empty when there is none.
    pub working_directory: String,
    /// `ENV`, in order.
    pub environment: Vec<(String, String)>,
}

/// The configuration of an image: how to run it, and the sums of its layers.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) process: Process,
    pub(crate) diff_ids: Vec<Digest>,
}

#[derive(Debug, Deserialize)]
struct WrittenConfig {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    config: Option<WrittenProcess>,
    rootfs: WrittenRoot,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WrittenProcess {
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WrittenRoot {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

impl Config {
    /// Reads a configuration. `USER` is ignored: as with AWS, every function runs as the one user that it has.
    pub(crate) fn parse(bytes: &[u8], layers: usize) -> Result<Self, Error> {
        let written: WrittenConfig = serde_json::from_slice(bytes)
            .map_err(|_| Error::Invalid("its configuration is not the JSON that it should be"))?;
        if written.os != "linux" || written.architecture != architecture() {
            return Err(Error::Unsupported("it is for another architecture"));
        }
        if written.rootfs.diff_ids.len() != layers {
            return Err(Error::Invalid("its configuration is about other layers"));
        }
        let process = written.config.unwrap_or_default();
        let pair = |text: String| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Some((name.to_owned(), value.to_owned())),
            _ => None,
        };
        let process = Process {
            entry_point: process.entrypoint.unwrap_or_default(),
            command: process.cmd.unwrap_or_default(),
            working_directory: process.working_dir.unwrap_or_default(),
            environment: process.env.unwrap_or_default().into_iter().filter_map(pair).collect(),
        };
        process.check()?;
        Ok(Self { process, diff_ids: written.rootfs.diff_ids })
    }
}

impl Process {
    fn check(&self) -> Result<(), Error> {
        let words = self.entry_point.iter().chain(&self.command);
        let pairs = self.environment.iter().flat_map(|(name, value)| [name, value]);
        let mut bytes = 0;
        for text in words.chain(pairs).chain([&self.working_directory]) {
            if text.contains('\0') {
                return Err(Error::Invalid("its configuration holds a NUL byte"));
            }
            // What each costs in a message, beside its bytes.
            bytes += text.len() + 8;
        }
        if bytes > PROCESS_BYTES_MAX {
            return Err(Error::Unsupported(
                "its entry point, command and environment are too long",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
