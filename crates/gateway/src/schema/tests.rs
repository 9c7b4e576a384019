//! Schemas against values.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Models, Schema};

fn fits(schema: &Value, value: &Value) -> bool {
    let schema = Schema::compile(&schema.to_string(), &Models::new());
    schema.unwrap_or_else(|why| panic!("{why}")).check(value).is_ok()
}

#[test]
fn every_keyword() {
    for (schema, good, bad) in [
        (json!({"type": "object"}), json!({}), json!([])),
        (json!({"type": ["string", "null"]}), json!(null), json!(1)),
        (json!({"type": "integer"}), json!(1), json!(1.5)),
        (json!({"type": "number"}), json!(1), json!("1")),
        (json!({"enum": [1, "a"]}), json!(1.0), json!("b")),
        (json!({"minimum": 1}), json!(1), json!(0)),
        (json!({"minimum": 1, "exclusiveMinimum": true}), json!(1.1), json!(1)),
        (json!({"maximum": 1}), json!("text"), json!(2)),
        (json!({"maximum": 1, "exclusiveMaximum": true}), json!(0), json!(1)),
        (json!({"multipleOf": 0.1}), json!(0.3), json!(0.35)),
        (json!({"minLength": 2, "maxLength": 3}), json!("üü"), json!("ü")),
        (json!({"pattern": "^a+$"}), json!("aa"), json!("ab")),
        (json!({"minItems": 1, "maxItems": 2}), json!([1]), json!([1, 2, 3])),
        (json!({"uniqueItems": true}), json!([1, 2]), json!([1, 1])),
        (json!({"items": {"type": "string"}}), json!(["a"]), json!(["a", 1])),
        (
            json!({"items": [{"type": "string"}], "additionalItems": false}),
            json!(["a"]),
            json!(["a", 1]),
        ),
        (
            json!({"items": [{}], "additionalItems": {"type": "null"}}),
            json!([1, null]),
            json!([1, 1]),
        ),
        (json!({"required": ["a"]}), json!({"a": null}), json!({"b": 1})),
        (json!({"minProperties": 1, "maxProperties": 1}), json!({"a": 1}), json!({})),
        (json!({"properties": {"a": {"type": "string"}}}), json!({"b": 1}), json!({"a": 1})),
        (
            json!({"additionalProperties": false, "properties": {"a": {}}}),
            json!({"a": 1}),
            json!({"b": 1}),
        ),
        (json!({"additionalProperties": {"type": "null"}}), json!({"a": null}), json!({"a": 1})),
        (
            json!({"patternProperties": {"^x": {"type": "null"}}, "additionalProperties": false}),
            json!({"xy": null}),
            json!({"xy": 1}),
        ),
        (json!({"dependencies": {"a": ["b"]}}), json!({"b": 1}), json!({"a": 1})),
        (
            json!({"dependencies": {"a": {"required": ["b"]}}}),
            json!({"a": 1, "b": 1}),
            json!({"a": 1}),
        ),
        (json!({"allOf": [{"type": "object"}, {"required": ["a"]}]}), json!({"a": 1}), json!({})),
        (json!({"anyOf": [{"type": "null"}, {"type": "string"}]}), json!("a"), json!(1)),
        (json!({"oneOf": [{"type": "number"}, {"minimum": 5}]}), json!(1), json!(6)),
        (json!({"not": {"type": "null"}}), json!(1), json!(null)),
        (
            json!({"definitions": {"node": {"type": "object", "properties": {"next": {"$ref": "#/definitions/node"}}}}, "$ref": "#/definitions/node"}),
            json!({"next": {"next": {}}}),
            json!({"next": {"next": 1}}),
        ),
        (
            json!({"properties": {"a": {"$ref": "#"}}, "additionalProperties": false}),
            json!({"a": {"a": {}}}),
            json!({"a": {"b": 1}}),
        ),
    ] {
        assert!(fits(&schema, &good), "{good} fits {schema}");
        assert!(!fits(&schema, &bad), "{bad} does not fit {schema}");
    }
    assert!(fits(
        &json!({"format": "int32", "default": 1, "example": 2, "nullable": true}),
        &json!("x")
    ));
}

#[test]
fn models_refer_to_each_other() {
    let pet = json!({"type": "object", "required": ["name"], "properties": {"owner": {"$ref": "#/definitions/o"}}, "definitions": {"o": {"type": "string"}}});
    let pet = pet.to_string();
    let models = Models::from([("Pet", pet.as_str())]);
    let list = json!({"type": "array", "items": {"$ref": "https://apigateway.amazonaws.com/restapis/abc/models/Pet"}});
    let list = Schema::compile(&list.to_string(), &models).unwrap();
    assert_eq!(list.check(&json!([{"name": "a", "owner": "b"}])), Ok(()));
    assert_eq!(
        list.check(&json!([{"owner": "b"}])),
        Err("object has missing required properties ([\"name\"])".to_owned())
    );
    assert!(
        list.check(&json!([{"name": "a", "owner": 1}])).is_err(),
        "what a model refers to is in that model"
    );
}

#[test]
fn what_is_no_schema() {
    for schema in [
        json!([]),
        json!({"type": "text"}),
        json!({"type": 1}),
        json!({"properties": []}),
        json!({"items": 1}),
        json!({"pattern": "("}),
        json!({"required": "a"}),
        json!({"minLength": -1}),
        json!({"allOf": []}),
        json!({"$ref": "#/none"}),
        json!({"$ref": "#"}),
        json!({"$ref": "https://example.com/x"}),
        json!({"$ref": "https://apigateway.amazonaws.com/restapis/a/models/None"}),
        json!({"enum": 1}),
        json!({"multipleOf": 0}),
        json!({"minimum": "1"}),
        json!({"dependencies": {"a": [1]}}),
    ] {
        assert!(Schema::compile(&schema.to_string(), &Models::new()).is_err(), "{schema}");
    }
    assert!(Schema::compile("{", &Models::new()).is_err());
}

#[test]
fn a_check_is_bounded() {
    let exponential = json!({"definitions": {"a": {"anyOf": [{"items": {"$ref": "#/definitions/a"}, "minItems": 1}, {"items": {"$ref": "#/definitions/a"}, "minItems": 1}]}}, "$ref": "#/definitions/a"});
    let mut deep = json!(1);
    for _ in 0..40 {
        deep = json!([deep, deep_end()]);
    }
    let schema = Schema::compile(&exponential.to_string(), &Models::new()).unwrap();
    assert!(schema.check(&deep).is_err());
}

fn deep_end() -> Value {
    json!([])
}

proptest! {
    #[test]
    fn hostile_schemas_do_no_harm(keyword in prop::sample::select(vec!["type", "enum", "items", "properties", "allOf", "not", "$ref", "required", "pattern"]), value in "[\\[\\]{}\":,#/a-c0-9]{0,20}") {
        let text = format!("{{\"{keyword}\": {value}}}");
        if let Ok(schema) = Schema::compile(&text, &Models::new()) {
            let _ = schema.check(&json!({"a": [1, "b", null]}));
        }
    }
}
