//! Signature Version 4: what a client signed, and whether it signed it with the key it claims.
//!
//! Both places of a signature are read: the `Authorization` header and the query of a presigned URL. The canonical
//! request follows the AWS general reference ("Signature Version 4 signing process"): the path is encoded once more
//! (every service but S3 does that), the query is sorted, header values are trimmed and folded.
//!
//! What is signed is what is served: the path is canonical in the way in which it is routed, a `+` of the query is the
//! space that a member will hold, and every `x-amz-*` header has to be signed, because they choose what a call does.
//!
//! [`Signer`](crate::Signer) is the other side, for requests that we send.
//!
//! It does not look up keys and does not decide what a caller may do. Chunked (`STREAMING-…`) bodies are refused; they
//! come with S3.

use std::{cell::RefCell, fmt::Write as _};

use aws_lc_rs::{digest, hmac};
use http::{HeaderMap, request::Parts};

use crate::{
    Presented, Timestamp,
    limits::{PRESIGNED_SECONDS_MAX, SIGNATURE_WINDOW_MS, SIGNING_KEYS_KEPT_MAX},
    percent,
};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const CONTENT_SHA256: &str = "x-amz-content-sha256";
/// How an HTTP/2 client may name the host among its signed headers.
const AUTHORITY: &str = ":authority";
/// The payload hash of a caller who does not sign the body.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// What a request claims about its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whose key.
    pub access_key_id: String,
    /// `YYYYMMDD`.
    pub scope_date: String,
    /// The region of the scope.
    pub region: String,
    /// The service of the scope.
    pub service: String,
    /// The lower-case names of the signed headers, sorted as they came.
    pub signed_headers: Vec<String>,
    /// The signature, in hexadecimal.
    pub signature: String,
    /// When it was signed.
    pub signed_at: Timestamp,
    /// How it is written in the string to sign.
    pub amz_date: String,
    /// The session token, if one was sent.
    pub session_token: Option<String>,
    /// Seconds for which a presigned URL holds; `None` for a signature in the header.
    pub expires_s: Option<i64>,
}

/// Why a request is not authenticated. The texts are AWS's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Neither a header nor query parameters.
    #[error("Missing Authentication Token")]
    Missing,
    /// Parts are missing or cannot be read.
    #[error("{0}")]
    Incomplete(String),
    /// The scope ends otherwise than with `aws4_request`, or names another service, region or day.
    #[error("{0}")]
    Scope(String),
    /// Signed too long ago.
    #[error("{0}")]
    Expired(String),
    /// Signed too far ahead.
    #[error("{0}")]
    NotYetCurrent(String),
    /// A header that decides what the request does is not among the signed ones.
    #[error("{0} must be a 'SignedHeader' in the AWS Authorization.")]
    HeaderNotSigned(String),
    /// The body comes in chunks that carry signatures of their own.
    #[error(
        "Payloads that are signed in chunks ('x-amz-content-sha256: STREAMING-…') are not built in this version of Gatemill."
    )]
    Chunked,
    /// The body is not the one whose hash was signed.
    #[error("The provided 'x-amz-content-sha256' header does not match what was computed.")]
    BodyHash,
    /// Everything reads well and the signature is another one.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
}

impl Claim {
    /// Reads the claim from the header, or from the query of a presigned URL.
    pub fn read(parts: &Parts) -> Result<Self, SignatureError> {
        if let Some(header) = parts.headers.get("authorization") {
            let text =
                header.to_str().map_err(|_| incomplete("Authorization header is not ASCII."))?;
            return Self::from_header(text, &parts.headers);
        }
        let query = parts.uri.query().unwrap_or("");
        if percent::query_pairs(query).any(|(key, _)| key == "X-Amz-Algorithm") {
            return Self::from_query(query);
        }
        Err(SignatureError::Missing)
    }

