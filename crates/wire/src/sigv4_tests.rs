//! Signatures: requests as AWS's clients sign them, and what happens to every other one.

use http::Request;
use proptest::prelude::*;

use super::*;

#[path = "sigv4_vectors.rs"]
mod vectors;

use vectors::{HEADER_FORM, QUERY_FORM, Vector};

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 2026-11-22T20:26:54Z, the time at which every vector is signed.
const NOW: Timestamp = Timestamp(1_795_379_214_000);
const SCOPE: &str = "AKIDEXAMPLE/20261122/us-east-1/lambda/aws4_request";

/// What differs from botocore: the SDK for JavaScript signs a body hash always, content-length too, and leaves what
/// proxies change unsigned. Made with `new SignatureV4({…}).sign(request, { signingDate })` of
/// `@smithy/signature-v4` 5 and the key, time and service of the other vectors.
static JAVASCRIPT: &[Vector] = &[
    Vector {
        name: "JavaScript: path, query and unsigned headers",
        method: "GET",
        target: "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A0%3Afunction%3Af!'()*?Qualifier=%24LATEST&empty=&tagKeys=b%20b&tagKeys=a%2Ba",
        headers: &[
            ("host", "127.0.0.1:4566"),
            ("user-agent", "x"),
            ("amz-sdk-request", "attempt=1; max=3"),
            ("amz-sdk-invocation-id", "i"),
            ("x-amzn-trace-id", "Root=1"),
            ("x-amz-date", "20261122T202654Z"),
            (
                "x-amz-content-sha256",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/us-east-1/lambda/aws4_request, SignedHeaders=amz-sdk-invocation-id;amz-sdk-request;host;x-amz-content-sha256;x-amz-date, Signature=97b68cd0f2a1f49204ead171d8b508d21af0c1ae22974c18f15382b9d94da7e2",
            ),
        ],
        body: b"",
    },
    Vector {
        name: "JavaScript: a body and folded headers",
        method: "POST",
        target: "//2015-03-31/./functions/f/invocations/",
        headers: &[
            ("host", "127.0.0.1:4566"),
            ("content-type", "application/json"),
            ("x-amz-user-agent", "aws-sdk-js/3  ua"),
            ("content-length", "7"),
            ("x-amz-date", "20261122T202654Z"),
            (
                "x-amz-content-sha256",
                "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862",
            ),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/us-east-1/lambda/aws4_request, SignedHeaders=content-length;content-type;host;x-amz-content-sha256;x-amz-date;x-amz-user-agent, Signature=45486f4db9c2978c5e4c79c82a3ccf688ca8f3fde0d0160436f168e3914c6700",
            ),
        ],
        body: br#"{"a":1}"#,
    },
    Vector {
        name: "JavaScript: presigned",
        method: "GET",
        target: "/2015-03-31/functions/f?Qualifier=%24LATEST&x-amz-user-agent=js&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20261122%2Fus-east-1%2Flambda%2Faws4_request&X-Amz-Date=20261122T202654Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Signature=f6267bc554b9f94522c9e8d9b477d84d548c6c8c665d9c735fdbef695b133419",
        headers: &[("host", "127.0.0.1:4566")],
        body: b"",
    },
];

fn vectors() -> impl Iterator<Item = &'static Vector> {
    HEADER_FORM.iter().chain(QUERY_FORM).chain(JAVASCRIPT)
}

/// A request as the server reads it; `None` when HTTP itself refuses it.
fn parts(method: &str, target: &[u8], headers: &[(&str, &[u8])]) -> Option<Parts> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Some(request.body(()).ok()?.into_parts().0)
}

fn vector_parts(vector: &Vector) -> Parts {
    let headers: Vec<(&str, &[u8])> =
        vector.headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    parts(vector.method, vector.target.as_bytes(), &headers).unwrap()
}

/// Everything that a request has to pass, the lookup of its key included.
fn verdict(parts: &Parts, body: &[u8]) -> Result<Claim, SignatureError> {
    let claim = Claim::read(parts)?;
    if claim.access_key_id != KEY {
        return Err(SignatureError::Mismatch);
    }
    claim.check_time(NOW)?;
    claim.verify(parts, body, SECRET)?;
    Ok(claim)
}

