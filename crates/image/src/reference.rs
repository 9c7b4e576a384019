//! An `ImageUri`: which image, and where it is.
//!
//! `REGISTRY/REPOSITORY:TAG` or `…@sha256:DIGEST` as in every container tool, but nothing is left out: as with AWS, the
//! registry is named (its first part has a dot or a port, or is `localhost`), and a tag or a digest is given.
//! `oci-layout:FOLDER:TAG` (or `@sha256:DIGEST`) is a folder in the OCI image layout, below the one folder that the
//! operator set aside for them; the tag is its `org.opencontainers.image.ref.name`.

use std::{fmt, net::IpAddr};

use crate::{Digest, limits::URI_BYTES_MAX};

const LAYOUT: &str = "oci-layout:";

/// Where an image is, and which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub(crate) place: Place,
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<Digest>,
}

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A registry, with its port if one was given, and the name of the repository in it.
    Registry { host: String, repository: String },
    /// A folder below the one for layouts.
    Layout { folder: String },
}

impl Reference {
    /// Reads an `ImageUri`; `None` when it is none.
    pub fn parse(uri: &str) -> Option<Self> {
        if uri.len() > URI_BYTES_MAX {
            return None;
        }
        let (name, digest) = match uri.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse().ok()?)),
            None => (uri, None),
        };
        let layout = name.strip_prefix(LAYOUT);
        let name = layout.unwrap_or(name);
        // A colon before the last slash is a port's.
        let slash = name.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match name[slash..].rfind(':') {
            Some(colon) => (&name[..slash + colon], Some(&name[slash + colon + 1..])),
            None => (name, None),
        };
        if (tag.is_none() && digest.is_none()) || !tag.is_none_or(is_tag) {
            return None;
        }
        let place = match layout {
            Some(_) => is_repository(name).then(|| Place::Layout { folder: name.to_owned() })?,
            None => {
                let (host, repository) = name.split_once('/')?;
                let is_both = is_host(host) && is_repository(repository);
                let (host, repository) = (host.to_owned(), repository.to_owned());
                is_both.then_some(Place::Registry { host, repository })?
            }
        };
        Some(Self { place, tag: tag.map(str::to_owned), digest })
    }

    /// The same image by its digest alone, which no one can move: AWS's `ResolvedImageUri`.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { place: self.place.clone(), tag: None, digest: Some(digest) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Registry { host, repository } => write!(f, "{host}/{repository}")?,
            Place::Layout { folder } => write!(f, "{LAYOUT}{folder}")?,
        }
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// Whether a registry is on this machine, where names and certificates mean nothing: plain HTTP then.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = without_port(host);
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    }
}

/// The grammar of tags in the OCI distribution specification.
fn is_tag(tag: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let first = tag.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    first && tag.len() <= 128 && tag.bytes().all(fits)
}

/// The grammar of repositories there: lower-case words, joined by dots, underscores and dashes, in parts.
fn is_repository(name: &str) -> bool {
    let is_part = |part: &str| {
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = |byte: u8| word(byte) || matches!(byte, b'.' | b'_' | b'-');
        let bytes = part.as_bytes();
        bytes.iter().copied().all(fits)
            && bytes.first().copied().is_some_and(word)
            && bytes.last().copied().is_some_and(word)
            && !part.contains("..")
    };
    name.len() <= 255 && name.split('/').all(is_part)
}

fn is_host(host: &str) -> bool {
    let name = without_port(host);
    let port = &host[name.len()..];
    let is_port = port.is_empty() || port[1..].parse::<u16>().is_ok_and(|port| port > 0);
    if let Some(inner) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return is_port && inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_label = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(fits);
    let is_named = name.contains('.') || !port.is_empty() || name == "localhost";
    is_named && is_port && name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn uris_as_aws_and_others_write_them() {
        let with_digest = format!("localhost:5000/a/b@{DIGEST}");
        let with_both = format!("registry.example.com/a:1@{DIGEST}");
        for uri in [
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/fn:latest",
            "public.ecr.aws/lambda/python:3.12",
            "127.0.0.1:5000/a__b/c-d.e:v1.0_x",
            "[::1]:5000/a:b",
            "oci-layout:fn:1",
            "oci-layout:team/fn:latest",
            &with_digest,
            &with_both,
        ] {
            assert_eq!(Reference::parse(uri).unwrap().to_string(), uri);
        }
        let pinned = Reference::parse("localhost:5000/fn:1").unwrap().pinned(Digest::of(b""));
        assert_eq!(pinned.to_string(), format!("localhost:5000/fn@{DIGEST}"));
    }

    #[test]
    fn what_is_no_uri() {
        for uri in [
            "",
            "fn",
            "fn:1",
            "library/fn:1",
            "localhost/fn",
            "localhost/:1",
            "localhost:0/fn:1",
            "localhost:99999/fn:1",
            "localhost:/fn:1",
            "localhost:5000/../fn:1",
            "localhost:5000/fn/..:1",
            "localhost:5000/fn//x:1",
            "localhost:5000/Fn:1",
            "localhost:5000/fn:",
            "localhost:5000/fn:.x",
            "localhost:5000/fn@sha256:1",
            "localhost:5000/fn@md5:1",
            "https://localhost:5000/fn:1",
            "user@localhost:5000/fn:1",
            "-.example.com /fn:1",
            "oci-layout:/etc:1",
            "oci-layout:../x:1",
            "oci-layout:a/../x:1",
            "oci-layout:a",
            "oci-layout::1",
            "exa mple.com/fn:1",
        ] {
            assert_eq!(Reference::parse(uri), None, "{uri}");
        }
    }

    #[test]
    fn loopback_registries() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.9.1", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.com", "10.0.0.1:5000", "registry:5000", "[::2]:5000"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