    fn from_header(text: &str, headers: &HeaderMap) -> Result<Self, SignatureError> {
        let (algorithm, rest) = text.split_once(' ').unwrap_or((text, ""));
        if algorithm != ALGORITHM {
            return Err(unsupported(algorithm));
        }
        let part = |name: &str| {
            rest.split(',')
                .filter_map(|part| part.trim().split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
                .filter(|value| !value.is_empty())
        };
        let (credential, signed, signature) =
            (part("Credential"), part("SignedHeaders"), part("Signature"));
        let date = header(headers, "x-amz-date").or_else(|| header(headers, "date"));
        let mut missing = String::new();
        for (name, there) in [
            ("Credential", credential.is_some()),
            ("Signature", signature.is_some()),
            ("SignedHeaders", signed.is_some()),
        ] {
            if !there {
                let _ = write!(missing, "Authorization header requires '{name}' parameter. ");
            }
        }
        if date.is_none() {
            missing.push_str(
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
            );
        }
        let (Some(credential), Some(signed), Some(signature), Some(date)) =
            (credential, signed, signature, date)
        else {
            return Err(incomplete(format!("{missing}Authorization={ALGORITHM}")));
        };
        let token = header(headers, "x-amz-security-token");
        Self::assemble(credential, signed, signature, date, token, None)
    }

    fn from_query(query: &str) -> Result<Self, SignatureError> {
        let pairs: Vec<_> = percent::query_pairs(query).collect();
        let part =
            |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match part("X-Amz-Algorithm") {
            Some(ALGORITHM) => {}
            other => return Err(unsupported(other.unwrap_or(""))),
        }
        let mut missing = String::new();
        let mut need = |name: &str| {
            let value = part(name);
            if value.is_none() {
                let _ = write!(missing, "AWS query-string parameters must include '{name}'. ");
            }
            value.unwrap_or("")
        };
        let (credential, signed) = (need("X-Amz-Credential"), need("X-Amz-SignedHeaders"));
        let (signature, date, expires) =
            (need("X-Amz-Signature"), need("X-Amz-Date"), need("X-Amz-Expires"));
        if !missing.is_empty() {
            return Err(incomplete(missing.trim_end()));
        }
        let expires = match expires.parse() {
            Ok(seconds @ 0..=PRESIGNED_SECONDS_MAX) => seconds,
            _ => return Err(incomplete("X-Amz-Expires must be between 0 and 604800 seconds.")),
        };
        let token = part("X-Amz-Security-Token");
        Self::assemble(credential, signed, signature, date, token, Some(expires))
    }

    fn assemble(
        credential: &str,
        signed_headers: &str,
        signature: &str,
        amz_date: &str,
        session_token: Option<&str>,
        expires_s: Option<i64>,
    ) -> Result<Self, SignatureError> {
        let parts: Vec<&str> = credential.split('/').collect();
        let [access_key_id, date, region, service, terminal] = parts[..] else {
            return Err(incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{credential}'"
            )));
        };
        if terminal != "aws4_request" {
            return Err(SignatureError::Scope(format!(
                "Credential should be scoped with a valid terminator: 'aws4_request', not '{terminal}'."
            )));
        }
        // Only a header is ever written in HTTP's form, and clients sign its time in the basic form all the same.
        let http_date = || Timestamp::parse_http_date(amz_date).filter(|_| expires_s.is_none());
        let Some(signed_at) = Timestamp::parse_amz_date(amz_date).or_else(http_date) else {
            return Err(incomplete(format!(
                "Date must be in ISO-8601 'basic format'. Got '{amz_date}'. See http://en.wikipedia.org/wiki/ISO_8601"
            )));
        };
        let amz_date = signed_at.amz_date();
        let day = amz_date.get(..8).unwrap_or("");
        if day != date {
            return Err(SignatureError::Scope(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{date}' != '{day}', from '{amz_date}'."
            )));
        }
        Ok(Self {
            access_key_id: access_key_id.to_owned(),
            scope_date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed_headers: signed_headers.split(';').map(str::to_ascii_lowercase).collect(),
            signature: signature.to_owned(),
            signed_at,
            amz_date,
            session_token: session_token.map(str::to_owned),
            expires_s,
        })
    }

    /// The key of the claim, as it is looked up.
    pub fn presented(&self, now: Timestamp) -> Presented<'_> {
        let (access_key_id, session_token) = (&self.access_key_id, self.session_token.as_deref());
        Presented { access_key_id, session_token, now }
    }

    /// Checks the time of the signature against ours.
    pub fn check_time(&self, now: Timestamp) -> Result<(), SignatureError> {
        let (signed, ours) = (self.signed_at, now);
        if signed.millis() - ours.millis() > SIGNATURE_WINDOW_MS {
            let (a, b) = (signed.amz_date(), ours.plus_ms(SIGNATURE_WINDOW_MS).amz_date());
            return Err(SignatureError::NotYetCurrent(format!(
                "Signature not yet current: {a} is still later than {b} ({} + 5 min.)",
                ours.amz_date()
            )));
        }
        let lifetime_ms = self.expires_s.map_or(SIGNATURE_WINDOW_MS, |s| s * 1000);
        if ours.millis() - signed.millis() > lifetime_ms {
            let limit = ours.plus_ms(-lifetime_ms).amz_date();
            return Err(SignatureError::Expired(match self.expires_s {
                Some(_) => "Request has expired".to_owned(),
                None => format!(
                    "Signature expired: {} is now earlier than {limit} ({} - 5 min.)",
                    self.amz_date,
                    ours.amz_date()
                ),
            }));
        }
        Ok(())
    }

    /// Checks that what has to be signed is signed, the body's hash where one was sent, and the signature itself.
    pub fn verify(&self, parts: &Parts, body: &[u8], secret: &str) -> Result<(), SignatureError> {
        self.check_signed_headers(&parts.headers)?;
        let payload_hash = self.payload_hash(parts, body)?;
        let canonical = canonical_request(self, parts, &payload_hash);
        // The text is compared and not its bytes, so that a signature has one spelling.
        let expected = hex(&sign(self, &canonical, secret));
        aws_lc_rs::constant_time::verify_slices_are_equal(
            expected.as_bytes(),
            self.signature.as_bytes(),
        )
        .map_err(|_| SignatureError::Mismatch)
    }

    /// Requires `host` and every `x-amz-*` header that is there to be signed. The one exception binds itself: the value
    /// of `x-amz-content-sha256` is the last line of what is signed.
    fn check_signed_headers(&self, headers: &HeaderMap) -> Result<(), SignatureError> {
        let signed = |name: &str| self.signed_headers.iter().any(|signed| signed == name);
        if !signed("host") && !signed(AUTHORITY) {
            return Err(SignatureError::HeaderNotSigned("'Host' or ':authority'".to_owned()));
        }
        let names = headers.keys().map(http::HeaderName::as_str);
        let mut unsigned = names
            .filter(|name| name.starts_with("x-amz-") && *name != CONTENT_SHA256 && !signed(name));
        match unsigned.next() {
            Some(name) => Err(SignatureError::HeaderNotSigned(format!("'{}'", train_case(name)))),
            None => Ok(()),
        }
    }

    fn payload_hash(&self, parts: &Parts, body: &[u8]) -> Result<String, SignatureError> {
        let claimed = header(&parts.headers, CONTENT_SHA256);
        // Whoever holds a presigned URL did not sign it, so it may not choose the body.
        if claimed == Some(UNSIGNED_PAYLOAD) && (self.expires_s.is_none() || body.is_empty()) {
            return Ok(UNSIGNED_PAYLOAD.to_owned());
        }
        if claimed.is_some_and(|claimed| claimed.starts_with("STREAMING-")) {
            return Err(SignatureError::Chunked);
        }
        let actual = hex(digest::digest(&digest::SHA256, body).as_ref());
        match claimed {
            Some(claimed) if !claimed.eq_ignore_ascii_case(&actual) => {
                Err(SignatureError::BodyHash)
            }
            _ => Ok(actual),
        }
    }
}

