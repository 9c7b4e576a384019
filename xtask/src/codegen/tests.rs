//! Tests of the generator's own parts; what it writes is tested in `gatemill-api`.

use std::{fs, path::Path};

use super::{Files, compare, config::Action, emit, model::Model, names, write};

#[test]
fn names_are_cut_where_people_would() {
    for (name, snake) in [
        ("FunctionName", "function_name"),
        ("KMSKeyArn", "kms_key_arn"),
        ("CodeSha256", "code_sha256"),
        ("S3ObjectVersion", "s3_object_version"),
        ("Ipv6AllowedForDualStack", "ipv6_allowed_for_dual_stack"),
        ("ProviderARNs", "provider_arns"),
        ("restApiId", "rest_api_id"),
        ("__listOf__string", "list_of_string"),
        ("__stringMin1Max64", "string_min1_max64"),
        ("URI", "uri"),
    ] {
        assert_eq!(names::snake(name), snake);
    }
    assert_eq!(names::field("Type"), "r#type");
    assert_eq!(names::field("Self"), "self_");
    assert_eq!(names::structure("__Cors"), "Cors");
}

#[test]
fn actions_follow_the_method_the_name_or_the_exception() {
    let named = Action::Named { prefix: "lambda", except: &[("Invoke", "lambda:InvokeFunction")] };
    assert_eq!(named.of("Invoke", "POST"), "lambda:InvokeFunction");
    assert_eq!(named.of("GetFunction", "GET"), "lambda:GetFunction");
    assert_eq!(Action::Method { prefix: "apigateway" }.of("GetApi", "GET"), "apigateway:GET");
    assert_eq!(
        Action::Fixed("execute-api:ManageConnections").of("GetConnection", "GET"),
        "execute-api:ManageConnections"
    );
}

/// A model in which a structure holds itself, a payload is raw, and a label is a keyword.
const MODEL: &str = r#"{
    "metadata": { "apiVersion": "1", "endpointPrefix": "toy", "protocol": "rest-json" },
    "operations": {
        "PutToy": {
            "http": { "method": "PUT", "requestUri": "/toys/{type}", "responseCode": 201 },
            "input": { "shape": "PutToyRequest" },
            "output": { "shape": "Toy" },
            "errors": [{ "shape": "NoToyException" }]
        }
    },
    "shapes": {
        "PutToyRequest": {
            "type": "structure",
            "required": ["Type"],
            "payload": "Body",
            "members": {
                "Type": { "shape": "Name", "location": "uri", "locationName": "type" },
                "Body": { "shape": "Bytes" }
            }
        },
        "Toy": {
            "type": "structure",
            "required": ["Parts", "Made"],
            "members": {
                "Inner": { "shape": "Toy" },
                "Parts": { "shape": "Parts" },
                "Made": { "shape": "Time" },
                "Events": { "shape": "Stream" }
            }
        },
        "Stream": { "type": "structure", "eventstream": true, "members": {} },
        "Parts": { "type": "map", "key": { "shape": "Name" }, "value": { "shape": "Toys" }, "max": 3 },
        "Toys": { "type": "list", "member": { "shape": "Toy" } },
        "Name": { "type": "string", "min": 1, "pattern": "\"[a-z]+\"", "sensitive": true },
        "Bytes": { "type": "blob" },
        "Time": { "type": "timestamp", "timestampFormat": "iso8601" },
        "NoToyException": {
            "type": "structure",
            "members": { "Type": { "shape": "Name" }, "message": { "shape": "Name" } },
            "error": { "httpStatusCode": 404 },
            "exception": true
        }
    }
}"#;

fn generated() -> Vec<(String, String)> {
    let model: Model = serde_json::from_str(MODEL).unwrap();
    let config = super::config::ServiceConfig {
        name: "toy",
        version: "1",
        shapes: super::config::Shapes::All,
        action: Action::Named { prefix: "toy", except: &[] },
        validation: "errors::NO_TOY_EXCEPTION",
        malformed: "errors::NO_TOY_EXCEPTION",
    };
    emit::service(&config, &model).unwrap()
}

