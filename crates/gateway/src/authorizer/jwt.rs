//! Tokens: read, held against a key, and their claims held against the rules of an authorizer.
//!
//! Only signatures by a private key count: `none` and the HMAC algorithms, whose key everybody has who can read the key
//! set, are no algorithms here. A key verifies by algorithms of its own kind alone, whatever a token says.

use std::{collections::BTreeMap, fmt};

use aws_lc_rs::signature::{
    self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use gatemill_wire::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::limits::{CLOCK_SKEW_SECONDS, JWKS_KEYS_MAX};

/// What an authorizer asks of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) issuer: String,
    pub(crate) audience: Vec<String>,
}

/// What is wrong with a token; the text is for the client's `error_description`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    #[error("the token is malformed")]
    Malformed,
    #[error("signing method {0} is invalid")]
    Algorithm(String),
    #[error("OIDC discovery endpoint communication error")]
    Discovery,
    #[error("unable to find a signing key that matches the token")]
    UnknownKey,
    #[error("the token has an invalid signature")]
    Signature,
    #[error("the token does not have a valid issuer")]
    Issuer,
    #[error("the token does not have a valid audience")]
    Audience,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    TooEarly,
}

/// A token, read but not believed.
pub(crate) struct Token<'t> {
    algorithm: Algorithm,
    pub(crate) key_id: String,
    signed: &'t [u8],
    signature: Vec<u8>,
    claims: Map<String, Value>,
}

/// What a believed token says, as the integration gets to know it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    /// Each as text.
    pub(crate) claims: BTreeMap<String, String>,
    pub(crate) scopes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
}

/// A key of an issuer.
#[derive(Debug)]
pub(crate) struct SigningKey {
    pub(crate) id: String,
    algorithm: Option<String>,
    material: Material,
}

enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The curve's algorithm, and the uncompressed point.
    Ec(Algorithm, Vec<u8>),
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa { .. } => "Rsa",
            Self::Ec(..) => "Ec",
        })
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that have to be understood; none is.
    crit: Option<serde::de::IgnoredAny>,
}

impl<'t> Token<'t> {
    /// Reads a token.
    pub(crate) fn read(text: &'t str) -> Result<Self, Flaw> {
        let (signed, signature) = text.rsplit_once('.').ok_or(Flaw::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Flaw::Malformed)?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| Flaw::Malformed);
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| Flaw::Malformed)?;
        let algorithm =
            Algorithm::parse(&header.alg).ok_or_else(|| Flaw::Algorithm(printable(&header.alg)))?;
        if header.crit.is_some() {
            return Err(Flaw::Malformed);
        }
        let claims = serde_json::from_slice(&decode(claims)?).map_err(|_| Flaw::Malformed)?;
        Ok(Self {
            algorithm,
            key_id: header.kid.ok_or(Flaw::UnknownKey)?,
            signed: signed.as_bytes(),
            signature: decode(signature)?,
            claims,
        })
    }

    /// Believes the token: its signature, then its claims.
    pub(crate) fn verify(
        &self,
        key: &SigningKey,
        rules: &Rules,
        now: Timestamp,
    ) -> Result<Claims, Flaw> {
        key.verify(self.algorithm, self.signed, &self.signature)?;
        if self.text("iss") != Some(&rules.issuer) {
            return Err(Flaw::Issuer);
        }
        if !self.audience_fits(&rules.audience) {
            return Err(Flaw::Audience);
        }
        self.check_times(now.seconds())?;
        Ok(Claims { claims: self.rendered(), scopes: self.scopes() })
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    /// `client_id` counts where there is no `aud`, as in Cognito's access tokens.
    fn audience_fits(&self, wanted: &[String]) -> bool {
        let wants = |text: &str| wanted.iter().any(|audience| audience == text);
        match self.claims.get("aud") {
            None => self.text("client_id").is_some_and(wants),
            Some(Value::String(audience)) => wants(audience),
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).any(wants),
            Some(_) => false,
        }
    }

    fn check_times(&self, now: i64) -> Result<(), Flaw> {
        let time = |name: &str| match self.claims.get(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or(Flaw::Malformed),
        };
        #[allow(clippy::cast_precision_loss, reason = "seconds of this age of the world are small")]
        let (early, late) = ((now - CLOCK_SKEW_SECONDS) as f64, (now + CLOCK_SKEW_SECONDS) as f64);
        let expires = time("exp")?.ok_or(Flaw::Expired)?;
        if expires <= early {
            return Err(Flaw::Expired);
        }
        for name in ["nbf", "iat"] {
            if time(name)?.is_some_and(|from| from > late) {
                return Err(Flaw::TooEarly);
            }
        }
        Ok(())
    }

    /// The claims as AWS shows them: all of them text, lists in brackets without commas, nothing for null.
    fn rendered(&self) -> BTreeMap<String, String> {
        let shown = self.claims.iter().filter(|(_, value)| !value.is_null());
        shown.map(|(name, value)| (name.clone(), rendered(value))).collect()
    }

    /// `scp`, a list or text, or else `scope`.
    fn scopes(&self) -> Vec<String> {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        match (self.claims.get("scp"), self.claims.get("scope")) {
            (Some(Value::Array(list)), _) | (None, Some(Value::Array(list))) => {
                list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            (Some(Value::String(text)), _) | (None, Some(Value::String(text))) => words(text),
            _ => Vec::new(),
        }
    }
}