/// A request that is signed here, for what no client would send.
fn signed(method: &str, target: &str, headers: &[(&str, &str)], signed: &str, hash: &str) -> Parts {
    let credential = format!("AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders={signed}");
    let with = |signature: &str| {
        let authorization = format!("{credential}, Signature={signature}");
        let mut all: Vec<(&str, &[u8])> = vec![
            ("host", b"127.0.0.1:4566"),
            ("x-amz-date", b"20261122T202654Z"),
            ("authorization", authorization.as_bytes()),
        ];
        all.extend(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
        parts(method, target.as_bytes(), &all).unwrap()
    };
    let unsigned = with("00");
    let claim = Claim::read(&unsigned).unwrap();
    with(&hex(&sign(&claim, &canonical_request(&claim, &unsigned, hash), SECRET)))
}

fn sha256(body: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, body).as_ref())
}

#[test]
fn what_clients_sign_is_accepted() {
    for vector in vectors() {
        let claim = verdict(&vector_parts(vector), vector.body)
            .unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        assert_eq!(claim.signed_at, NOW, "{}", vector.name);
        assert_eq!(claim.amz_date, "20261122T202654Z", "{}", vector.name);
    }
}

#[test]
fn the_claim_is_read_from_both_places() {
    let token = |vector: &Vector| Claim::read(&vector_parts(vector)).unwrap().session_token;
    let find = |set: &'static [Vector], name: &str| set.iter().find(|v| v.name == name).unwrap();
    let expected = Some("AQoDYXdzEPT//////////wEXAMPLE+token==".to_owned());
    assert_eq!(token(find(HEADER_FORM, "a session token")), expected);
    assert_eq!(token(find(QUERY_FORM, "a presigned GET with a session token")), expected);
    let claim = Claim::read(&vector_parts(find(HEADER_FORM, "another region"))).unwrap();
    assert_eq!((claim.region.as_str(), claim.service.as_str()), ("eu-central-1", "lambda"));
    assert_eq!(claim.expires_s, None);
    assert_eq!(Claim::read(&vector_parts(&QUERY_FORM[0])).unwrap().expires_s, Some(900));
}

// --- Tampering -----------------------------------------------------------------------------------------------------

/// The parts of a vector that are under its signature, each open to a change of one byte.
#[derive(Debug, Clone, Copy)]
enum Place {
    Target,
    Header(usize),
    Body,
}

fn places(vector: &Vector) -> Vec<(Place, usize)> {
    let claim = Claim::read(&vector_parts(vector)).unwrap();
    let covered = |name: &str| {
        name == "authorization" || claim.signed_headers.iter().any(|signed| signed == name)
    };
    let headers = vector.headers.iter().enumerate().filter(|(_, (name, _))| covered(name));
    let mut places = vec![(Place::Target, vector.target.len())];
    places.extend(headers.map(|(at, (_, value))| (Place::Header(at), value.len())));
    if vector.headers.iter().all(|(_, value)| *value != UNSIGNED_PAYLOAD) {
        places.push((Place::Body, vector.body.len()));
    }
    places
}

/// Whether two requests ask for the same thing: escapes of the query in lower case, for one, change nothing.
fn same_meaning(a: &Parts, b: &Parts) -> bool {
    let query = |parts: &Parts| {
        let mut pairs: Vec<_> = percent::query_pairs(parts.uri.query().unwrap_or("")).collect();
        pairs.sort();
        pairs
    };
    let path = |parts: &Parts| canonical_path("lambda", parts.uri.path());
    let mut headers = a.headers.clone();
    headers.remove("authorization");
    let mut other = b.headers.clone();
    other.remove("authorization");
    path(a) == path(b)
        && query(a) == query(b)
        && headers == other
        && Claim::read(a) == Claim::read(b)
}

fn check_changed(vector: &Vector, place: Place, at: usize, byte: u8) {
    let change = |text: &[u8]| {
        let mut text = text.to_vec();
        text[at] = byte;
        text
    };
    let mut target = vector.target.as_bytes().to_vec();
    let mut headers: Vec<(&str, Vec<u8>)> =
        vector.headers.iter().map(|(name, value)| (*name, value.as_bytes().to_vec())).collect();
    let mut body = vector.body.to_vec();
    match place {
        Place::Target => target = change(&target),
        Place::Header(index) => headers[index].1 = change(&headers[index].1),
        Place::Body => body = change(&body),
    }
    let headers: Vec<(&str, &[u8])> =
        headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
    let Some(changed) = parts(vector.method, &target, &headers) else { return };
    if body == vector.body && same_meaning(&changed, &vector_parts(vector)) {
        return;
    }
    assert!(
        verdict(&changed, &body).is_err(),
        "{}: {place:?} byte {at} became {byte:#x} unnoticed",
        vector.name
    );
}

