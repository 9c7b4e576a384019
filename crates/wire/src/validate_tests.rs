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
