//! Filter patterns against the examples of the User Guide, and against arbitrary text.

use proptest::prelude::*;

use super::Pattern;

fn matches(pattern: &str, message: &str) -> bool {
    Pattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}")).matches(message)
}

fn refused(pattern: &str) -> String {
    Pattern::parse(pattern).expect_err(pattern).to_string()
}

#[test]
fn terms() {
    const BAD: &str = "[ERROR 400] BAD REQUEST";
    const UNAUTHORIZED: &str = "[ERROR 401] UNAUTHORIZED REQUEST";
    const WARN: &str = "[WARN] UNAUTHORIZED REQUEST";
    for (pattern, expected) in [
        ("", [true, true, true]),
        ("  ", [true, true, true]),
        ("ERROR", [true, true, false]),
        ("error", [false, false, false]),
        ("ERROR UNAUTHORIZED", [false, true, false]),
        ("\"ERROR 401\"", [false, true, false]),
        ("ERROR -UNAUTHORIZED", [true, false, false]),
        ("-ERROR", [false, false, true]),
        ("-\"BAD REQUEST\"", [false, true, true]),
        ("?BAD ?WARN", [true, false, true]),
        ("?BAD REQUEST", [true, true, true]),
        ("%AUTHORIZED%", [false, true, true]),
        (r"%40\d%", [true, true, false]),
    ] {
        assert_eq!([BAD, UNAUTHORIZED, WARN].map(|m| matches(pattern, m)), expected, "{pattern}");
    }
    assert!(matches(r#""a \"quoted\" \\ word""#, r#"x a "quoted" \ word"#));
    assert_eq!(refused("a.b"), "Invalid character(s) in term 'a.b'");
    for pattern in ["\"open", "%open", "-", "a ?", "%(a)%", "%%", "%a% %b% %c%", "%[%"] {
        assert!(refused(pattern).starts_with("Invalid"), "{pattern}");
    }
}

#[test]
fn json_conditions() {
    const EVENT: &str = r#"{"level":"ERROR","ms":120.5,"code":404,"ok":true,"no":null,"user":{"id":1,"email":"John.Doe@example.com"},"tags":["a","b"],"users":[{"id":7},{"id":8}],"ip":"10.0.0.7","a-b":1,"x.y":2,"big":1e3,"text":"12"}"#;
    for pattern in [
        r#"{ $.level = "ERROR" }"#,
        "{$.level=ERROR}",
        "{ $.level = \"ERR*\" }",
        "{ $.level = *RR* }",
        "{ $.level != \"INFO\" }",
        "{ $.ms > 100 && $.ms < 121 }",
        "{ $.ms >= 120.5 }",
        "{ $.code = 404 }",
        "{ $.code = 4* }",
        "{ $.code = 4.04e2 }",
        "{ $.big = 1000 }",
        "{ $.ok IS TRUE }",
        "{ $.ok is true }",
        "{ $.no IS NULL }",
        "{ $.nothing NOT EXISTS }",
        "{ $.user.id = 1 }",
        "{ ($.user.id = 2) || ($.users[1].id = 8) }",
        "{ $.users[*].id = 8 }",
        "{ $.user.* = 1 }",
        "{ $.tags[0] = \"a\" }",
        "{ $.tags[*] = \"b\" }",
        "{ $.ip = 10.* }",
        "{ $.ip = %10\\.0\\.0\\.[0-9]% }",
        "{ $.a-b = 1 }",
        "{ $['x.y'] = 2 }",
        "{ $.['x.y'] = 2 }",
        "{ $.text = \"12\" }",
        "{ $.user.email = \"John.Doe@example.com\" && ($.ok IS FALSE || $.ok IS TRUE) }",
    ] {
        assert!(matches(pattern, EVENT), "{pattern}");
        assert!(!matches(pattern, "not json"), "{pattern}");
    }
    for pattern in [
        "{ $.level = \"error\" }",
        "{ $.level = ERR }",
        "{ $.ms > 121 }",
        "{ $.ms < 120.5 }",
        "{ $.level > 1 }",
        "{ $.nothing = 1 }",
        "{ $.nothing != 1 }",
        "{ $.ok IS FALSE }",
        "{ $.ok NOT EXISTS }",
        "{ $.tags[2] = \"a\" }",
        "{ $.user = 1 }",
        "{ $.level = ERROR && $.ms > 121 || $.code = 405 }",
    ] {
        assert!(!matches(pattern, EVENT), "{pattern}");
    }
}

#[test]
fn json_patterns_that_cannot_be_read() {
    let deep = format!("{{ {}$.a = 1{} }}", "(".repeat(100), ")".repeat(100));
    for pattern in [
        "{",
        "{}",
        "{ $ = 1 }",
        "{ $.a }",
        "{ $.a = }",
        "{ a = 1 }",
        "{ $.a = 1",
        "{ $.a > x }",
        "{ $.a = 1 && }",
        "{ ($.a = 1 }",
        "{ $.a = 1) }",
        "{ $.a IS x }",
        "{ $.a NOT x }",
        "{ $.a[x] = 1 }",
        "{ $.a[1 = 1 }",
        "{ $. = 1 }",
        "{ $.a = \"x }",
        "{ $.a = %x }",
        "{ $.a[99999999999999999999] = 1 }",
        &deep,
    ] {
        assert_eq!(refused(pattern), "Invalid filter pattern", "{pattern}");
    }
}

#[test]
fn space_delimited_fields() {
    const LINE: &str =
        r#"127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534"#;
    for pattern in [
        "[ip, user, username, timestamp, request, status_code, bytes]",
        "[ip, user, username, timestamp, request, status_code = 4*, bytes > 1000]",
        "[..., status_code = 404, bytes]",
        "[ip = 127.*, ...]",
        "[ip, ..., bytes >= 1534]",
        "[ip, user, username, timestamp, request = *.html*, status_code, bytes]",
        "[ip, u, n, t, r, s = 404 || s = 500, b != 0]",
        "[ip, u, n, t, r, (s != 500 && s != 501), b]",
        "[ip, u, n, t = \"10/Oct/*\", r = %index%, s, b]",
    ] {
        assert!(matches(pattern, LINE), "{pattern}");
    }
    for pattern in [
        "[ip, user]",
        "[ip, user, username, timestamp, request, status_code = 5*, bytes]",
        "[..., bytes > 2000]",
        "[a, b, c, d, e, f, g, h, ...]",
        "[ip, u, n, t, r, s = 404 && s = 500, b]",
    ] {
        assert!(!matches(pattern, LINE), "{pattern}");
    }
    for pattern in ["[", "[]", "[a", "[a,,b]", "[..., a, ...]", "[a = ]", "[a > x]", "[(a = 1]"] {
        assert_eq!(refused(pattern), "Invalid filter pattern", "{pattern}");
    }
}

#[test]
fn a_hostile_expression_ends() {
    let started = std::time::Instant::now();
    let message = "a".repeat(20_000);
    matches("%^a*+a*a*a*a*a*b$%", &message);
    matches("%a*a*a*a*a*a*a*c%", &message);
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_or_the_matcher_panic(
        pattern in r#"[{\[]?[ $.a1*"%\\(){}\[\]&|=<>!?,é-]{0,40}"#,
        message in ".{0,80}",
    ) {
        if let Ok(pattern) = Pattern::parse(&pattern) {
            pattern.matches(&message);
            pattern.matches("{\"a\":1}");
        }
    }

    #[test]
    fn a_quoted_phrase_finds_exactly_what_contains_it(
        phrase in r#"[a-z "\\]{1,8}"#,
        message in r#"[a-z "\\]{0,20}"#,
    ) {
        let quoted = phrase.replace('\\', "\\\\").replace('"', "\\\"");
        prop_assert_eq!(matches(&format!("\"{quoted}\""), &message), message.contains(&phrase));
    }
}
