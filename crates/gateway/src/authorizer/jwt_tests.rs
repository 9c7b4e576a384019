//! Tokens that hold and tokens that do not, signed with keys made here.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RsaEncoding},
};
use serde_json::json;

use super::*;

const NOW: Timestamp = Timestamp(1_795_379_214_123);

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

struct Signer {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
}

impl Signer {
    fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        }
    }

    fn keys(&self) -> Vec<SigningKey> {
        // PKCS #1: a sequence of two integers, of 257 and 3 bytes with a key of 2,048 bits.
        let der = self.rsa.public_key().as_ref();
        let (n, e) = (&der[9..265], &der[267..270]);
        let point = self.ec.public_key().as_ref();
        let set = json!({"keys": [
            {"kid": "rsa", "kty": "RSA", "use": "sig", "n": encode(n), "e": encode(e)},
            {"kid": "ec", "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])},
            {"kid": "secret", "kty": "oct", "k": "AAAA"},
            {"kid": "for-encryption", "kty": "RSA", "use": "enc", "n": encode(n), "e": "AQAB"},
            {"kid": "no curve", "kty": "EC", "crv": "P-1", "x": "AA", "y": "AA"},
            7,
        ]});
        key_set(set.to_string().as_bytes()).unwrap()
    }

    fn sign(
        &self,
        header: &Value,
        claims: &Value,
        encoding: Option<&'static dyn RsaEncoding>,
    ) -> String {
        let signed = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(claims.to_string().as_bytes())
        );
        let random = SystemRandom::new();
        let signature = match encoding {
            Some(encoding) => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                self.rsa.sign(encoding, &random, signed.as_bytes(), &mut signature).unwrap();
                signature
            }
            None => self.ec.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{signed}.{}", encode(&signature))
    }
}

fn rules() -> Rules {
    Rules {
        issuer: "https://issuer".to_owned(),
        audience: vec!["one".to_owned(), "two".to_owned()],
    }
}

fn claims() -> Value {
    json!({"iss": "https://issuer", "aud": "one", "exp": NOW.seconds() + 100, "sub": "s"})
}

fn check(keys: &[SigningKey], token: &str) -> Result<Claims, Flaw> {
    let token = Token::read(token)?;
    let key = keys.iter().find(|key| key.id == token.key_id).ok_or(Flaw::UnknownKey)?;
    token.verify(key, &rules(), NOW)
}

#[test]
fn each_algorithm_with_a_key_of_its_kind_and_no_other() {
    let signer = Signer::new();
    let keys = signer.keys();
    assert_eq!(keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), ["rsa", "ec"]);
    let rsa: [(&str, &'static dyn RsaEncoding); 6] = [
        ("RS256", &signature::RSA_PKCS1_SHA256),
        ("RS384", &signature::RSA_PKCS1_SHA384),
        ("RS512", &signature::RSA_PKCS1_SHA512),
        ("PS256", &signature::RSA_PSS_SHA256),
        ("PS384", &signature::RSA_PSS_SHA384),
        ("PS512", &signature::RSA_PSS_SHA512),
    ];
    for (name, encoding) in rsa {
        let token = signer.sign(&json!({"alg": name, "kid": "rsa"}), &claims(), Some(encoding));
        assert!(check(&keys, &token).is_ok(), "{name}");
        let token = signer.sign(&json!({"alg": name, "kid": "ec"}), &claims(), Some(encoding));
        assert_eq!(check(&keys, &token), Err(Flaw::Algorithm(name.to_owned())));
        // Signed as one thing, declared as another.
        let other = if name == "RS256" { "PS256" } else { "RS256" };
        let token = signer.sign(&json!({"alg": other, "kid": "rsa"}), &claims(), Some(encoding));
        assert_eq!(check(&keys, &token), Err(Flaw::Signature), "{name} as {other}");
    }
    let token = signer.sign(&json!({"alg": "ES256", "kid": "ec"}), &claims(), None);
    assert!(check(&keys, &token).is_ok());
    let token = signer.sign(&json!({"alg": "ES384", "kid": "ec"}), &claims(), None);
    assert_eq!(check(&keys, &token), Err(Flaw::Algorithm("ES384".to_owned())));
}

