//! The runtime identifiers of the API, once, with the language and version that each stands for.

use std::fmt;

/// A language whose interpreter and runtime client we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// .NET on the CoreCLR; released by major version.
    Dotnet,
    /// Java; released by major version.
    Java,
    /// Node.js; released by major version.
    Nodejs,
    /// CPython; released by minor version.
    Python,
    /// Ruby (MRI); released by minor version.
    Ruby,
    /// None: the function brings its own program (`provided.*`).
    Provided,
}

/// A version of a language. Releases, which identifiers stand for, have no patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number.
    pub patch: u32,
    by_major: bool,
}

impl Family {
    /// All that have interpreters.
    pub(super) const ALL: [Self; 5] =
        [Self::Dotnet, Self::Java, Self::Nodejs, Self::Python, Self::Ruby];

    /// Its name in files of ours, and of its client's directory.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Dotnet => "dotnet",
            Self::Java => "java",
            Self::Nodejs => "nodejs",
            Self::Python => "python",
            Self::Ruby => "ruby",
            Self::Provided => "provided",
        }
    }

    fn is_released_by_major(self) -> bool {
        matches!(self, Self::Dotnet | Self::Java | Self::Nodejs)
    }

    /// Reads `3.12.1` or `v20.11.0`; of Java, which leaves out what is zero and called 8 once 1.8,
    /// also `25` and `1.8.0_392`.
    pub(super) fn version(self, text: &str) -> Option<Version> {
        let text = text.trim().trim_start_matches('v');
        let is_java = self == Self::Java;
        let text = if is_java { text.strip_prefix("1.").unwrap_or(text) } else { text };
        let mut numbers = text.split(['.', '_']);
        let mut next = || -> Option<u32> {
            let Some(digits) = numbers.next() else { return is_java.then_some(0) };
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            digits[..end].parse().ok()
        };
        let (major, minor, patch) = (next()?, next()?, next()?);
        Some(Version { major, minor, patch, by_major: self.is_released_by_major() })
    }

    /// The runtime identifier of a release of this language.
    pub(super) fn identifier(self, version: Version) -> String {
        let Version { major, minor, .. } = version;
        match self {
            Self::Dotnet if major < 5 => format!("dotnetcore{major}.{minor}"),
            Self::Dotnet => format!("dotnet{major}"),
            Self::Java if major == 8 => "java8.al2".to_owned(),
            Self::Java => format!("java{major}"),
            Self::Nodejs => format!("nodejs{major}.x"),
            Self::Python => format!("python{major}.{minor}"),
            Self::Ruby => format!("ruby{major}.{minor}"),
            Self::Provided => "provided".to_owned(),
        }
    }
}

impl Version {
    /// Of what has none.
    pub(super) const NONE: Self = Self { major: 0, minor: 0, patch: 0, by_major: true };

    const fn by_major(major: u32) -> Self {
        Self { major, minor: 0, patch: 0, by_major: true }
    }

    const fn by_minor(major: u32, minor: u32) -> Self {
        Self { major, minor, patch: 0, by_major: false }
    }

    /// The release that this version belongs to.
    #[must_use]
    pub fn release(self) -> Self {
        let minor = if self.by_major { 0 } else { self.minor };
        Self { minor, patch: 0, ..self }
    }

    /// How far another release is, by which to choose a stand-in; the newer of two is nearer.
    pub(super) fn distance(self, other: Self) -> (u32, u32, bool) {
        let older = other < self;
        (self.major.abs_diff(other.major), self.minor.abs_diff(other.minor), older)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A runtime identifier that AWS has and our clients serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identifier {
    /// As in the API, such as `python3.12`.
    pub name: &'static str,
    /// Its language.
    pub family: Family,
    /// Its release.
    pub version: Version,
}

const fn by_major(family: Family, name: &'static str, major: u32) -> Identifier {
    Identifier { name, family, version: Version::by_major(major) }
}

const fn by_minor(family: Family, name: &'static str, minor: u32) -> Identifier {
    Identifier { name, family, version: Version::by_minor(3, minor) }
}

/// The identifiers that can be served when the interpreter is there, oldest first.
pub const IDENTIFIERS: &[Identifier] = &[
    by_major(Family::Dotnet, "dotnet8", 8),
    by_major(Family::Dotnet, "dotnet10", 10),
    by_major(Family::Java, "java8.al2", 8),
    by_major(Family::Java, "java11", 11),
    by_major(Family::Java, "java17", 17),
    by_major(Family::Java, "java21", 21),
    by_major(Family::Java, "java25", 25),
    by_major(Family::Nodejs, "nodejs18.x", 18),
    by_major(Family::Nodejs, "nodejs20.x", 20),
    by_major(Family::Nodejs, "nodejs22.x", 22),
    by_major(Family::Nodejs, "nodejs24.x", 24),
    by_minor(Family::Python, "python3.9", 9),
    by_minor(Family::Python, "python3.10", 10),
    by_minor(Family::Python, "python3.11", 11),
    by_minor(Family::Python, "python3.12", 12),
    by_minor(Family::Python, "python3.13", 13),
    by_minor(Family::Python, "python3.14", 14),
    by_minor(Family::Ruby, "ruby3.2", 2),
    by_minor(Family::Ruby, "ruby3.3", 3),
    by_minor(Family::Ruby, "ruby3.4", 4),
];

/// Releases that AWS takes no new functions for, or never had, and that our clients run on all the
/// same: they may stand in for one that is not there.
const STAND_INS: &[(Family, Version)] = &[
    (Family::Dotnet, Version::by_major(3)),
    (Family::Dotnet, Version::by_major(6)),
    (Family::Dotnet, Version::by_major(9)),
    (Family::Ruby, Version::by_minor(3, 1)),
];

/// Whether a release is one that our clients are tested with.
pub(super) fn is_served(family: Family, version: Version) -> bool {
    let release = version.release();
    STAND_INS.contains(&(family, release))
        || IDENTIFIERS.iter().any(|known| known.family == family && known.version == release)
}
