//! The runtime identifiers of the API, once, with the language and version that each stands for.

use std::fmt;

/// A language whose interpreter and runtime client we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Node.js; released by major version.
    Nodejs,
    /// CPython; released by minor version.
    Python,
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
    /// Reads `3.12.1` or `v20.11.0`.
    pub(super) fn version(self, text: &str) -> Option<Version> {
        let mut numbers = text.trim().trim_start_matches('v').split('.');
        let mut next = || -> Option<u32> {
            let digits = numbers.next()?;
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            digits[..end].parse().ok()
        };
        let (major, minor, patch) = (next()?, next()?, next()?);
        Some(Version { major, minor, patch, by_major: self == Self::Nodejs })
    }

    /// The runtime identifier of a release of this language.
    pub(super) fn identifier(self, version: Version) -> String {
        match self {
            Self::Nodejs => format!("nodejs{}.x", version.major),
            Self::Python => format!("python{}.{}", version.major, version.minor),
        }
    }
}

impl Version {
    const fn nodejs(major: u32) -> Self {
        Self { major, minor: 0, patch: 0, by_major: true }
    }

    const fn python(minor: u32) -> Self {
        Self { major: 3, minor, patch: 0, by_major: false }
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

const fn nodejs(name: &'static str, major: u32) -> Identifier {
    Identifier { name, family: Family::Nodejs, version: Version::nodejs(major) }
}

const fn python(name: &'static str, minor: u32) -> Identifier {
    Identifier { name, family: Family::Python, version: Version::python(minor) }
}

/// The identifiers that can be served when the interpreter is there, oldest first.
pub const IDENTIFIERS: &[Identifier] = &[
    nodejs("nodejs18.x", 18),
    nodejs("nodejs20.x", 20),
    nodejs("nodejs22.x", 22),
    nodejs("nodejs24.x", 24),
    python("python3.9", 9),
    python("python3.10", 10),
    python("python3.11", 11),
    python("python3.12", 12),
    python("python3.13", 13),
    python("python3.14", 14),
];

/// Whether a release is one that our clients are tested with.
pub(super) fn is_served(family: Family, version: Version) -> bool {
    let release = version.release();
    IDENTIFIERS.iter().any(|known| known.family == family && known.version == release)
}