/// The canonical request of the AWS general reference. Bytes, because header values need not be text.
pub(crate) fn canonical_request(claim: &Claim, parts: &Parts, payload_hash: &str) -> Vec<u8> {
    let presigned = claim.expires_s.is_some();
    let mut out = Vec::with_capacity(512);
    for line in [
        parts.method.as_str(),
        &canonical_path(&claim.service, parts.uri.path()),
        &canonical_query(parts.uri.query().unwrap_or(""), presigned),
    ] {
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    for name in &claim.signed_headers {
        canonical_header(name, parts, &mut out);
    }
    out.push(b'\n');
    out.extend_from_slice(claim.signed_headers.join(";").as_bytes());
    out.push(b'\n');
    out.extend_from_slice(payload_hash.as_bytes());
    out
}

fn canonical_header(name: &str, parts: &Parts, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    let stored = if name == AUTHORITY { "host" } else { name };
    for (at, value) in parts.headers.get_all(stored).iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        fold_spaces(value.as_bytes(), out);
    }
    if stored == "host" && !parts.headers.contains_key("host") {
        // HTTP/2 has no Host header; what it means is the authority.
        let authority = parts.uri.authority().map_or("", |authority| authority.as_str());
        out.extend_from_slice(authority.as_bytes());
    }
    out.push(b'\n');
}