#[test]
fn every_changed_byte_is_noticed() {
    for vector in vectors() {
        for (place, length) in places(vector) {
            for at in 0..length {
                let old = match place {
                    Place::Target => vector.target.as_bytes()[at],
                    Place::Header(index) => vector.headers[index].1.as_bytes()[at],
                    Place::Body => vector.body[at],
                };
                for byte in [old.wrapping_add(1), old ^ 0x20, b'/', b'&', b'+'] {
                    if byte != old {
                        check_changed(vector, place, at, byte);
                    }
                }
            }
        }
    }
}

#[test]
fn another_method_or_secret_is_noticed() {
    for vector in vectors() {
        let mut parts = vector_parts(vector);
        let claim = Claim::read(&parts).unwrap();
        assert_eq!(
            claim.verify(&parts, vector.body, "another"),
            Err(SignatureError::Mismatch),
            "{}",
            vector.name
        );
        parts.method = http::Method::PATCH;
        assert!(verdict(&parts, vector.body).is_err(), "{}", vector.name);
    }
}

#[test]
fn what_is_added_is_noticed() {
    let original = &HEADER_FORM[2];
    let add = |target: String, extra: Option<(&str, &str)>| {
        let headers = original.headers.iter().copied().chain(extra);
        let headers: Vec<(&str, &[u8])> = headers.map(|(n, v)| (n, v.as_bytes())).collect();
        verdict(&parts("GET", target.as_bytes(), &headers).unwrap(), b"").map(|_| ())
    };
    let target = original.target;
    assert_eq!(add(target.to_owned(), None), Ok(()));
    assert_eq!(add(format!("{target}&a=b"), None), Err(SignatureError::Mismatch));
    assert_eq!(add(format!("{target}&Qualifier=1"), None), Err(SignatureError::Mismatch));
    // A key that only a presigned URL leaves out of what it signs.
    assert_eq!(add(format!("{target}&X-Amz-Signature=00"), None), Err(SignatureError::Mismatch));
    // A second value of a signed header.
    assert_eq!(add(target.to_owned(), Some(("host", "evil"))), Err(SignatureError::Mismatch));
    // A header that would change what the call does.
    let error = add(target.to_owned(), Some(("x-amz-invocation-type", "Event"))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "'X-Amz-Invocation-Type' must be a 'SignedHeader' in the AWS Authorization."
    );
    // What proxies add does not matter.
    assert_eq!(add(target.to_owned(), Some(("x-forwarded-for", "10.0.0.1"))), Ok(()));
}

#[test]
fn a_plus_in_the_query_is_the_space_that_a_member_will_hold() {
    let hash = sha256(b"");
    let space = signed("GET", "/t?q=a%20b", &[], "host;x-amz-date", &hash);
    let plus = signed("GET", "/t?q=a%2Bb", &[], "host;x-amz-date", &hash);
    let rewrite = |mut parts: Parts| {
        parts.uri = "/t?q=a+b".parse().unwrap();
        verdict(&parts, b"").map(|_| ())
    };
    assert_eq!(rewrite(space), Ok(()));
    assert_eq!(rewrite(plus), Err(SignatureError::Mismatch));
}

// --- What is missing or malformed ----------------------------------------------------------------------------------

fn check_refused(headers: &[(&str, &str)], target: &str, expected: &str) {
    let headers: Vec<(&str, &[u8])> = headers.iter().map(|(n, v)| (*n, v.as_bytes())).collect();
    let parts = parts("GET", target.as_bytes(), &headers).unwrap();
    let error = verdict(&parts, b"").unwrap_err();
    assert_eq!(error.to_string(), expected, "{headers:?} {target}");
}

#[test]
fn a_header_in_pieces() {
    let date = ("x-amz-date", "20261122T202654Z");
    let check = |authorization: &str, dated: bool, expected: &str| {
        let mut headers = vec![("authorization", authorization)];
        headers.extend(dated.then_some(date));
        check_refused(&headers, "/", expected);
    };
    check_refused(&[], "/", "Missing Authentication Token");
    check(
        "AWS4-HMAC-SHA256",
        false,
        "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256",
    );
    check(
        &format!("AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host"),
        true,
        "Authorization header requires 'Signature' parameter. Authorization=AWS4-HMAC-SHA256",
    );
    check(
        &format!("AWS4-HMAC-SHA256 credential={SCOPE}, SignedHeaders=host, Signature="),
        true,
        "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization=AWS4-HMAC-SHA256",
    );
    check(
        "AWS4-HMAC-SHA512 Credential=a",
        true,
        "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA512'.",
    );
    // Whatever else stands there may be a secret, so it is not said back.
    check("Bearer eyJhbGciOi", true, "Unsupported AWS 'algorithm'.");
    check("eyJhbGciOi", true, "Unsupported AWS 'algorithm'.");
    check(&format!("AWS4-HMAC-SHA256Credential={SCOPE}"), true, "Unsupported AWS 'algorithm'.");
}

