//! Validation messages against AWS's recorded words.

use serde_json::json;

use super::*;
use crate::{Location, Member};

static NAME: Shape = Shape {
    name: "Name",
    kind: Kind::String { min: Some(1), max: Some(5), pattern: Some("[a-z]+"), values: &[] },
    sensitive: false,
};
static SECRET: Shape = Shape {
    name: "Secret",
    kind: Kind::String { min: None, max: Some(2), pattern: None, values: &[] },
    sensitive: true,
};
static MODE: Shape = Shape {
    name: "Mode",
    kind: Kind::String { min: None, max: None, pattern: None, values: &["A", "B"] },
    sensitive: false,
};
static SIZE: Shape = Shape {
    name: "Size",
    kind: Kind::Integer { long: false, min: Some(128), max: Some(256) },
    sensitive: false,
};
static WEIGHT: Shape = Shape {
    name: "Weight",
    kind: Kind::Double { min: Some(0.0), max: Some(1.0) },
    sensitive: false,
};
static NAMES: Shape = Shape {
    name: "Names",
    kind: Kind::List { member: &NAME, min: None, max: Some(2) },
    sensitive: false,
};
static WEIGHTS: Shape = Shape {
    name: "Weights",
    kind: Kind::Map { key: &MODE, value: &WEIGHT, min: None, max: None },
    sensitive: false,
};
static INNER: Shape = Shape {
    name: "Inner",
    kind: Kind::Structure { members: &[body("Names", &NAMES)] },
    sensitive: false,
};
static INNERS: Shape = Shape {
    name: "Inners",
    kind: Kind::List { member: &INNER, min: None, max: None },
    sensitive: false,
};
static REQUEST: Shape = Shape {
    name: "Request",
    kind: Kind::Structure {
        members: &[
            Member {
                name: "Name",
                wire: "Name",
                location: Location::Uri,
                required: true,
                shape: &NAME,
            },
            body("Size", &SIZE),
            body("Mode", &MODE),
            body("Secret", &SECRET),
            body("Config", &INNER),
            body("Weights", &WEIGHTS),
            body("Inners", &INNERS),
        ],
    },
    sensitive: false,
};

const fn body(name: &'static str, shape: &'static Shape) -> Member {
    Member { name, wire: name, location: Location::Body, required: false, shape }
}

fn check(value: &Value, expected: Option<&str>) {
    assert_eq!(violations(&REQUEST, value).as_deref(), expected);
}

#[test]
fn nothing_to_say() {
    check(&json!({"Name": "ab", "Size": 128, "Mode": "A", "Config": {"Names": ["x"]}}), None);
    check(&json!({"Name": "ab", "Size": null}), None);
}

#[test]
fn one_violation() {
    check(
        &json!({"Name": "ab", "Size": 64}),
        Some(
            "1 validation error detected: Value '64' at 'size' failed to satisfy constraint: Member must have value greater than or equal to 128",
        ),
    );
    check(
        &json!({}),
        Some(
            "1 validation error detected: Value null at 'name' failed to satisfy constraint: Member must not be null",
        ),
    );
}

#[test]
fn all_violations_are_counted() {
    check(
        &json!({"Name": "ABCDEF", "Mode": "C"}),
        Some(
            "3 validation errors detected: Value 'ABCDEF' at 'name' failed to satisfy constraint: Member must have length less than or equal to 5; Value 'ABCDEF' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-z]+; Value 'C' at 'mode' failed to satisfy constraint: Member must satisfy enum value set: [A, B]",
        ),
    );
}

#[test]
fn entries_of_lists_and_maps() {
    check(
        &json!({"Name": "a", "Config": {"Names": ["x", "Y"]}}),
        Some(
            "1 validation error detected: Value '[x, Y]' at 'config.names' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 5, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [a-z]+, Member must not be null]",
        ),
    );
    check(
        &json!({"Name": "a", "Weights": {"A": 2.0}}),
        Some(
            "1 validation error detected: Value '{A=2.0}' at 'weights' failed to satisfy constraint: Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]",
        ),
    );
    check(
        &json!({"Name": "a", "Inners": [{}, {"Names": ["a", "b", "c"]}]}),
        Some(
            "1 validation error detected: Value '[a, b, c]' at 'inners.2.member.names' failed to satisfy constraint: Member must have length less than or equal to 2",
        ),
    );
}

#[test]
fn a_sensitive_value_is_not_shown() {
    check(
        &json!({"Name": "a", "Secret": "hush"}),
        Some(
            "1 validation error detected: Value at 'secret' failed to satisfy constraint: Member must have length less than or equal to 2",
        ),
    );
}

/// A shape of one member, checked on its own.
fn check_member(shape: &'static Shape, value: &Value, expected: Option<&str>) {
    let mut found = Vec::new();
    visit(shape, value, "it", &mut found, 0);
    assert_eq!(found.first().map(String::as_str), expected, "{value}");
}

const fn string(name: &'static str, pattern: &'static str) -> Shape {
    let kind = Kind::String { min: None, max: None, pattern: Some(pattern), values: &[] };
    Shape { name, kind, sensitive: false }
}

