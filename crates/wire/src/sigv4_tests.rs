//! Signatures against requests that AWS's own client signed, and against those who tamper with them.

use http::{HeaderValue, Request};

use super::*;

#[path = "sigv4_vectors.rs"]
mod vectors;

use vectors::{SECRET, VECTORS, Vector};

/// 2026-11-22T20:26:54Z, when the vectors were signed.
const SIGNED: Timestamp = Timestamp(1_795_379_214_000);

fn parts(vector: &Vector) -> Parts {
    let mut request = Request::builder().method(vector.method).uri(vector.target);
    for (name, value) in vector.headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn vector(name: &str) -> &'static Vector {
    VECTORS.iter().find(|vector| vector.name == name).unwrap()
}

fn check(parts: &Parts, body: &str, secret: &str) -> Result<(), SignatureError> {
    let claim = Claim::read(parts)?;
    claim.check_time(SIGNED)?;
    claim.verify(parts, body.as_bytes(), secret)
}

fn replace_in_authorization(parts: &mut Parts, from: &str, to: &str) {
    let text = parts.headers["authorization"].to_str().unwrap().to_owned();
    assert!(text.contains(from), "{text}");
    parts.headers.insert("authorization", text.replace(from, to).parse().unwrap());
}

#[test]
fn what_the_client_signed_is_accepted() {
    for vector in VECTORS {
        let parts = parts(vector);
        assert_eq!(check(&parts, vector.body, SECRET), Ok(()), "{}", vector.name);
        let claim = Claim::read(&parts).unwrap();
        assert_eq!(claim.access_key_id, "AKIAIOSFODNN7EXAMPLE");
        assert_eq!(claim.region, "us-east-1");
        assert_eq!(claim.signed_at, SIGNED);
        let token = vector.name.contains("session token").then_some("session/token+x==");
        assert_eq!(claim.session_token.as_deref(), token, "{}", vector.name);
    }
}

#[test]
fn another_secret_is_refused() {
    for vector in VECTORS {
        let refused = check(&parts(vector), vector.body, "another");
        assert_eq!(refused, Err(SignatureError::Mismatch), "{}", vector.name);
    }
}

#[test]
fn another_method_path_or_query_is_refused() {
    for vector in VECTORS {
        let mut tampered = parts(vector);
        tampered.method = http::Method::PATCH;
        assert_eq!(check(&tampered, vector.body, SECRET), Err(SignatureError::Mismatch));
        let join = if vector.target.contains('?') { '&' } else { '?' };
        let (path, query) = vector.target.split_once('?').unwrap_or((vector.target, ""));
        for target in [format!("{}{join}Evil=1", vector.target), format!("{path}x?{query}")] {
            let mut tampered = parts(vector);
            tampered.uri = target.parse().unwrap();
            let refused = check(&tampered, vector.body, SECRET);
            assert_eq!(refused, Err(SignatureError::Mismatch), "{}", vector.name);
        }
    }
}

#[test]
fn another_signed_header_is_refused() {
    for vector in VECTORS {
        let signed = Claim::read(&parts(vector)).unwrap().signed_headers;
        for name in &signed {
            let mut tampered = parts(vector);
            tampered
                .headers
                .append(name.parse::<http::HeaderName>().unwrap(), HeaderValue::from_static("x"));
            let refused = check(&tampered, vector.body, SECRET);
            assert!(refused.is_err(), "{}: {name} twice", vector.name);
            let mut tampered = parts(vector);
            let value = tampered.headers.remove(name.as_str()).unwrap();
            let refused = check(&tampered, vector.body, SECRET);
            // A header that is empty and one that is absent are one in the canonical request.
            assert_eq!(refused.is_err(), !value.is_empty(), "{}: without {name}", vector.name);
        }
        let mut added = parts(vector);
        added.headers.insert("x-not-signed", HeaderValue::from_static("x"));
        assert_eq!(check(&added, vector.body, SECRET), Ok(()));
    }
}