#[test]
fn a_wrong_credential_or_date() {
    let check = |credential: &str, date: &str, expected: &str| {
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=ab");
        check_refused(&[("authorization", &authorization), ("x-amz-date", date)], "/", expected);
    };
    let today = "20261122T202654Z";
    let five = "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got";
    check("a/b/c/d", today, &format!("{five} 'a/b/c/d'"));
    check("a/b/c/d/e/f", today, &format!("{five} 'a/b/c/d/e/f'"));
    check(
        "AKIDEXAMPLE/20261122/us-east-1/lambda/aws5",
        today,
        "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5'.",
    );
    check(
        "AKIDEXAMPLE/20261121/us-east-1/lambda/aws4_request",
        today,
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20261121' != '20261122', from '20261122T202654Z'.",
    );
    for date in ["201", "2026-11-22T20:26:54Z", "20261122T202654", "20261322T202654Z"] {
        check(
            SCOPE,
            date,
            &format!(
                "Date must be in ISO-8601 'basic format'. Got '{date}'. See http://en.wikipedia.org/wiki/ISO_8601"
            ),
        );
    }
}

#[test]
fn a_presigned_url_in_pieces() {
    let complete = [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", "AKIDEXAMPLE%2F20261122%2Fus-east-1%2Flambda%2Faws4_request"),
        ("X-Amz-SignedHeaders", "host"),
        ("X-Amz-Signature", "00"),
        ("X-Amz-Date", "20261122T202654Z"),
        ("X-Amz-Expires", "60"),
    ];
    let with = |replaced: &str, value: Option<&str>| {
        let pairs = complete.iter().filter_map(|(name, old)| {
            let value = if *name == replaced { value? } else { old };
            Some(format!("{name}={value}"))
        });
        format!("/?{}", pairs.collect::<Vec<_>>().join("&"))
    };
    for (name, _) in &complete[1..] {
        let expected = format!("AWS query-string parameters must include '{name}'.");
        check_refused(&[], &with(name, None), &expected);
    }
    check_refused(&[], &with("X-Amz-Algorithm", None), "Missing Authentication Token");
    check_refused(&[], &with("X-Amz-Algorithm", Some("MD5")), "Unsupported AWS 'algorithm'.");
    for expires in ["-1", "604801", "soon", "99999999999999999999", ""] {
        let target = with("X-Amz-Expires", Some(expires));
        check_refused(&[], &target, "X-Amz-Expires must be between 0 and 604800 seconds.");
    }
    // HTTP's form of a date is a header's.
    let target = with("X-Amz-Date", Some("Sun,%2022%20Nov%202026%2020:26:54%20GMT"));
    check_refused(
        &[],
        &target,
        "Date must be in ISO-8601 'basic format'. Got 'Sun, 22 Nov 2026 20:26:54 GMT'. See http://en.wikipedia.org/wiki/ISO_8601",
    );
}

#[test]
fn spaces_in_the_header_do_not_matter() {
    let original = &HEADER_FORM[0];
    let (_, authorization) = original.headers[2];
    for written in [
        authorization.replace(", ", ","),
        authorization.replace(", ", " ,   "),
        authorization.replace("SHA256 ", "SHA256   "),
        authorization.replace("host;", "Host;"),
    ] {
        let mut parts = vector_parts(original);
        parts.headers.insert("authorization", written.parse().unwrap());
        assert!(verdict(&parts, b"").is_ok(), "{written}");
    }
}

#[test]
fn a_date_header_in_either_form() {
    for date in ["20261122T202654Z", "Sun, 22 Nov 2026 20:26:54 GMT"] {
        let claim = Claim::read(&vector_parts(&HEADER_FORM[0])).unwrap();
        let mut parts = vector_parts(&HEADER_FORM[0]);
        parts.headers.remove("x-amz-date");
        parts.headers.insert("date", date.parse().unwrap());
        assert_eq!(Claim::read(&parts), Ok(claim), "{date}");
    }
    // X-Amz-Date is the one that counts when both are there.
    let mut parts = vector_parts(&HEADER_FORM[0]);
    parts.headers.insert("date", "Sun, 22 Nov 2020 20:26:54 GMT".parse().unwrap());
    assert!(verdict(&parts, b"").is_ok());
}

