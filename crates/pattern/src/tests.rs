//! What matches what: EventBridge's documented cases, and properties that hold of all patterns.

use proptest::prelude::*;

use crate::{BadPattern, Fields, Pattern, Wants};

fn matches(pattern: &str, event: &str) -> bool {
    let compiled = Pattern::parse(pattern).unwrap_or_else(|bad| panic!("{pattern}: {bad}"));
    compiled.matches(&Fields::parse(event).unwrap())
}

/// Every event of the first list matches, none of the second.
fn check(pattern: &str, yes: &[&str], no: &[&str]) {
    for event in yes {
        assert!(matches(pattern, event), "{pattern} has to match {event}");
    }
    for event in no {
        assert!(!matches(pattern, event), "{pattern} must not match {event}");
    }
}

#[test]
fn plain_values() {
    check(
        r#"{"a": ["x", 300, true, null, ""]}"#,
        &[
            r#"{"a":"x"}"#,
            r#"{"a":300}"#,
            r#"{"a":true}"#,
            r#"{"a":null}"#,
            r#"{"a":""}"#,
            r#"{"a":"\u0078"}"#,
        ],
        &[
            r#"{"a":"y"}"#,
            r#"{"a":300.0}"#,
            r#"{"a":3.0e2}"#,
            r#"{"a":false}"#,
            r#"{"b":"x"}"#,
            "{}",
            r#"{"a":{"x":1}}"#,
            r#"{"a":"300"}"#,
        ],
    );
    check(r#"{"a": ["last"], "a": ["first"]}"#, &[r#"{"a":"first"}"#], &[r#"{"a":"last"}"#]);
    check(r#"{"a": ["x"]}"#, &[r#"{"a":"y","a":"x"}"#], &[r#"{"a":"x","a":"y"}"#]);
}

#[test]
fn arrays_and_objects() {
    check(
        r#"{"a": ["x"]}"#,
        &[r#"{"a":["y","x"]}"#, r#"{"a":[["x"]]}"#],
        &[r#"{"a":[]}"#, r#"{"a":["y"]}"#],
    );
    check(
        r#"{"a": {"b": ["x"], "c": [1]}}"#,
        &[r#"{"a":{"b":"x","c":1}}"#, r#"{"a":[{"b":"y"},{"b":"x","c":1}]}"#],
        // Two elements do not match together.
        &[r#"{"a":[{"b":"x","c":2},{"b":"y","c":1}]}"#, r#"{"a":"x"}"#, "{}"],
    );
}

#[test]
fn operators_on_strings() {
    check(
        r#"{"a": [{"prefix": "ab"}]}"#,
        &[r#"{"a":"abc"}"#],
        &[r#"{"a":"Abc"}"#, r#"{"a":1}"#, "{}"],
    );
    check(r#"{"a": [{"suffix": "bc"}]}"#, &[r#"{"a":"abc"}"#], &[r#"{"a":"bcd"}"#]);
    check(
        r#"{"a": [{"prefix": {"equals-ignore-case": "AB"}}]}"#,
        &[r#"{"a":"aBc"}"#],
        &[r#"{"a":"bac"}"#],
    );
    check(
        r#"{"a": [{"suffix": {"equals-ignore-case": "BC"}}]}"#,
        &[r#"{"a":"aBc"}"#],
        &[r#"{"a":"bcd"}"#],
    );
    check(
        r#"{"a": [{"equals-ignore-case": "Straße"}]}"#,
        &[r#"{"a":"STRAßE"}"#],
        &[r#"{"a":"strasse"}"#],
    );
    check(
        r#"{"a": [{"wildcard": "dir/*.png"}]}"#,
        &[r#"{"a":"dir/x/y.png"}"#, r#"{"a":"dir/.png"}"#],
        &[r#"{"a":"dir/x.jpg"}"#, r#"{"a":"other/dir/x.png"}"#],
    );
    check(
        r#"{"a": [{"wildcard": "*a*a"}]}"#,
        &[r#"{"a":"aa"}"#, r#"{"a":"bacada"}"#],
        &[r#"{"a":"a"}"#, r#"{"a":"aab"}"#],
    );
    check(r#"{"a": [{"wildcard": "1\\*2\\\\*"}]}"#, &[r#"{"a":"1*2\\x"}"#], &[r#"{"a":"1x2\\x"}"#]);
}

#[test]
fn numbers_by_value() {
    check(
        r#"{"a": [{"numeric": ["=", 300]}]}"#,
        &[r#"{"a":300.0}"#, r#"{"a":3e2}"#],
        &[r#"{"a":"300"}"#, r#"{"a":301}"#],
    );
    check(
        r#"{"a": [{"numeric": [">", 0, "<=", 5]}]}"#,
        &[r#"{"a":5}"#, r#"{"a":0.1}"#],
        &[r#"{"a":0}"#, r#"{"a":5.1}"#, "{}"],
    );
    check(r#"{"a": [{"numeric": ["<", 10]}]}"#, &[r#"{"a":-3}"#], &[r#"{"a":10}"#]);
}

#[test]
fn addresses() {
    check(
        r#"{"ip": [{"cidr": "10.0.0.0/24"}]}"#,
        &[r#"{"ip":"10.0.0.255"}"#],
        &[r#"{"ip":"10.0.1.0"}"#, r#"{"ip":"x"}"#, r#"{"ip":"::1"}"#],
    );
    check(r#"{"ip": [{"cidr": "0.0.0.0/0"}]}"#, &[r#"{"ip":"255.1.2.3"}"#], &[r#"{"ip":"::1"}"#]);
    check(
        r#"{"ip": [{"cidr": "2001:db8::/32"}]}"#,
        &[r#"{"ip":"2001:db8:1::1"}"#],
        &[r#"{"ip":"2001:db9::1"}"#],
    );
}

#[test]
fn existence_is_about_leaves() {
    check(
        r#"{"a": [{"exists": true}]}"#,
        &[r#"{"a":null}"#, r#"{"a":["x"]}"#],
        &["{}", r#"{"a":{"b":1}}"#, r#"{"a":[]}"#],
    );
    check(
        r#"{"a": [{"exists": false}]}"#,
        &["{}", r#"{"a":{"b":1}}"#],
        &[r#"{"a":1}"#, r#"{"a":null}"#],
    );
    check(
        r#"{"a": {"b": [{"exists": false}]}}"#,
        &["{}", r#"{"a":{}}"#, r#"{"a":1}"#, r#"{"a":{"c":1}}"#],
        &[r#"{"a":{"b":1}}"#],
    );
    check(r#"{"a": [{"exists": false}, "x"]}"#, &["{}", r#"{"a":"x"}"#], &[r#"{"a":"y"}"#]);
}

#[test]
fn anything_but() {
    check(
        r#"{"a": [{"anything-but": "x"}]}"#,
        &[r#"{"a":"y"}"#, r#"{"a":1}"#, r#"{"a":null}"#, r#"{"a":["x","y"]}"#],
        &[r#"{"a":"x"}"#, "{}", r#"{"a":{"b":1}}"#],
    );
    check(r#"{"a": [{"anything-but": [1, 2]}]}"#, &[r#"{"a":3}"#], &[r#"{"a":1}"#, r#"{"a":2}"#]);
    check(
        r#"{"a": [{"anything-but": {"prefix": "in"}}]}"#,
        &[r#"{"a":"out"}"#],
        &[r#"{"a":"init"}"#],
    );
    check(
        r#"{"a": [{"anything-but": {"prefix": ["in", "out"]}}]}"#,
        &[r#"{"a":"x"}"#],
        &[r#"{"a":"outer"}"#],
    );
    check(
        r#"{"a": [{"anything-but": {"suffix": ".txt"}}]}"#,
        &[r#"{"a":"x.md"}"#],
        &[r#"{"a":"x.txt"}"#],
    );
    check(
        r#"{"a": [{"anything-but": {"equals-ignore-case": ["A", "b"]}}]}"#,
        &[r#"{"a":"c"}"#],
        &[r#"{"a":"a"}"#, r#"{"a":"B"}"#],
    );
    check(
        r#"{"a": [{"anything-but": {"wildcard": "*/lib/*"}}]}"#,
        &[r#"{"a":"/src/x"}"#],
        &[r#"{"a":"/lib/x"}"#],
    );
}

#[test]
fn alternatives() {
    check(
        r#"{"s": ["x"], "$or": [{"a": [1]}, {"b": {"c": [2]}}]}"#,
        &[r#"{"s":"x","a":1}"#, r#"{"s":"x","b":{"c":2}}"#],
        &[r#"{"a":1}"#, r#"{"s":"x"}"#, r#"{"s":"x","a":2}"#],
    );
    check(
        r#"{"d": {"$or": [{"a": [1]}, {"b": [{"exists": false}]}]}}"#,
        &[r#"{"d":{"a":1,"b":1}}"#, "{}"],
        &[r#"{"d":{"b":1}}"#],
    );
}

#[test]
fn what_is_wanted_of_a_field() {
    let pattern =
        Pattern::parse(r#"{"body": {"a": [1]}, "$or": [{"x": ["1"]}, {"y": ["2"]}]}"#).unwrap();
    assert_eq!(pattern.wants("body"), Some(Wants::Object));
    assert_eq!(pattern.wants("y"), Some(Wants::Value));
    assert_eq!(pattern.wants("a"), None);
}

#[test]
fn what_is_no_pattern() {
    let deep = format!("{}[1]{}", r#"{"a":"#.repeat(65), "}".repeat(65));
    for (text, bad) in [
        ("", BadPattern::NotAnObject),
        ("x", BadPattern::NotAnObject),
        ("[]", BadPattern::NotAnObject),
        (r#""text""#, BadPattern::NotAnObject),
        ("{}", BadPattern::EmptyObject),
        (r#"{"a": {}}"#, BadPattern::EmptyObject),
        (r#"{"a": "x"}"#, BadPattern::NotAnArray),
        (r#"{"a": 1}"#, BadPattern::NotAnArray),
        (r#"{"a": null}"#, BadPattern::NotAnArray),
        (r#"{"a": []}"#, BadPattern::NoCondition),
        (r#"{"a": [[1]]}"#, BadPattern::BadCondition),
        (r#"{"a": [{}]}"#, BadPattern::BadCondition),
        (r#"{"a": [{"unknown": 1}]}"#, BadPattern::BadCondition),
        (r#"{"a": [{"prefix": 1}]}"#, BadPattern::BadCondition),
        (r#"{"a": [{"prefix": "x", "suffix": "y"}]}"#, BadPattern::BadCondition),
        (r#"{"a": [{"exists": "true"}]}"#, BadPattern::BadCondition),
        (r#"{"a": [{"numeric": []}]}"#, BadPattern::BadCondition),
        (r#"{"a": [{"numeric": [">", "1"]}]}"#, BadPattern::BadCondition),
        (r#"{"a": [{"numeric": ["<", 1, ">", 2]}]}"#, BadPattern::BadCondition),
        (r#"{"a": [{"numeric": [">", 2, "<", 1]}]}"#, BadPattern::BadCondition),
        (r#"{"a": [{"numeric": ["=", 5000000001]}]}"#, BadPattern::BadCondition),
        (r#"{"a": [{"anything-but": []}]}"#, BadPattern::BadCondition),
        (r#"{"a": [{"anything-but": ["x", 1]}]}"#, BadPattern::BadCondition),
        (r#"{"a": [{"anything-but": {"numeric": ["=", 1]}}]}"#, BadPattern::BadCondition),
        (r#"{"a": [{"cidr": "10.0.0.0/33"}]}"#, BadPattern::BadCondition),
        (r#"{"a": [{"cidr": "10.0.0.0"}]}"#, BadPattern::BadCondition),
        (r#"{"a": [{"wildcard": "a**b"}]}"#, BadPattern::BadCondition),
        (r#"{"a": [{"wildcard": "a\\b"}]}"#, BadPattern::BadCondition),
        (r#"{"$or": [{"a": [1]}]}"#, BadPattern::BadCondition),
        (r#"{"$or": [1, 2]}"#, BadPattern::BadCondition),
        (deep.as_str(), BadPattern::TooDeep),
    ] {
        assert_eq!(Pattern::parse(text), Err(bad), "{text}");
    }
    let long = format!(r#"{{"a": ["{}"]}}"#, "x".repeat(4_096));
    assert_eq!(Pattern::parse(&long), Err(BadPattern::TooLong));
}

/// Any JSON of a few levels.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Into::into),
        "[a-c*\\\\\"é]{0,4}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map("[a-c]{1,2}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// The pattern that names all leaves of an object, or `None` where a leaf cannot be named.
fn pattern_of(event: &serde_json::Value) -> Option<serde_json::Value> {
    match event {
        serde_json::Value::Object(map) if !map.is_empty() => {
            let fields: Option<serde_json::Map<_, _>> =
                map.iter().map(|(name, value)| Some((name.clone(), pattern_of(value)?))).collect();
            fields.map(Into::into)
        }
        serde_json::Value::Object(_) | serde_json::Value::Array(_) => None,
        leaf => Some(serde_json::Value::Array(vec![leaf.clone()])),
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,80}", event in json()) {
        if let Ok(pattern) = Pattern::parse(&text) {
            let event = event.to_string();
            if let Some(event) = Fields::parse(&event) {
                pattern.matches(&event);
            }
        }
    }

    #[test]
    fn json_as_pattern_never_panics(pattern in json(), event in json()) {
        let (pattern, event) = (pattern.to_string(), event.to_string());
        if let (Ok(pattern), Some(event)) = (Pattern::parse(&pattern), Fields::parse(&event)) {
            pattern.matches(&event);
        }
    }

    #[test]
    fn an_event_matches_the_pattern_of_itself(event in json()) {
        if let Some(pattern) = pattern_of(&event).filter(serde_json::Value::is_object) {
            prop_assert!(matches(&pattern.to_string(), &event.to_string()));
        }
    }

    #[test]
    fn of_a_value_and_anything_but_it_one_matches(text in "[a-c*\\\\é]{0,5}", other in "[a-c*\\\\é]{0,5}") {
        let quoted = serde_json::Value::from(text.as_str()).to_string();
        let event = format!(r#"{{"a":{}}}"#, serde_json::Value::from(other));
        for operator in ["prefix", "suffix", "equals-ignore-case"] {
            let plain = matches(&format!(r#"{{"a":[{{"{operator}":{quoted}}}]}}"#), &event);
            let not = matches(&format!(r#"{{"a":[{{"anything-but":{{"{operator}":{quoted}}}}}]}}"#), &event);
            prop_assert_ne!(plain, not);
        }
    }

    #[test]
    fn wildcards_match_what_they_are_made_of(parts in proptest::collection::vec("[ab]{1,3}", 1..4), filler in "[a-c]{0,4}") {
        let text = serde_json::Value::from(parts.join(&filler));
        let pattern = format!(r#"{{"a":[{{"wildcard":"{}"}}]}}"#, parts.join("*"));
        let event = format!(r#"{{"a":{text}}}"#);
        prop_assert!(matches(&pattern, &event));
    }
}