#[test]
fn recorded_messages_of_lambda() {
    static QUALIFIER: Shape = string("Qualifier", r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+");
    static ROUTING: Shape = Shape {
        name: "AliasRoutingConfiguration",
        kind: Kind::Structure { members: &[body("AdditionalVersionWeights", &VERSION_WEIGHTS)] },
        sensitive: false,
    };
    static VERSION_WEIGHTS: Shape = Shape {
        name: "AdditionalVersionWeights",
        kind: Kind::Map { key: &VERSION, value: &WEIGHT, min: None, max: None },
        sensitive: false,
    };
    static VERSION: Shape = string("AdditionalVersion", "[0-9]+");
    static ALIAS: Shape = Shape {
        name: "UpdateAliasRequest",
        kind: Kind::Structure {
            members: &[body("Qualifier", &QUALIFIER), body("RoutingConfig", &ROUTING)],
        },
        sensitive: false,
    };
    let check = |value: Value, expected: Option<&str>| {
        assert_eq!(violations(&ALIAS, &value).as_deref(), expected, "{value}");
    };
    check(
        json!({"Qualifier": "x?"}),
        Some(
            r"1 validation error detected: Value 'x?' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: \$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+",
        ),
    );
    for qualifier in ["$LATEST", "$LATEST.PUBLISHED", "1", "live", "a-_$"] {
        check(json!({ "Qualifier": qualifier }), None);
    }
    check(
        json!({"RoutingConfig": {"AdditionalVersionWeights": {"2": 2.0}}}),
        Some(
            "1 validation error detected: Value '{2=2.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]",
        ),
    );
    check(
        json!({"RoutingConfig": {"AdditionalVersionWeights": {"x": 0.5}}}),
        Some(
            "1 validation error detected: Value '{x=0.5}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [0-9]+, Member must not be null]",
        ),
    );
}

#[test]
fn a_pattern_holds_for_the_whole_text() {
    static EITHER: Shape = string("Either", "a|b+");
    let refused = |text: &str| {
        format!(
            "Value '{text}' at 'it' failed to satisfy constraint: Member must satisfy regular expression pattern: a|b+"
        )
    };
    for text in ["a", "b", "bbb"] {
        check_member(&EITHER, &json!(text), None);
    }
    for text in ["", "ab", "xa", "bx", "a\n", "a\nb"] {
        check_member(&EITHER, &json!(text), Some(&refused(text)));
    }
    // A pattern of Java's dialect that does not compile here, or that runs wild, is not held against the caller.
    static BROKEN: Shape = string("Broken", "[");
    check_member(&BROKEN, &json!("x"), None);
    static WILD: Shape = string("Wild", r"(?=a)(a|a)*\1c");
    check_member(&WILD, &json!("a".repeat(64)), None);
}

#[test]
fn the_bounds_are_inclusive() {
    for (shape, good, bad) in [
        (&SIZE, [json!(128), json!(256)], [json!(127), json!(257)]),
        (&WEIGHT, [json!(0), json!(1.0)], [json!(-0.1), json!(1.1)]),
        (&NAME, [json!("a"), json!("abcde")], [json!(""), json!("abcdef")]),
        (&NAMES, [json!([]), json!(["a", "b"])], [json!(["a", "b", "c"]), json!([null])]),
    ] {
        for value in good {
            check_member(shape, &value, None);
        }
        for value in bad {
            let mut found = Vec::new();
            visit(shape, &value, "it", &mut found, 0);
            assert!(!found.is_empty(), "{value}");
        }
    }
}

#[test]
fn nothing_sensitive_is_shown_inside_something_else() {
    static SECRETS: Shape = Shape {
        name: "Secrets",
        kind: Kind::List { member: &SECRET, min: None, max: Some(1) },
        sensitive: false,
    };
    static BY_NAME: Shape = Shape {
        name: "ByName",
        kind: Kind::Map { key: &NAME, value: &SECRET, min: None, max: Some(1) },
        sensitive: false,
    };
    static HIDDEN: Shape = Shape {
        name: "Hidden",
        kind: Kind::Map { key: &NAME, value: &WEIGHT, min: None, max: None },
        sensitive: true,
    };
    static PAIRS: Shape = Shape {
        name: "Pairs",
        kind: Kind::List { member: &PAIR, min: None, max: Some(1) },
        sensitive: false,
    };
    static PAIR: Shape = Shape {
        name: "Pair",
        kind: Kind::Structure { members: &[body("Secret", &SECRET)] },
        sensitive: false,
    };
    for (shape, value) in [
        (&SECRETS, json!(["a", "hush"])),
        (&SECRETS, json!(["hush"])),
        (&BY_NAME, json!({"a": "hush"})),
        (&BY_NAME, json!({"hush": "a", "HUSH": "b"})),
        (&HIDDEN, json!({"hush": 2.0})),
        (&HIDDEN, json!({"HUSH": 0.5})),
        (&PAIRS, json!([{"Secret": "a"}, {"Secret": "hush"}])),
    ] {
        let mut found = Vec::new();
        visit(shape, &value, "it", &mut found, 0);
        assert!(!found.is_empty(), "{value}");
        for text in found {
            assert!(text.starts_with("Value at 'it"), "{text}");
            assert!(!text.to_lowercase().contains("hush"), "{text}");
        }
    }
}

#[test]
fn a_raw_payload_is_there_even_if_it_is_empty() {
    static BLOB: Shape =
        Shape { name: "Blob", kind: Kind::Blob { min: Some(1), max: Some(2) }, sensitive: false };
    static POST: Shape = Shape {
        name: "PostToConnectionRequest",
        kind: Kind::Structure {
            members: &[Member {
                name: "Data",
                wire: "Data",
                location: Location::Payload,
                required: true,
                shape: &BLOB,
            }],
        },
        sensitive: false,
    };
    assert_eq!(violations(&POST, &json!({})), None);
}

#[test]
fn capitals_inside_a_name_stay() {
    assert_eq!(lower_camel("KMSKeyArn"), "kMSKeyArn");
    assert_eq!(lower_camel("s3Key"), "s3Key");
    assert_eq!(lower_camel(""), "");
}
