//! The signature itself: a Cryptographic Message Syntax `SignedData` (RFC 5652) with AWS Signer's attributes.
//!
//! One signer, ECDSA on P-384 over SHA-384, content apart, attributes signed. Who signed is told by a chain of certificates
//! inside; whether that chain ends at a root that the operator trusts, `webpki` says.

use std::time::Duration;

use aws_lc_rs::digest::{self, SHA384};
use pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::{
    Verdict, Verified,
    ber::{
        CONTEXT_0, CONTEXT_1, CONTEXT_3, Element, INTEGER, OCTETS, OID, Reader, SEQUENCE, SET,
        TIME, UTC_TIME, UTF8,
    },
};

const DATA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 7, 1];
const SIGNED_DATA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 7, 2];
const CONTENT_TYPE: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, 3];
const MESSAGE_DIGEST: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, 4];
const SIGNING_TIME: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, 5];
const SHA_384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
const ECDSA_WITH_SHA_384: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 3];
/// AWS Signer's own: the job, the end of the signature's life, and the version of the profile.
const JOB: &[u8] = &[0x2B, 0x81, 0x3B, 0x81, 0x09, 1, 2];
const EXPIRY: &[u8] = &[0x2B, 0x81, 0x3B, 0x81, 0x09, 1, 3];
const PROFILE: &[u8] = &[0x2B, 0x81, 0x3B, 0x81, 0x09, 1, 4];
/// `id-kp-codeSigning`, which the signer's certificate has to be for.
const CODE_SIGNING: &[u8] = &[0x2B, 6, 1, 5, 5, 7, 3, 3];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1D, 0x25];
const CERTIFICATES_MAX: usize = 16;

/// A signature that was read and not yet believed.
#[derive(Debug)]
pub(super) struct Signature<'a> {
    certificates: Vec<Element<'a>>,
    issuer: Element<'a>,
    serial: Element<'a>,
    /// The attributes in the form in which they are signed.
    signed: Vec<u8>,
    value: &'a [u8],
    digest: &'a [u8],
    signed_at_s: u64,
    expires_at_s: u64,
    job: String,
    profile: String,
}

impl<'a> Signature<'a> {
    /// Reads a signature; `None` for everything that is not exactly of this form.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut outer = whole(Reader(bytes), SEQUENCE)?;
        outer.expect(OID).filter(|kind| kind.content == SIGNED_DATA)?;
        let mut explicit = whole(outer, CONTEXT_0)?;
        let mut data = whole(Reader(explicit.next()?.whole), SEQUENCE)?;
        data.expect(INTEGER)?;
        data.expect(SET)?;
        let mut content = data.expect(SEQUENCE)?.inside();
        // The content is the package, not something of the signature's own.
        content.expect(OID).filter(|kind| kind.content == DATA && content.is_empty())?;
        let certificates = data.expect(CONTEXT_0)?.children()?;
        if certificates.len() > CERTIFICATES_MAX {
            return None;
        }
        let _revocations = data.optional(CONTEXT_1);
        let signers = data.expect(SET)?.children()?;
        let [signer] = signers[..] else { return None };
        if !data.is_empty() {
            return None;
        }
        Self::of_signer(signer, certificates)
    }

    fn of_signer(signer: Element<'a>, certificates: Vec<Element<'a>>) -> Option<Self> {
        let mut parts = signer.inside();
        parts.expect(INTEGER).filter(|version| version.content == [1])?;
        let mut name = parts.expect(SEQUENCE)?.inside();
        let (issuer, serial) = (name.expect(SEQUENCE)?, name.expect(INTEGER)?);
        algorithm(parts.expect(SEQUENCE)?, SHA_384)?;
        let attributes = parts.expect(CONTEXT_0).filter(|attributes| attributes.is_definite)?;
        algorithm(parts.expect(SEQUENCE)?, ECDSA_WITH_SHA_384)?;
        let value = parts.expect(OCTETS)?.content;
        let mut signed = attributes.whole.to_vec();
        *signed.first_mut()? = SET;
        let attributes = Attributes::of(attributes)?;
        attributes.one(CONTENT_TYPE, OID).filter(|kind| *kind == DATA)?;
        Some(Self {
            certificates,
            issuer,
            serial,
            signed,
            value,
            digest: attributes.one(MESSAGE_DIGEST, OCTETS)?,
            signed_at_s: attributes.time(SIGNING_TIME)?,
            expires_at_s: attributes.time(EXPIRY)?,
            job: attributes.text(JOB)?,
            profile: attributes.text(PROFILE)?,
        })
    }

    /// Judges the signature of a package with this digest.
    ///
    /// The chain is judged as of the signing, since the signer's certificate lives for days and the signature for years.
    pub(super) fn judge(&self, package: &[u8], now_s: u64, roots: &[TrustAnchor<'_>]) -> Verdict {
        let hashed = digest::digest(&SHA384, package);
        if hashed.as_ref() != self.digest {
            return Verdict::Tampered;
        }
        let der: Vec<CertificateDer<'_>> =
            self.certificates.iter().map(|one| CertificateDer::from(one.whole)).collect();
        let signer = self.certificates.iter().position(|one| self.is_by(*one) == Some(true));
        let leaf = signer.and_then(|at| der.get(at)).map(EndEntityCert::try_from);
        let Some(Ok(leaf)) = leaf else { return Verdict::Tampered };
        let algorithm = webpki::aws_lc_rs::ECDSA_P384_SHA384;
        if leaf.verify_signature(algorithm, &self.signed, self.value).is_err() {
            return Verdict::Tampered;
        }
        let chain = leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            roots,
            &der,
            UnixTime::since_unix_epoch(Duration::from_secs(self.signed_at_s)),
            // The authorities in between need not name their use; the signer has to, which is looked at below.
            KeyUsage::required_if_present(CODE_SIGNING),
            None,
            None,
        );
        let names_use = signer.and_then(|at| names_use(*self.certificates.get(at)?)).is_some();
        if let Err(error) = &chain {
            tracing::info!(%error, "the signer of a package is not trusted");
        }
        if chain.is_err() || !names_use || self.signed_at_s > now_s {
            return Verdict::Untrusted;
        }
        let verified = Verified { profile: self.profile.clone(), job: self.job.clone() };
        if self.expires_at_s <= now_s {
            Verdict::Expired(verified)
        } else {
            Verdict::Good(verified)
        }
    }

    /// Whether a certificate is the one that the signer names.
    fn is_by(&self, certificate: Element<'_>) -> Option<bool> {
        let mut body = certificate.inside().expect(SEQUENCE)?.inside();
        body.optional(CONTEXT_0);
        let serial = body.expect(INTEGER)?;
        body.expect(SEQUENCE)?;
        let issuer = body.expect(SEQUENCE)?;
        Some(serial.content == self.serial.content && issuer.whole == self.issuer.whole)
    }
}