#[test]
fn the_host_of_http_2_is_its_authority() {
    let mut parts = vector_parts(&HEADER_FORM[0]);
    parts.headers.remove("host");
    assert_eq!(verdict(&parts, b""), Err(SignatureError::Mismatch));
    parts.uri = format!("http://127.0.0.1:4566{}", HEADER_FORM[0].target).parse().unwrap();
    assert!(verdict(&parts, b"").is_ok());
    parts.uri = format!("http://127.0.0.1:4567{}", HEADER_FORM[0].target).parse().unwrap();
    assert_eq!(verdict(&parts, b""), Err(SignatureError::Mismatch));

    let named = signed("GET", "/", &[], ":authority;x-amz-date", &sha256(b""));
    assert!(verdict(&named, b"").is_ok());
}

#[test]
fn the_host_has_to_be_signed() {
    let parts = signed("GET", "/", &[], "x-amz-date", &sha256(b""));
    let error = verdict(&parts, b"").unwrap_err();
    assert_eq!(
        error.to_string(),
        "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
    );
    let parts = signed("GET", "/", &[], "host", &sha256(b""));
    let error = verdict(&parts, b"").unwrap_err();
    assert_eq!(
        error.to_string(),
        "'X-Amz-Date' must be a 'SignedHeader' in the AWS Authorization."
    );
}

// --- Bodies --------------------------------------------------------------------------------------------------------

#[test]
fn bodies_and_their_hashes() {
    let check = |claimed: Option<&str>, hashed: &str, body: &[u8], expected| {
        let header = claimed.map(|hash| ("x-amz-content-sha256", hash));
        let headers: Vec<_> = header.into_iter().collect();
        let parts = signed("POST", "/", &headers, "host;x-amz-date", hashed);
        assert_eq!(verdict(&parts, body).map(|_| ()), expected, "{claimed:?}");
    };
    let (right, wrong) = (sha256(b"{}"), sha256(b"[]"));
    check(None, &right, b"{}", Ok(()));
    check(Some(&right), &right, b"{}", Ok(()));
    check(Some(&right), &right, b"[]", Err(SignatureError::BodyHash));
    check(None, &right, b"[]", Err(SignatureError::Mismatch));
    check(Some(&wrong), &wrong, b"{}", Err(SignatureError::BodyHash));
    check(Some(UNSIGNED_PAYLOAD), UNSIGNED_PAYLOAD, b"anything", Ok(()));
    // The word cannot be added to a request whose body was signed.
    check(Some(UNSIGNED_PAYLOAD), &right, b"{}", Err(SignatureError::Mismatch));
    let chunked = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    check(Some(chunked), chunked, b"0;chunk-signature=00", Err(SignatureError::Chunked));
    let trailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    check(Some(trailer), trailer, b"0\r\n\r\n", Err(SignatureError::Chunked));
}

#[test]
fn the_holder_of_a_presigned_url_does_not_choose_the_body() {
    let presigned = |hash: &str, signature: &str| {
        let credential = SCOPE.replace('/', "%2F");
        let target = format!(
            "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date=20261122T202654Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Signature={signature}"
        );
        let host: (&str, &[u8]) = ("host", b"h");
        let parts = parts("POST", target.as_bytes(), &[host]).unwrap();
        let claim = Claim::read(&parts).unwrap();
        let signature = hex(&sign(&claim, &canonical_request(&claim, &parts, hash), SECRET));
        (parts, signature)
    };
    let hash = sha256(b"{}");
    let (_, signature) = presigned(&hash, "00");
    let (hashed, _) = presigned(&hash, &signature);
    assert!(verdict(&hashed, b"{}").is_ok());
    assert_eq!(verdict(&hashed, b"[]"), Err(SignatureError::Mismatch));
    for vector in QUERY_FORM {
        assert_eq!(verdict(&vector_parts(vector), b"chosen"), Err(SignatureError::Mismatch));
        let mut parts = vector_parts(vector);
        parts.headers.insert("x-amz-content-sha256", UNSIGNED_PAYLOAD.parse().unwrap());
        assert_eq!(verdict(&parts, b"chosen"), Err(SignatureError::BodyHash), "{}", vector.name);
    }
}

// --- Time ----------------------------------------------------------------------------------------------------------