#[test]
fn another_body_is_refused_unless_the_body_is_unsigned() {
    for vector in VECTORS {
        let refused = check(&parts(vector), "tampered", SECRET);
        let expected = match vector.name {
            "an unsigned payload" => Ok(()),
            "a body whose hash is in a header" => Err(SignatureError::BodyHash),
            _ => Err(SignatureError::Mismatch),
        };
        assert_eq!(refused, expected, "{}", vector.name);
    }
    // To call a body unsigned afterwards does not make it so.
    let mut tampered = parts(vector("a body"));
    tampered.headers.insert("x-amz-content-sha256", HeaderValue::from_static(UNSIGNED_PAYLOAD));
    assert_eq!(check(&tampered, "tampered", SECRET), Err(SignatureError::Mismatch));
}

#[test]
fn the_signature_itself_is_compared_whole() {
    for vector in VECTORS {
        let signature = Claim::read(&parts(vector)).unwrap().signature;
        let flipped = if signature.starts_with('0') { "1" } else { "0" };
        let flipped = format!("{flipped}{}", &signature[1..]);
        for wrong in [&flipped, &signature[..62], "zz", &signature[1..], "é"] {
            let mut claim = Claim::read(&parts(vector)).unwrap();
            claim.signature = wrong.to_owned();
            let refused = claim.verify(&parts(vector), vector.body.as_bytes(), SECRET);
            assert_eq!(refused, Err(SignatureError::Mismatch));
        }
        let mut claim = Claim::read(&parts(vector)).unwrap();
        claim.signature = signature.to_uppercase();
        assert_eq!(claim.verify(&parts(vector), vector.body.as_bytes(), SECRET), Ok(()));
    }
}

#[test]
fn another_scope_is_refused() {
    for (from, to) in [
        ("/us-east-1/", "/eu-west-1/"),
        ("/lambda/", "/logs/"),
        ("AKIAIOSFODNN7EXAMPLE/20261122", "AKIAIOSFODNN7EXAMPLE/20261121"),
        ("/aws4_request", "/aws5_request"),
        ("SignedHeaders=host;x-amz-date", "SignedHeaders=host"),
        ("SignedHeaders=host;x-amz-date", "SignedHeaders=x-amz-date;host"),
    ] {
        let mut tampered = parts(vector("a plain GET"));
        replace_in_authorization(&mut tampered, from, to);
        assert!(check(&tampered, "", SECRET).is_err(), "{from} -> {to}");
    }
}

#[test]
fn a_signature_holds_for_five_minutes_both_ways() {
    let claim = Claim::read(&parts(vector("a plain GET"))).unwrap();
    for ms in [0, 300_000, -300_000] {
        assert_eq!(claim.check_time(SIGNED.plus_ms(ms)), Ok(()), "{ms}");
    }
    assert_eq!(
        claim.check_time(SIGNED.plus_ms(301_000)).unwrap_err().to_string(),
        "Signature expired: 20261122T202654Z is now earlier than 20261122T202655Z (20261122T203155Z - 5 min.)"
    );
    assert_eq!(
        claim.check_time(SIGNED.plus_ms(-301_000)).unwrap_err().to_string(),
        "Signature not yet current: 20261122T202654Z is still later than 20261122T202653Z (20261122T202153Z + 5 min.)"
    );
}

#[test]
fn a_presigned_url_holds_as_long_as_it_says() {
    let claim = Claim::read(&parts(vector("a presigned URL with a session token"))).unwrap();
    assert_eq!(claim.expires_s, Some(60));
    assert_eq!(claim.check_time(SIGNED.plus_ms(60_000)), Ok(()));
    let late = claim.check_time(SIGNED.plus_ms(60_001)).unwrap_err();
    assert_eq!(late.to_string(), "Request has expired");
    let early = claim.check_time(SIGNED.plus_ms(-300_001)).unwrap_err();
    assert!(matches!(early, SignatureError::NotYetCurrent(_)));
}

