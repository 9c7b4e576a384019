//! Signed packages: whether a zip carries a signature in AWS Signer's form, and whose.
//!
//! AWS publishes no description of the form; what is checked here is what signed packages carry (decision 0019):
//! an entry of the zip holds a PEM text with a signature over the names and bodies of all other entries. Trust comes from the
//! operator's root certificates alone. Whether a profile may sign for a function is not decided here, and revocation is not
//! known: there is no Signer to ask.

mod ber;
mod cms;

use std::{
    fs,
    io::{Cursor, Read as _},
    path::Path,
};

use aws_lc_rs::digest::{Context, SHA384};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use gatemill_wire::Timestamp;
use pki_types::{CertificateDer, TrustAnchor};
use zip::ZipArchive;

use crate::{
    Error,
    limits::{SIGNATURE_BYTES_MAX, UNPACKED_BYTES_MAX, ZIP_ENTRIES_MAX},
};

/// The entry that holds the signature.
const ENTRY: &str = "META_INF/aws_signer_signature_v1.0.SF";

/// What is said of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has no signature.
    Unsigned,
    /// It is not what was signed, or the signature is none.
    Tampered,
    /// It is what somebody signed who is not known here.
    Untrusted,
    /// It is what a known signer signed, too long ago.
    Expired(Verified),
    /// It is what a known signer signed.
    Good(Verified),
}

/// What a believed signature says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    /// The ARN of the version of the profile.
    pub(crate) profile: String,
    /// The ARN of the signing job.
    pub(crate) job: String,
}

/// The roots that the operator trusts.
#[derive(Default)]
pub(crate) struct Roots(Vec<TrustAnchor<'static>>);

impl std::fmt::Debug for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Roots").field(&self.0.len()).finish()
    }
}

impl Roots {
    /// Reads every certificate of the files `*.pem` of a directory.
    pub(crate) fn read(dir: Option<&Path>) -> Result<Self, Error> {
        let Some(dir) = dir else { return Ok(Self::default()) };
        let failed = || Error::io("read the roots of signed code");
        let mut roots = Vec::new();
        for entry in fs::read_dir(dir).map_err(failed())? {
            let path = entry.map_err(failed())?.path();
            if path.extension().is_some_and(|extension| extension == "pem") {
                let text = fs::read_to_string(&path).map_err(failed())?;
                roots.extend(anchors(&text).ok_or(Error::Internal(
                    "a root of signed code is no certificate in PEM form",
                ))?);
            }
        }
        Ok(Self(roots))
    }

    /// Judges a package. It takes as long as unpacking does, so it belongs on a thread of its own.
    pub(crate) fn judge(&self, package: &Bytes, now: Timestamp) -> Result<Verdict, Error> {
        let bad = |source| Error::Unpack(crate::BadZip::Io(source));
        let mut archive = ZipArchive::new(Cursor::new(package.as_ref()))
            .map_err(|_| Error::Internal("a package that was looked at is no zip"))?;
        let Some((text, inner)) = read(&mut archive).map_err(bad)? else {
            return Ok(Verdict::Unsigned);
        };
        let now_s = u64::try_from(now.seconds()).unwrap_or(0);
        let judged = pem(&text, "PKCS7").next().flatten().and_then(|der| {
            cms::Signature::parse(&der).map(|signature| signature.judge(&inner, now_s, &self.0))
        });
        Ok(judged.unwrap_or(Verdict::Tampered))
    }
}

fn anchors(text: &str) -> Option<Vec<TrustAnchor<'static>>> {
    let anchor = |der: Option<Vec<u8>>| {
        let der = CertificateDer::from(der?);
        webpki::anchor_from_trusted_cert(&der).ok().map(|anchor| anchor.to_owned())
    };
    let all: Option<Vec<_>> = pem(text, "CERTIFICATE").map(anchor).collect();
    all.filter(|all| !all.is_empty())
}

/// The signature's text and the digest of everything else: of names and bodies, one after the other, in the zip's order.
/// `None` for a zip without a signature.
fn read(archive: &mut ZipArchive<Cursor<&[u8]>>) -> std::io::Result<Option<(String, Vec<u8>)>> {
    if archive.len() > ZIP_ENTRIES_MAX || archive.index_for_name(ENTRY).is_none() {
        return Ok(None);
    }
    let mut text = String::new();
    let mut digest = Context::new(&SHA384);
    let mut buffer = vec![0; 64 * 1024];
    let mut left = UNPACKED_BYTES_MAX;
    for index in 0..archive.len() {
        let mut file = archive.by_index(index)?;
        if file.name_raw() == ENTRY.as_bytes() {
            let mut bytes = Vec::new();
            (&mut file).take(SIGNATURE_BYTES_MAX).read_to_end(&mut bytes)?;
            text = String::from_utf8(bytes).unwrap_or_default();
            continue;
        }
        digest.update(file.name_raw());
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            left = left.checked_sub(count as u64).ok_or(std::io::ErrorKind::FileTooLarge)?;
            digest.update(&buffer[..count]);
        }
    }
    Ok(Some((text, digest.finish().as_ref().to_vec())))
}

/// The blocks of a kind in a PEM text; `None` for one that is no base64.
fn pem<'a>(text: &'a str, kind: &str) -> impl Iterator<Item = Option<Vec<u8>>> + 'a {
    let (begin, end) = (format!("-----BEGIN {kind}-----"), format!("-----END {kind}-----"));
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(begin.as_str())?;
        let (body, after) = after.split_once(end.as_str())?;
        rest = after;
        let body: String = body.split_ascii_whitespace().collect();
        Some(STANDARD.decode(body).ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_texts() {
        let text = "x\n-----BEGIN A-----\nAQI\n=\n-----END A-----\n-----BEGIN A-----\n?\n-----END A-----\n-----BEGIN A-----\n";
        assert_eq!(pem(text, "A").collect::<Vec<_>>(), [Some(vec![1, 2]), None]);
        assert!(anchors("").is_none());
        assert!(anchors("-----BEGIN CERTIFICATE-----\nAQI=\n-----END CERTIFICATE-----").is_none());
    }
}
