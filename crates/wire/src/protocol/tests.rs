//! What each protocol reads out of a request and writes into an answer, driven through a whole route table.

use http::{Request, Response};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    Served,
    error::common,
    test_service::{self, Bound, INVALID, JSON, QUERY, REST, cx, request, run},
};

fn answer(table: &Bound, request: Request<Bytes>) -> Response<Bytes> {
    let (parts, body) = request.into_parts();
    let (operation, labels) = table.route(&parts, &body).unwrap();
    let cx = cx();
    run(table.call(&cx, operation, &parts, &labels, &body))
        .map(|response| response.map(|body| body.into_whole().unwrap()))
        .unwrap_or_else(|error| {
            encode_error(
                table.service(),
                Encoding::of(table.service(), &parts),
                cx.request_id,
                &error,
            )
        })
}

fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

fn header<'a>(response: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

/// Posts a body to `Make` in a protocol: rest-json or JSON 1.1.
fn make(protocol: &str, body: &[u8]) -> Response<Bytes> {
    match protocol {
        "rest" => answer(&test_service::rest(), request("POST", "/things/t", &[], body)),
        _ => answer(
            &test_service::json(),
            request("POST", "/", &["x-amz-target: Things_2020.Make"], body),
        ),
    }
}

fn post_form(body: &str) -> Response<Bytes> {
    answer(&test_service::query(), request("POST", "/", &[], body.as_bytes()))
}

/// What the handler saw of a request.
fn seen(response: &Response<Bytes>) -> Value {
    assert!(response.status().is_success(), "{response:?}");
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    body["Seen"].clone()
}

// --- rest-json: where members come from ----------------------------------------------------------------------------

#[test]
fn members_come_from_path_query_header_and_body() {
    let request = request(
        "POST",
        "/things/a%2Fb%24%C3%BC+c?mode=x%20y+z&limit=5&keys=2&keys=1&keys=&other=1",
        &["x-amz-kind: big one"],
        br#"{"Size":7,"Texts":["a"],"Unknown":{"x":[1]}}"#,
    );
    assert_eq!(
        seen(&answer(&test_service::rest(), request)),
        json!({
            "Name": "a/b$ü+c", "mode": "x y z", "limit": 5, "keys": ["2", "1", ""],
            "X-Amz-Kind": "big one", "Size": 7, "Texts": ["a"],
        })
    );
}

#[test]
fn the_body_never_shadows_another_place() {
    let body =
        br#"{"Name":"evil","mode":"panic","limit":3,"keys":["k"],"X-Amz-Kind":"k","Size":1}"#;
    assert_eq!(seen(&make("rest", body)), json!({"Name": "t", "Size": 1}));
    let request = request("POST", "/things/t?mode=good&limit=9", &["x-amz-kind: h"], body);
    assert_eq!(
        seen(&answer(&test_service::rest(), request)),
        json!({"Name": "t", "mode": "good", "limit": 9, "X-Amz-Kind": "h", "Size": 1})
    );
}

#[test]
fn texts_of_path_and_query_become_their_type() {
    let check = |query: &str, expected: &str| {
        let target = format!("/things/t?{query}");
        let response = answer(&test_service::rest(), request("POST", &target, &[], b""));
        assert_eq!((response.status().as_u16(), text(&response)), (400, expected), "{query}");
    };
    let not_integer = r#"{"message":"STRING_VALUE can not be converted to an Integer"}"#;
    for limit in ["ten", "", "1.5", "0x1", " 1", "4294967296", "99999999999999999999"] {
        check(&format!("limit={}", limit.replace(' ', "%20")), not_integer);
    }
    check(
        "limit=0",
        r#"{"message":"1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"}"#,
    );
}

#[test]
fn a_raw_payload_passes_untouched() {
    let bytes: Vec<u8> = (0..=255).collect();
    for body in [&bytes[..], b"", b"{not json", b"\xff\xfe"] {
        let response = answer(&test_service::rest(), request("POST", "/raw/none", &[], body));
        assert_eq!((response.status().as_u16(), &response.body()[..]), (200, body));
        assert_eq!(header(&response, "content-type"), Some("application/json"));
    }
    // An output member in a header beats the protocol's own.
    let response = answer(&test_service::rest(), request("POST", "/raw/text%2Fplain", &[], b"x"));
    assert_eq!(header(&response, "content-type"), Some("text/plain"));
    assert_eq!(response.headers().get_all("content-type").iter().count(), 1);
}

// --- JSON bodies ---------------------------------------------------------------------------------------------------