#[test]
fn a_claim_that_cannot_be_read_says_what_is_missing() {
    let read = |change: &dyn Fn(&mut Parts)| {
        let mut parts = parts(vector("a plain GET"));
        change(&mut parts);
        Claim::read(&parts).unwrap_err().to_string()
    };
    let authorization = |text: &'static str| {
        read(&|parts| {
            parts.headers.insert("authorization", HeaderValue::from_static(text));
        })
    };
    assert_eq!(
        read(&|parts| drop(parts.headers.remove("authorization"))),
        "Missing Authentication Token"
    );
    assert_eq!(authorization("Basic abc"), "Unsupported AWS 'algorithm': 'Basic'.");
    assert_eq!(
        authorization("AWS4-HMAC-SHA256 Credential=a/20261122/r/s/aws4_request"),
        "Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter."
    );
    assert!(
        authorization("AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host, Signature=0")
            .starts_with("Credential must have")
    );
    assert!(authorization("AWS4-HMAC-SHA256 Credential=a/20261122/r/s/t/aws4_request, SignedHeaders=host, Signature=0").starts_with("Credential must have"));
    assert!(
        authorization(
            "AWS4-HMAC-SHA256 Credential=a/20261122/r/s/aws3, SignedHeaders=host, Signature=0"
        )
        .contains("valid terminator")
    );
    assert_eq!(
        read(&|parts| drop(parts.headers.remove("x-amz-date"))),
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
    );
    assert!(
        read(&|parts| drop(parts.headers.insert("x-amz-date", HeaderValue::from_static("now"))))
            .starts_with("Date must be in ISO-8601")
    );
    assert!(
        read(&|parts| drop(
            parts.headers.insert("x-amz-date", HeaderValue::from_static("20261123T000000Z"))
        ))
        .starts_with("Date in Credential scope does not match")
    );
    assert!(
        read(&|parts| drop(
            parts.headers.insert("authorization", HeaderValue::from_bytes(b"AWS4\xff").unwrap())
        ))
        .contains("not ASCII")
    );
}

#[test]
fn a_presigned_url_that_lacks_parts_says_so() {
    let whole = vector("a presigned URL").target;
    for name in [
        "X-Amz-Credential",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
        "X-Amz-Date",
        "X-Amz-Expires",
    ] {
        let mut parts = parts(vector("a presigned URL"));
        parts.uri = whole.replace(name, "X-Other").parse().unwrap();
        let error = Claim::read(&parts).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("AWS query-string parameters must include '{name}'.")
        );
    }
    for wrong in ["Expires=604801", "Expires=-1", "Expires=x", "Expires="] {
        let mut parts = parts(vector("a presigned URL"));
        parts.uri = whole.replace("Expires=300", wrong).parse().unwrap();
        assert!(Claim::read(&parts).unwrap_err().to_string().starts_with("X-Amz-Expires must"));
    }
    let mut longer = parts(vector("a presigned URL"));
    longer.uri = whole.replace("Expires=300", "Expires=301").parse().unwrap();
    assert_eq!(check(&longer, "", SECRET), Err(SignatureError::Mismatch));
}

proptest::proptest! {
    #[test]
    fn no_header_and_no_query_makes_the_reader_panic(
        header in "(AWS4-HMAC-SHA256 )?[ -~]{0,120}",
        query in "(X-Amz-Algorithm=AWS4-HMAC-SHA256&)?[a-zA-Z0-9%&=/+-]{0,120}",
        body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64),
    ) {
        for signed in [true, false] {
            let mut parts = parts(vector("a plain GET"));
            parts.uri = format!("/?{query}").parse().unwrap();
            if signed {
                parts.headers.insert("authorization", header.parse().unwrap());
            } else {
                parts.headers.remove("authorization");
            }
            if let Ok(claim) = Claim::read(&parts) {
                let _ = claim.check_time(SIGNED);
                proptest::prop_assert!(claim.verify(&parts, &body, SECRET).is_err());
            }
        }
    }
}