/// S3 signs a path as it travels: its keys may have empty segments and dots in them.
fn canonical_path(service: &str, path: &str) -> String {
    if service == "s3" {
        return path.to_owned();
    }
    let segments = percent::path_segments(path);
    let mut out = String::from("/");
    out.push_str(&percent::encode(segments.join("/").as_bytes(), b"/"));
    if path.ends_with('/') && !segments.is_empty() {
        out.push('/');
    }
    out
}

/// Only a presigned URL has its signature in the query; elsewhere that key is one like any other.
fn canonical_query(query: &str, presigned: bool) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(key, value)| (recode(key), recode(value)))
        .filter(|(key, _)| !presigned || key != "X-Amz-Signature")
        .collect();
    pairs.sort();
    let pairs: Vec<String> =
        pairs.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join("&")
}

/// A `+` is a space here, as it is when the query is bound to members.
fn recode(text: &str) -> String {
    percent::encode(&percent::decode_bytes(&text.replace('+', " ")), b"")
}

fn fold_spaces(value: &[u8], out: &mut Vec<u8>) {
    let words = value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    for (at, word) in words.enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

pub(crate) fn sign(claim: &Claim, canonical: &[u8], secret: &str) -> Vec<u8> {
    let scope = format!("{}/{}/{}/aws4_request", claim.scope_date, claim.region, claim.service);
    let canonical_hash = hex(digest::digest(&digest::SHA256, canonical).as_ref());
    let to_sign = format!("{ALGORITHM}\n{}\n{scope}\n{canonical_hash}", claim.amz_date);
    KEYS.with_borrow_mut(|keys| {
        let known = keys.iter().position(|key| key.scope == scope && key.secret == secret);
        let at = known.unwrap_or_else(|| {
            keys.truncate(SIGNING_KEYS_KEPT_MAX - 1);
            keys.insert(0, SigningKey::derive(claim, scope, secret));
            0
        });
        hmac::sign(&keys[at].key, to_sign.as_bytes()).as_ref().to_vec()
    })
}

/// What a secret becomes for a day, a region and a service. It costs four times what signing with it does.
struct SigningKey {
    scope: String,
    secret: String,
    key: hmac::Key,
}

impl SigningKey {
    fn derive(claim: &Claim, scope: String, secret: &str) -> Self {
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in [&claim.scope_date, &claim.region, &claim.service, "aws4_request"] {
            key = hmac_sha256(&key, part.as_bytes());
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Self { scope, secret: secret.to_owned(), key }
    }
}

thread_local! {
    /// The keys that were derived last, the newest first.
    static KEYS: RefCell<Vec<SigningKey>> = const { RefCell::new(Vec::new()) };
}

/// HMAC-SHA256.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// `x-amz-target` as AWS writes it: `X-Amz-Target`.
fn train_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        let starts_word = out.is_empty() || out.ends_with('-');
        out.push(char::from(if starts_word { byte.to_ascii_uppercase() } else { byte }));
    }
    out
}

/// Names the algorithm only where it looks like one: what stands there may be somebody's secret token.
fn unsupported(algorithm: &str) -> SignatureError {
    let named = algorithm.starts_with("AWS4-") && algorithm.len() <= 32;
    incomplete(match named {
        true => format!("Unsupported AWS 'algorithm': '{algorithm}'."),
        false => "Unsupported AWS 'algorithm'.".to_owned(),
    })
}

fn incomplete(message: impl Into<String>) -> SignatureError {
    SignatureError::Incomplete(message.into())
}

#[cfg(test)]
#[path = "sigv4_tests.rs"]
mod tests;