#[track_caller]
fn assert_has(file: &str, text: &str) {
    let files = generated();
    let (_, content) = files.iter().find(|(name, _)| name == file).unwrap();
    assert!(content.contains(text), "{file} has no {text:?}:\n{content}");
}

#[test]
fn structs_have_the_types_that_the_model_asks_for() {
    assert_has("inputs.rs", "#[serde(rename = \"type\")]\npub r#type: String,");
    assert_has("inputs.rs", "#[serde(skip)]\npub body: Bytes,");
    assert_has("inputs.rs", "fn set_payload(&mut self, payload: Bytes) {\nself.body = payload;");
    assert_has("outputs.rs", "pub inner: Option<Box<Toy>>,");
    assert_has("outputs.rs", "pub parts: BTreeMap<String, Vec<Toy>>,");
    assert_has("outputs.rs", "pub made: Iso8601,");
    assert_has("outputs.rs", "impl gatemill_wire::Output for Toy {}");
}

#[test]
fn debug_hides_what_the_model_marks() {
    assert_has(
        "inputs.rs",
        "#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]\npub struct PutToyRequest",
    );
    assert_has(
        "inputs.rs",
        ".field(\"type\", &crate::describe::Hidden)\n.field(\"body\", &self.body)",
    );
    assert_has(
        "outputs.rs",
        ".field(\"parts\", &crate::describe::Hidden)\n.field(\"made\", &self.made)",
    );
}

#[test]
fn event_streams_are_left_out() {
    for (name, content) in generated() {
        assert!(!content.contains("Stream") && !content.contains("Events"), "{name}:\n{content}");
    }
}

#[test]
fn shapes_keep_constraints_and_places() {
    assert_has(
        "shapes.rs",
        r##"= sensitive(string("Name", Some(1), None, Some(r#""[a-z]+""#), &[]));"##,
    );
    assert_has("shapes.rs", r#"required("Type", "type", Location::Uri, &NAME),"#);
    assert_has("shapes.rs", r#"optional("Body", "Body", Location::Payload, &BYTES),"#);
    assert_has("shapes.rs", r#"map("Parts", &NAME, &TOYS, None, Some(3))"#);
}

#[test]
fn operations_and_errors_keep_their_facts() {
    assert_has(
        "operations.rs",
        "/// `PutToy`: `PUT /toys/{type}` → 201.\n#[derive(Debug, Clone, Copy)]\npub struct PutToy;",
    );
    assert_has("operations.rs", "action: \"toy:PutToy\"");
    assert_has("operations.rs", "errors: &[&errors::NO_TOY_EXCEPTION]");
    assert_has(
        "errors.rs",
        "code: \"NoToyException\", status: 404, message_member: Some(\"message\"), typed: true",
    );
}

#[test]
fn check_lists_what_differs_and_what_is_stale() {
    let root = std::env::temp_dir().join(format!("gatemill-codegen-{}", std::process::id()));
    let output = root.join(super::OUTPUT);
    let files = Files::from([
        ("a.rs".into(), "a\n".to_owned()),
        (Path::new("s").join("b.rs"), "b\n".to_owned()),
    ]);
    write(&root, &files).unwrap();
    compare(&root, &files).unwrap();

    fs::write(output.join("a.rs"), "edited\n").unwrap();
    fs::write(output.join("s/old.rs"), "\n").unwrap();
    let error = compare(&root, &files).unwrap_err().to_string();
    assert!(error.contains("generated/a.rs") && error.contains("generated/s/old.rs"), "{error}");
    assert!(!error.contains("b.rs"), "{error}");

    write(&root, &files).unwrap();
    compare(&root, &files).unwrap();
    fs::remove_dir_all(&root).unwrap();
}