/// Whether a certificate has the extension that says what it is for.
fn names_use(certificate: Element<'_>) -> Option<()> {
    let body = certificate.inside().expect(SEQUENCE)?.children()?;
    let extensions = body.last().filter(|last| last.tag == CONTEXT_3)?.inside().expect(SEQUENCE)?;
    let is_that = |extension: &Element<'_>| {
        extension.inside().expect(OID).is_some_and(|kind| kind.content == EXTENDED_KEY_USAGE)
    };
    extensions.children()?.iter().any(is_that).then_some(())
}

/// The inside of an element that is everything there is.
fn whole(mut reader: Reader<'_>, tag: u8) -> Option<Reader<'_>> {
    let element = reader.expect(tag)?;
    reader.is_empty().then(|| element.inside())
}

fn algorithm(given: Element<'_>, wanted: &[u8]) -> Option<()> {
    let oid = given.inside().expect(OID)?;
    (oid.content == wanted).then_some(())
}

/// The signed attributes: by their kind, each with one value.
struct Attributes<'a>(Vec<(&'a [u8], Element<'a>)>);

impl<'a> Attributes<'a> {
    fn of(set: Element<'a>) -> Option<Self> {
        let mut all: Vec<(&[u8], Element<'_>)> = Vec::new();
        for attribute in set.children()? {
            let mut parts = attribute.inside();
            let kind = parts.expect(OID)?.content;
            let values = parts.expect(SET)?.children()?;
            let [value] = values[..] else { return None };
            if all.iter().any(|(known, _)| *known == kind) {
                return None;
            }
            all.push((kind, value));
        }
        Some(Self(all))
    }

    fn element(&self, kind: &[u8]) -> Option<Element<'a>> {
        self.0.iter().find(|(known, _)| *known == kind).map(|(_, value)| *value)
    }

    fn one(&self, kind: &[u8], tag: u8) -> Option<&'a [u8]> {
        self.element(kind).filter(|value| value.tag == tag).map(|value| value.content)
    }

    fn text(&self, kind: &[u8]) -> Option<String> {
        String::from_utf8(self.one(kind, UTF8)?.to_vec()).ok()
    }

    fn time(&self, kind: &[u8]) -> Option<u64> {
        let value = self.element(kind)?;
        let text = std::str::from_utf8(value.content).ok()?;
        match value.tag {
            TIME => seconds(text),
            // Two digits of the year; the century as RFC 5280 has it.
            UTC_TIME => {
                let century = if text.get(..2)? < "50" { "20" } else { "19" };
                seconds(&format!("{century}{text}"))
            }
            _ => None,
        }
    }
}

/// Seconds since 1970 of `YYYYMMDDHHMMSS[.f…]Z`.
fn seconds(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z')?;
    let text = text.split_once('.').map_or(text, |(whole, _)| whole);
    if text.len() != 14 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let iso = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &text[..4],
        &text[4..6],
        &text[6..8],
        &text[8..10],
        &text[10..12],
        &text[12..]
    );
    u64::try_from(gatemill_wire::Timestamp::parse_iso8601(&iso)?.seconds()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(seconds("19700101000001Z"), Some(1));
        assert_eq!(seconds("20260928091926.806Z"), Some(1_790_587_166));
        for bad in
            ["", "Z", "20260928091926", "20261328091926Z", "2026092809192Z", "é0260928091926Z"]
        {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