fn rendered(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(rendered).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// What a client sent, as far as it can stand in a header.
fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(16).collect()
}

impl Algorithm {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "ES512" => Self::Es512,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
        }
    }

    fn rsa(self) -> Option<&'static signature::RsaParameters> {
        match self {
            Self::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
            Self::Es256 | Self::Es384 | Self::Es512 => None,
        }
    }

    fn ec(self) -> Option<&'static dyn VerificationAlgorithm> {
        match self {
            Self::Es256 => Some(&signature::ECDSA_P256_SHA256_FIXED),
            Self::Es384 => Some(&signature::ECDSA_P384_SHA384_FIXED),
            Self::Es512 => Some(&signature::ECDSA_P521_SHA512_FIXED),
            _ => None,
        }
    }
}

impl SigningKey {
    fn verify(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> Result<(), Flaw> {
        if self.algorithm.as_deref().is_some_and(|own| own != algorithm.name()) {
            return Err(Flaw::Algorithm(algorithm.name().to_owned()));
        }
        let swapped = || Flaw::Algorithm(algorithm.name().to_owned());
        let verified = match &self.material {
            Material::Rsa { n, e } => {
                let parameters = algorithm.rsa().ok_or_else(swapped)?;
                RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature)
            }
            Material::Ec(own, point) => {
                let verification =
                    algorithm.ec().filter(|_| *own == algorithm).ok_or_else(swapped)?;
                UnparsedPublicKey::new(verification, point).verify(signed, signature)
            }
        };
        verified.map_err(|_| Flaw::Signature)
    }
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct WebKey {
    kid: Option<String>,
    kty: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Reads a key set; keys that no token can be verified by are left out. `None` when it is none.
pub(crate) fn key_set(json: &[u8]) -> Option<Vec<SigningKey>> {
    let set: KeySet = serde_json::from_slice(json).ok()?;
    let keys = set.keys.into_iter().take(JWKS_KEYS_MAX);
    Some(keys.filter_map(|key| signing_key(serde_json::from_value(key).ok()?)).collect())
}

fn signing_key(key: WebKey) -> Option<SigningKey> {
    if key.purpose.is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let number = |text: Option<String>| {
        let bytes = URL_SAFE_NO_PAD.decode(text?.trim_end_matches('=')).ok()?;
        // Numbers come with and without leading zeros; the library wants none.
        let from = bytes.iter().position(|byte| *byte != 0)?;
        Some(bytes[from..].to_vec())
    };
    let material = match key.kty.as_str() {
        "RSA" => Material::Rsa { n: number(key.n)?, e: number(key.e)? },
        "EC" => {
            let (algorithm, size) = match key.crv.as_deref()? {
                "P-256" => (Algorithm::Es256, 32),
                "P-384" => (Algorithm::Es384, 48),
                "P-521" => (Algorithm::Es512, 66),
                _ => return None,
            };
            let mut point = vec![4];
            for coordinate in [number(key.x)?, number(key.y)?] {
                point.resize(point.len() + usize::checked_sub(size, coordinate.len())?, 0);
                point.extend_from_slice(&coordinate);
            }
            Material::Ec(algorithm, point)
        }
        _ => return None,
    };
    Some(SigningKey { id: key.kid?, algorithm: key.alg, material })
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