#[test]
fn the_window_of_a_signature() {
    let claim = Claim::read(&vector_parts(&HEADER_FORM[0])).unwrap();
    let check = |late_ms: i64, expected: Option<&str>| {
        let text = claim.check_time(NOW.plus_ms(late_ms)).err().map(|error| error.to_string());
        assert_eq!(text.as_deref(), expected, "{late_ms}");
    };
    let five_minutes = 5 * 60 * 1000;
    for late in [0, five_minutes, -five_minutes] {
        check(late, None);
    }
    check(
        five_minutes + 1000,
        Some(
            "Signature expired: 20261122T202654Z is now earlier than 20261122T202655Z (20261122T203155Z - 5 min.)",
        ),
    );
    check(
        -five_minutes - 1000,
        Some(
            "Signature not yet current: 20261122T202654Z is still later than 20261122T202653Z (20261122T202153Z + 5 min.)",
        ),
    );
    check(i64::MAX / 2, Some(&claim.check_time(Timestamp(i64::MAX / 2)).unwrap_err().to_string()));
}

#[test]
fn the_life_of_a_presigned_url() {
    let claim = Claim::read(&vector_parts(&QUERY_FORM[0])).unwrap();
    let check = |late_s: i64| claim.check_time(NOW.plus_ms(late_s * 1000));
    assert_eq!(check(0), Ok(()));
    assert_eq!(check(900), Ok(()));
    assert_eq!(check(901).unwrap_err().to_string(), "Request has expired");
    assert_eq!(check(-300), Ok(()));
    assert!(matches!(check(-301), Err(SignatureError::NotYetCurrent(_))));
}

// --- Anything at all -----------------------------------------------------------------------------------------------

proptest! {
    #[test]
    fn no_changed_byte_passes(pick in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(), byte in 0x21u8..0x7f) {
        let all: Vec<&Vector> = vectors().collect();
        let vector = all[pick.index(all.len())];
        let places: Vec<_> = places(vector).into_iter().filter(|(_, length)| *length > 0).collect();
        let (place, length) = places[place.index(places.len())];
        check_changed(vector, place, at.index(length), byte);
    }

    #[test]
    fn no_header_panics(authorization in ".{0,200}", date in ".{0,40}", host in ".{0,20}",
        hash in ".{0,20}", target in "/[!-~]{0,80}", now in any::<i64>()) {
        let headers = [("authorization", authorization), ("x-amz-date", date), ("host", host), ("x-amz-content-sha256", hash)];
        let headers: Vec<(&str, &[u8])> = headers.iter().map(|(n, v)| (*n, v.as_bytes())).collect();
        if let Some(parts) = parts("GET", target.as_bytes(), &headers)
            && let Ok(claim) = Claim::read(&parts) {
            let _ = claim.check_time(Timestamp(now));
            prop_assert!(claim.verify(&parts, b"", SECRET).is_err());
        }
    }

    #[test]
    fn no_likely_header_panics(key in "[^,\\s]{0,30}", names in "[!-+\\--~]{0,40}", signature in "[0-9a-f]{0,70}",
        date in "[0-9]{7,9}T[0-9]{5,7}Z", now in any::<i64>()) {
        let day: String = date.chars().take(8).collect();
        let authorization = format!("AWS4-HMAC-SHA256 Credential={key}/{day}/r/lambda/aws4_request, SignedHeaders={names}, Signature={signature}");
        let headers: [(&str, &[u8]); 2] = [("authorization", authorization.as_bytes()), ("x-amz-date", date.as_bytes())];
        if let Some(parts) = parts("GET", b"/", &headers)
            && let Ok(claim) = Claim::read(&parts) {
            let _ = claim.check_time(Timestamp(now));
            prop_assert!(claim.verify(&parts, b"", SECRET).is_err());
        }
    }

    #[test]
    fn no_query_panics(query in "[!-~]{0,200}", date in "\\PC{0,20}", expires in any::<i64>(), now in any::<i64>()) {
        let date = percent::encode(date.as_bytes(), b"");
        let target = format!("/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a/{date}/c/d/aws4_request&X-Amz-SignedHeaders=host%0A%00&X-Amz-Signature=0&X-Amz-Date={date}&X-Amz-Expires={expires}&{query}");
        if let Some(parts) = parts("GET", target.as_bytes(), &[])
            && let Ok(claim) = Claim::read(&parts) {
            let _ = claim.check_time(Timestamp(now));
            prop_assert!(claim.verify(&parts, b"", SECRET).is_err());
        }
    }
}