#[test]
fn every_kind_of_member_is_read() {
    let members = json!({
        "Name": "t", "Size": 100, "Count": -2_147_483_648_i64, "Big": i64::MAX, "Weight": 0.5, "Flag": false,
        "Data": "AP8=", "When": 1_764_000_000.5, "Texts": [""], "Labels": {"a": "b", "": ""},
        "Inner": {"Left": {"Text": "l"}, "All": [{"Texts": []}]},
    });
    let body = members.to_string();
    assert_eq!(seen(&make("rest", body.as_bytes())), members);
    assert_eq!(seen(&make("json", body.as_bytes())), members);
    // A whole number is a double, too.
    assert_eq!(seen(&make("rest", br#"{"Weight":2}"#)), json!({"Name": "t", "Weight": 2.0}));
}

#[test]
fn absent_and_null_are_the_same() {
    for body in ["", " \r\n\t ", "{}", r#"{"Size":null,"Texts":null,"Inner":null,"Data":null}"#] {
        assert_eq!(seen(&make("rest", body.as_bytes())), json!({"Name": "t"}), "{body}");
    }
    let response = make("json", br#"{"Name":"n","Labels":null,"When":null}"#);
    assert_eq!(seen(&response), json!({"Name": "n"}));
}

#[test]
fn the_last_of_equal_keys_counts() {
    let body = br#"{"Name":"a","Size":1,"Name":"b","Size":2}"#;
    assert_eq!(seen(&make("json", body)), json!({"Name": "b", "Size": 2}));
}

fn check_serialization(body: &str, expected: &str) {
    for protocol in ["rest", "json"] {
        let response = make(protocol, body.as_bytes());
        let answered: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(response.status().as_u16(), 400, "{protocol} {body}");
        assert_eq!(answered["message"], expected, "{protocol} {body}");
        let kind = header(&response, "x-amzn-errortype").or(answered["__type"].as_str());
        assert_eq!(kind, Some("SerializationException"), "{protocol} {body}");
    }
}

#[test]
fn wrong_types_in_the_words_of_aws() {
    let check = |member: &str, value: &str, expected: &str| {
        check_serialization(&format!(r#"{{"Name":"t","{member}":{value}}}"#), expected);
    };
    check("Size", r#""5""#, "STRING_VALUE can not be converted to an Integer");
    check("Size", "true", "TRUE_VALUE can not be converted to an Integer");
    check("Size", "1.5", "NUMBER_VALUE can not be converted to an Integer");
    check("Count", "2147483648", "NUMBER_VALUE can not be converted to an Integer");
    check("Big", "9223372036854775808", "NUMBER_VALUE can not be converted to a Long");
    check("Big", "1e300", "NUMBER_VALUE can not be converted to a Long");
    check("Weight", r#""1""#, "STRING_VALUE can not be converted to a Double");
    check("Flag", r#""true""#, "STRING_VALUE can not be converted to a Boolean");
    check("Flag", "0", "NUMBER_VALUE can not be converted to a Boolean");
    check("Data", "7", "NUMBER_VALUE can not be converted to a Blob");
    check("When", "false", "FALSE_VALUE can not be converted to a Timestamp");
    check("Texts", r#""a""#, "Expected list or null");
    check("Texts", r#"["a",1]"#, "NUMBER_VALUE can not be converted to a String");
    check("Labels", "3", "Expected map or null");
    check("Labels", r#"{"a":false}"#, "FALSE_VALUE can not be converted to a String");
    check("Inner", "true", "Expected null");
    check("Inner", r#"{"All":[{"Text":1}]}"#, "NUMBER_VALUE can not be converted to a String");
    for member in ["Size", "Data", "Labels", "Inner"] {
        check(member, "[]", "Start of list found where not expected");
    }
    for member in ["Size", "Flag", "Texts"] {
        check(member, "{}", "Start of structure or map found where not expected.");
    }
}

#[test]
fn a_number_beyond_32_bits_breaks_its_bound_first() {
    let response = make("rest", br#"{"Size":2147483648}"#);
    assert_eq!(
        text(&response),
        r#"{"message":"1 validation error detected: Value '2147483648' at 'size' failed to satisfy constraint: Member must have value less than or equal to 100"}"#
    );
}

#[test]
fn what_no_type_check_catches_is_refused_all_the_same() {
    let unreadable = "A member of the request cannot be read as its type.";
    for data in ["!!!!", "AP8", "AP8=\\n", "AP9=", "_-8="] {
        check_serialization(&format!(r#"{{"Name":"t","Data":"{data}"}}"#), unreadable);
    }
    check_serialization(r#"{"Name":"t","When":"yesterday"}"#, unreadable);
}

#[test]
fn the_length_of_a_blob_is_that_of_its_bytes() {
    let check = |data: &str, status: u16| {
        let response = make("rest", format!(r#"{{"Data":"{data}"}}"#).as_bytes());
        assert_eq!(response.status().as_u16(), status, "{data}: {}", text(&response));
    };
    check("", 400);
    check("AA==", 201);
    check("AAAAAA==", 201);
    check("AAAAAAA=", 400);
}

fn check_malformed(body: &[u8], place: &str) {
    for protocol in ["rest", "json"] {
        let response = make(protocol, body);
        let answered: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(response.status().as_u16(), 400);
        let message = answered["message"].as_str().unwrap();
        let expected = format!("Could not parse request body into json: {place}");
        assert_eq!(message, expected, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn bodies_that_are_not_json() {
    check_malformed(b"{\"Size\":", "Unexpected input at line: 1, column: 8");
    check_malformed(b"{}\n{}", "Unexpected input at line: 2, column: 1");
    check_malformed(b"{'Size':1}", "Unexpected input at line: 1, column: 2");
    check_malformed(b"\xef\xbb\xbf{}", "Unexpected input at line: 1, column: 1");
    check_malformed(b"{\"Name\":\"\xff\"}", "Unexpected input at line: 1, column: 10");
    check_malformed(br#"{"Name":"\ud800"}"#, "Unexpected input at line: 1, column: 16");
    check_malformed(b"{\"Weight\":1e999}", "Unexpected input at line: 1, column: 15");
    check_malformed(b"{\"Weight\":NaN}", "Unexpected input at line: 1, column: 11");
    for body in [&b"[]"[..], b"null", b"\"{}\"", b"17"] {
        check_malformed(body, "the body must be a JSON object.");
    }
}

#[test]
fn deep_bodies_are_refused_and_not_followed() {
    for (open, close) in [("{\"Left\":", "}"), ("{\"All\":[", "]}")] {
        let nested = |depth: usize| {
            let inner = format!("{}{{}}{}", open.repeat(depth), close.repeat(depth));
            make("rest", format!(r#"{{"Inner":{inner}}}"#).as_bytes())
        };
        assert_eq!(nested(50).status(), 201);
        assert_eq!(nested(200).status(), 400);
        assert_eq!(nested(100_000).status(), 400);
    }
}

#[test]
fn long_texts_are_read_and_counted() {
    let long = "ü".repeat(1 << 20);
    let response = make("rest", format!(r#"{{"Texts":["{long}"]}}"#).as_bytes());
    assert_eq!(seen(&response)["Texts"][0], long.as_str());
    let response = make("json", format!(r#"{{"Name":"{}"}}"#, "ü".repeat(141)).as_bytes());
    assert!(text(&response).contains(
        "'name' failed to satisfy constraint: Member must have length less than or equal to 140"
    ));
    let response = make("json", format!(r#"{{"Name":"{}"}}"#, "ü".repeat(140)).as_bytes());
    assert_eq!(response.status(), 200);
}

// --- The query protocol --------------------------------------------------------------------------------------------

#[test]
fn a_form_becomes_members() {
    let response = post_form(
        "Action=Make&Version=2020&Name=a+b%2Bc&Size=7&Flag=true&Weight=0.5&Texts.member.1=x&Texts.member.2=&Inner.Left.Text=l&Inner.All.member.1.Texts.member.1=deep&Stray=1",
    );
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-type"), Some("text/xml"));
    assert_eq!(
        text(&response),
        "<MakeResponse xmlns=\"https://query.example/doc/\"><MakeResult><Seen><Name>a b+c</Name><Size>7</Size><Weight>0.5</Weight><Flag>true</Flag><Texts><member>x</member><member></member></Texts><Inner><Text></Text></Inner></Seen></MakeResult><ResponseMetadata><RequestId>07070707-0707-4707-8707-070707070707</RequestId></ResponseMetadata></MakeResponse>"
            .replace(
                "<Inner><Text></Text></Inner>",
                "<Inner><Left><Text>l</Text></Left><All><member><Texts><member>deep</member></Texts></member></All></Inner>"
            )
    );
}

#[test]
fn forms_that_are_refused() {
    let check = |form: &str, code: &str, message: &str| {
        let response = post_form(&format!("Action=Make&{form}"));
        assert_eq!(response.status(), 400, "{form}");
        let body = text(&response);
        assert!(
            body.contains(&format!("<Code>{code}</Code><Message>{message}</Message>")),
            "{body}"
        );
    };
    let invalid = "A parameter is not a valid value";
    for form in
        ["Size=x", "Size=", "Size=99999999999999999999", "Flag=yes", "Weight=NaN", "Weight=inf"]
    {
        check(&format!("Name=n&{form}"), "SerializationException", invalid);
    }
    check(
        "Size=1",
        "ValidationError",
        "1 validation error detected: Value null at &apos;name&apos; failed to satisfy constraint: Member must not be null",
    );
    // The caller's text is escaped.
    check(
        &format!("Name={}", "%3C%26%3E".repeat(60)),
        "ValidationError",
        &format!(
            "1 validation error detected: Value &apos;{}&apos; at &apos;name&apos; failed to satisfy constraint: Member must have length less than or equal to 140",
            "&lt;&amp;&gt;".repeat(60)
        ),
    );
}

#[test]
fn a_form_of_a_shape_that_contains_itself() {
    // The reader follows the keys that are there, not the shape, which has no end.
    let deep = format!("Action=Make&Name=n&Inner.{}Text=t", "Left.".repeat(100));
    assert_eq!(post_form(&deep).status(), 200);
    let deeper = format!("Action=Make&Name=n&Inner.{}Text=t", "Right.".repeat(20_000));
    assert_eq!(post_form(&deeper).status(), 200);
}

// --- Answers -------------------------------------------------------------------------------------------------------

#[test]
fn successes() {
    let rest = test_service::rest();
    let response =
        answer(&rest, request("POST", "/things/t?mode=accepted", &["x-amz-kind: k"], b""));
    // The status and the header are members of the output, so they are not in the body.
    assert_eq!((response.status().as_u16(), text(&response)), (202, r#"{"Seen":"accepted"}"#));
    assert_eq!(header(&response, "x-kind"), Some("k"));
    assert_eq!(header(&response, "content-type"), Some("application/json"));
    let id = "07070707-0707-4707-8707-070707070707";
    assert_eq!(header(&response, "x-amzn-requestid"), Some(id));

    let response = answer(&rest, request("DELETE", "/things/t", &[], b""));
    assert_eq!((response.status().as_u16(), text(&response)), (204, ""));
    assert_eq!(header(&response, "content-type"), None);
    assert_eq!(header(&response, "x-amzn-requestid"), Some(id));

    let response = make("json", br#"{"Name":"t"}"#);
    assert_eq!((response.status().as_u16(), text(&response)), (200, r#"{"Seen":{"Name":"t"}}"#));
    assert_eq!(header(&response, "content-type"), Some("application/x-amz-json-1.1"));
    assert_eq!(header(&response, "x-amzn-requestid"), Some(id));
}

#[test]
fn an_output_cannot_write_headers_of_its_own() {
    let send = |name: &str| {
        let target = format!("/raw/{}", crate::percent::encode(name.as_bytes(), b""));
        answer(&test_service::rest(), request("POST", &target, &[], b"x"))
    };
    for evil in ["a\r\nset-cookie: b", "a\nb", "a\0b", "\u{7f}", "\r"] {
        let response = send(evil);
        assert_eq!(header(&response, "content-type"), Some("application/json"), "{evil:?}");
        assert_eq!(response.headers().len(), 2, "{evil:?}");
    }
    let split = request("POST", "/things/t?mode=split", &[], b"");
    let response = answer(&test_service::rest(), split);
    assert_eq!(header(&response, "x-split"), None);
    assert_eq!(response.headers().len(), 3, "{:?}", response.headers());
    assert_eq!(
        text(&response),
        r#"{"Type":"User","message":"a\r\nb"}"#.replace("message", "Message")
    );
}

#[test]
fn an_error_in_each_envelope() {
    let error = ApiError::new(&INVALID, "No <such> \"thing\" & more")
        .with_member("Reason", "Because")
        .with_header("retry-after", "7")
        .with_internal("row 17");
    let encode = |service| encode_error(service, Encoding::Own, cx().request_id, &error);

    let response = encode(&REST);
    assert_eq!(response.status(), 400);
    assert_eq!(
        text(&response),
        r#"{"Type":"User","Reason":"Because","Message":"No <such> \"thing\" & more"}"#
    );
    assert_eq!(header(&response, "x-amzn-errortype"), Some("InvalidThingException"));
    assert_eq!(header(&response, "retry-after"), Some("7"));

    let response = encode(&JSON);
    assert_eq!(
        text(&response),
        r#"{"__type":"InvalidThingException","Message":"No <such> \"thing\" & more","Reason":"Because"}"#
    );
    assert_eq!(header(&response, "content-type"), Some("application/x-amz-json-1.1"));

    let response = encode(&QUERY);
    assert_eq!(
        text(&response),
        "<ErrorResponse xmlns=\"https://query.example/doc/\"><Error><Type>Sender</Type><Code>InvalidThingException</Code><Message>No &lt;such&gt; &quot;thing&quot; &amp; more</Message></Error><RequestId>07070707-0707-4707-8707-070707070707</RequestId></ErrorResponse>"
    );
    for service in [&REST, &JSON, &QUERY] {
        let response = encode(service);
        assert_eq!(
            header(&response, "x-amzn-requestid"),
            Some("07070707-0707-4707-8707-070707070707")
        );
        assert!(!format!("{response:?}").contains("row 17"), "{response:?}");
    }
}

#[test]
fn a_fault_of_ours_says_nothing() {
    let error = ApiError::internal(&common::INTERNAL_FAILURE, "disk sda1 is full");
    for (service, fault) in [(&REST, ""), (&JSON, ""), (&QUERY, "<Type>Receiver</Type>")] {
        let response = encode_error(service, Encoding::Own, cx().request_id, &error);
        assert_eq!(response.status(), 500);
        assert!(text(&response).contains("An error occurred and the request cannot be processed."));
        assert!(text(&response).contains(fault));
        assert!(!format!("{response:?}").contains("sda1"));
    }
}

// --- Anything at all -----------------------------------------------------------------------------------------------

/// Bytes that come close to JSON, so that the generator reaches behind the parser.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "null",
        "true",
        "1",
        "-1.5e9",
        "2147483648",
        "1e999",
        "\"\"",
        "\"Name\"",
        "\"Size\"",
        "\"Big\"",
        "\"Data\"",
        "\"When\"",
        "\"Texts\"",
        "\"Labels\"",
        "\"Inner\"",
        "\"All\"",
        "\"Left\"",
        "\"mode\"",
        "\"\\ud800\"",
        " ",
    ]);
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat().into_bytes())
}

/// Any JSON value under the member names of the shape.
fn any_members() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "Name",
        "Size",
        "Count",
        "Big",
        "Weight",
        "Flag",
        "Data",
        "When",
        "Texts",
        "Labels",
        "Inner",
        "All",
        "Left",
        "Text",
        "limit",
        "X-Amz-Kind",
    ]);
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..8).prop_map(|pairs| {
                Value::Object(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
            }),
        ]
    })
}

/// No request is our fault.
fn check_any(body: &[u8]) {
    for protocol in ["rest", "json"] {
        let response = make(protocol, body);
        assert!(response.status().as_u16() < 500, "{protocol} {body:?}: {response:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(body in any::<Vec<u8>>()) {
        check_any(&body);
    }

    #[test]
    fn no_tokens_panic(body in nearly_json()) {
        check_any(&body);
    }

    #[test]
    fn no_value_panics(value in any_members()) {
        check_any(value.to_string().as_bytes());
    }

    #[test]
    fn no_form_panics(body in any::<Vec<u8>>(), form in "(Name|Size|Texts|Inner|Labels|Data|\\.member\\.|[0-9]|\\.|=|&|%[0-9a-fG]{0,2}|\\+){0,40}") {
        for body in [body, form.into_bytes()] {
            let mut form = b"Action=Make&".to_vec();
            form.extend_from_slice(&body);
            let response = answer(&test_service::query(), request("POST", "/", &[], &form));
            prop_assert!(response.status().as_u16() < 500, "{response:?}");
        }
    }

    #[test]
    fn no_path_query_or_header_panics(name in "[!-.0-~]{1,30}", query in "[!-~]{0,60}", kind in any::<Vec<u8>>()) {
        let name = crate::percent::encode(name.as_bytes(), b"%");
        let target = format!("/things/n{name}?{query}");
        let Ok(target) = target.parse::<http::Uri>() else { return Ok(()) };
        let mut request = request("POST", "/", &[], b"");
        *request.uri_mut() = target;
        if let Ok(kind) = HeaderValue::from_bytes(&kind) {
            request.headers_mut().insert("x-amz-kind", kind);
        }
        let (parts, body) = request.into_parts();
        let table = test_service::rest();
        if let Some((operation, labels)) = table.route(&parts, &body)
            && !query.contains("mode") {
            let _ = run(table.call(&cx(), operation, &parts, &labels, &body));
        }
    }
}