#[test]
fn none_and_shared_secrets_are_no_signatures() {
    let signer = Signer::new();
    let keys = signer.keys();
    for alg in ["none", "None", "NONE", "HS256", "HS512", "RS1", "EdDSA", ""] {
        let token = signer.sign(&json!({"alg": alg, "kid": "rsa"}), &claims(), None);
        assert!(matches!(check(&keys, &token), Err(Flaw::Algorithm(_))), "{alg}");
        let (unsigned, _) = token.rsplit_once('.').unwrap();
        assert!(check(&keys, &format!("{unsigned}.")).is_err());
    }
    let good = signer.sign(&json!({"alg": "ES256", "kid": "ec"}), &claims(), None);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    assert_eq!(check(&keys, &format!("{signed}.")), Err(Flaw::Signature));
    let other = encode(
        json!({"iss": "https://issuer", "aud": "one", "exp": 9e12, "sub": "root"})
            .to_string()
            .as_bytes(),
    );
    let (header, _) = signed.split_once('.').unwrap();
    assert_eq!(check(&keys, &format!("{header}.{other}.{signature}")), Err(Flaw::Signature));
    for text in ["", ".", "..", "a.b", "a.b.c", "....", "e30.e30.e30"] {
        assert_eq!(check(&keys, text), Err(Flaw::Malformed), "{text}");
    }
    let header = json!({"alg": "ES256", "kid": "ec", "crit": ["b64"], "b64": false});
    assert_eq!(check(&keys, &signer.sign(&header, &claims(), None)), Err(Flaw::Malformed));
    let token = signer.sign(&json!({"alg": "ES256"}), &claims(), None);
    assert_eq!(check(&keys, &token), Err(Flaw::UnknownKey));
}

#[test]
fn claims_have_to_fit() {
    let signer = Signer::new();
    let keys = signer.keys();
    let with = |changes: Value| {
        let mut claims = claims();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => _ = claims.as_object_mut().unwrap().remove(name),
                value => claims[name] = value.clone(),
            }
        }
        check(&keys, &signer.sign(&json!({"alg": "ES256", "kid": "ec"}), &claims, None))
    };
    let now = NOW.seconds();
    assert_eq!(with(json!({"iss": "https://issuer/"})), Err(Flaw::Issuer));
    assert_eq!(with(json!({"aud": "three"})), Err(Flaw::Audience));
    assert_eq!(with(json!({"aud": ["three"], "client_id": "one"})), Err(Flaw::Audience));
    assert_eq!(with(json!({"aud": null})), Err(Flaw::Audience));
    assert!(with(json!({"aud": ["three", "two"]})).is_ok());
    assert!(with(json!({"aud": null, "client_id": "two"})).is_ok());
    assert_eq!(with(json!({"exp": now - CLOCK_SKEW_SECONDS})), Err(Flaw::Expired));
    assert!(with(json!({"exp": now - CLOCK_SKEW_SECONDS + 1})).is_ok());
    assert_eq!(with(json!({"exp": null})), Err(Flaw::Expired));
    assert_eq!(with(json!({"exp": "9999999999"})), Err(Flaw::Malformed));
    assert_eq!(with(json!({"nbf": now + CLOCK_SKEW_SECONDS + 1})), Err(Flaw::TooEarly));
    assert_eq!(with(json!({"iat": now + CLOCK_SKEW_SECONDS + 1})), Err(Flaw::TooEarly));
    assert!(with(json!({"nbf": now + 1, "iat": now + 1})).is_ok());
}

#[test]
fn claims_are_shown_as_text() {
    let signer = Signer::new();
    let claims = json!({"iss": "https://issuer", "aud": ["one"], "exp": NOW.seconds() + 100, "admin": true,
        "cognito:groups": ["admin", "poweruser"], "nothing": null, "address": {"city": "Rome"}, "n": 1.5,
        "scope": "read write"});
    let token = signer.sign(&json!({"alg": "ES256", "kid": "ec"}), &claims, None);
    let seen = check(&signer.keys(), &token).unwrap();
    let shown = |name: &str| seen.claims.get(name).map(String::as_str);
    assert_eq!(shown("aud"), Some("[one]"));
    assert_eq!(shown("admin"), Some("true"));
    assert_eq!(shown("cognito:groups"), Some("[admin poweruser]"));
    assert_eq!(shown("nothing"), None);
    assert_eq!(shown("address"), Some(r#"{"city":"Rome"}"#));
    assert_eq!(shown("n"), Some("1.5"));
    assert_eq!(shown("exp"), Some("1795379314"));
    assert_eq!(seen.scopes, ["read", "write"]);
}

proptest::proptest! {
    #[test]
    fn hostile_tokens_and_key_sets_do_no_harm(text in "\\PC{0,60}") {
        let _ = Token::read(&text);
        let _ = key_set(text.as_bytes());
        let json = format!("{{\"keys\":[{{\"kid\":\"a\",\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"{text}\",\"y\":\"\"}}]}}");
        let _ = key_set(json.as_bytes());
    }
}
