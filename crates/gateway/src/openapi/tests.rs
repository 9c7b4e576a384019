//! What is read of definitions, and what is said about them.

use serde_json::{Value, json};

use super::{import::Notes, *};

fn read_json(definition: &Value, basepath: Basepath) -> Definition {
    read(&definition.to_string(), basepath, &Importer::default())
}

#[allow(clippy::needless_pass_by_value, reason = "it reads as the document that it makes")]
fn minimal(paths: Value) -> Value {
    json!({"openapi": "3.0.1", "info": {"title": "t", "version": "1"}, "paths": paths})
}

fn keys(definition: &Definition) -> Vec<&str> {
    definition.routes.iter().map(|route| route.key.as_str()).collect()
}

#[test]
fn definitions_that_are_none() {
    let errors =
        |text: &str| read(text, Basepath::Ignore, &Importer::default()).notes.errors.join("; ");
    for (text, expected) in [
        ("", "Unable to parse the definition: the document is empty"),
        ("[]", "Parse issue: attribute openapi is not of type `object`"),
        ("{}", "Parse issue: attribute openapi is missing"),
        (r#"{"swagger": "2.0"}"#, "OpenAPI 2.0 is not supported for HTTP APIs: 3.0 is expected"),
        ("openapi: 3.1.0", "OpenAPI 3.1.0 is not supported for HTTP APIs: 3.0 is expected"),
        (
            "openapi: 3.0.0",
            "Parse issue: attribute info is missing; Parse issue: attribute paths is missing",
        ),
        ("openapi: 3.0.0\ninfo: {}\npaths: {}", "Parse issue: attribute info.title is missing"),
        (
            "openapi: 3.0.0\ninfo: []\npaths: []",
            "Parse issue: attribute info is not of type `object`; Parse issue: attribute paths is not of type `object`",
        ),
        (
            r#"{"openapi": "#,
            "Unable to parse the definition: EOF while parsing a value at line 1 column 12",
        ),
    ] {
        assert_eq!(errors(text), expected, "{text}");
    }
    let large = format!("openapi: {}", "3".repeat(crate::limits::DEFINITION_BYTES_MAX));
    assert!(errors(&large).contains("larger than"));
}

#[test]
fn base_paths() {
    let with = |url: &str, default: Option<&str>, basepath| {
        let mut definition = minimal(json!({"/x": {"get": {"responses": {}}}}));
        definition["servers"] = json!([{"url": url}]);
        if let Some(default) = default {
            definition["servers"][0]["variables"] = json!({"basePath": {"default": default}});
        }
        keys(&read_json(&definition, basepath)).join(",")
    };
    let url = "https://h.example/a/b/c";
    assert_eq!(with(url, None, Basepath::Ignore), "GET /x");
    assert_eq!(with(url, None, Basepath::Prepend), "GET /a/b/c/x");
    assert_eq!(with(url, None, Basepath::Split), "GET /b/c/x");
    assert_eq!(with("https://h/{basePath}", Some("/v1/"), Basepath::Prepend), "GET /v1/x");
    assert_eq!(with("https://h/{basePath}", Some("v1"), Basepath::Split), "GET /x");
    assert_eq!(with("/only/path", None, Basepath::Prepend), "GET /only/path/x");
    assert_eq!(with("https://h", None, Basepath::Prepend), "GET /x");
    // The variable counts whether or not the URL refers to it, and beside it nothing else of the URL does.
    assert_eq!(with(url, Some("v1"), Basepath::Prepend), "GET /v1/x");
    assert_eq!(with("https://h/api/{basePath}", Some("v1"), Basepath::Prepend), "GET /v1/x");
    assert_eq!(with(url, Some(""), Basepath::Prepend), "GET /x");
    let mut several = minimal(json!({"/x": {"get": {"responses": {}}}}));
    let variable = |text: &str| json!({"basePath": {"default": text}});
    several["servers"] = json!([{"url": "https://h/a"}, {"url": "https://h", "variables": variable("/b")},
        {"url": "https://h", "variables": variable("/c")}]);
    assert_eq!(keys(&read_json(&several, Basepath::Prepend)), ["GET /b/x"]);
}

#[test]
fn aws_variables() {
    let uri = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:f:${stageVariables.a}";
    let mut definition =
        minimal(json!({"/x": {"get": {"responses": {}, "x-amazon-apigateway-integration":
        {"type": "AWS_PROXY", "uri": uri, "payloadFormatVersion": "2.0"}}}}));
    definition["info"]["description"] = "of ${AWS::AccountId} and ${AWS::StackName}".into();
    let importer = Importer { account: "000012345678".to_owned(), region: "eu-west-1".to_owned() };
    for text in [definition.to_string(), to_yaml(&definition)] {
        let read = read(&text, Basepath::Ignore, &importer);
        assert_eq!(
            read.integrations[0].request.integration_uri.as_deref(),
            Some("arn:aws:lambda:eu-west-1:000012345678:function:f:${stageVariables.a}")
        );
        assert_eq!(read.description.as_deref(), Some("of 000012345678 and ${AWS::StackName}"));
    }
}

#[test]
fn integrations_of_the_wrong_types() {
    for name in ["requestParameters", "responseParameters", "tlsConfig"] {
        let integration =
            json!({"type": "http_proxy", "uri": "http://h", "httpMethod": "GET", name: ["a"]});
        let definition = minimal(json!({"/a": {"get": {"responses": {},
            "x-amazon-apigateway-integration": integration}}}));
        let errors = read_json(&definition, Basepath::Ignore).notes.errors;
        let text = format!(
            "Unable to create the integration of paths.'/a'(get): {name} is not of type `object`"
        );
        assert_eq!(errors, [text]);
    }
}

#[test]
fn authorizers_of_the_wrong_types() {
    for (name, value, problem) in [
        ("identitySource", json!(["$request.header.A"]), "identitySource is not of type `string`"),
        ("enableSimpleResponses", json!("true"), "enableSimpleResponses is not of type `boolean`"),
    ] {
        let mut definition = minimal(json!({}));
        let authorizer = json!({"type": "request", "authorizerUri": "arn:aws:lambda:r:1:function:f",
            "authorizerPayloadFormatVersion": "2.0", name: value});
        definition["components"] = json!({"securitySchemes": {"ask": {"type": "apiKey",
            "x-amazon-apigateway-authorizer": authorizer}}});
        let errors = read_json(&definition, Basepath::Ignore).notes.errors;
        assert_eq!(errors, [format!("Unable to create authorizer 'ask': {problem}")]);
    }
}

#[test]
fn routes_and_their_guards() {
    let mut definition = minimal(json!({
        "/a": {
            "get": {"operationId": "read", "responses": {}, "security": [{"jwt": ["s"]}]},
            "post": {"responses": {}, "security": [{"sigv4": []}]},
            "put": {"responses": {}, "x-amazon-apigateway-auth": {"type": "AWS_IAM"}},
            "parameters": [], "summary": "s",
        },
        "/$default": {"x-amazon-apigateway-any-method": {"isDefaultRoute": true}},
        "/b/{proxy+}": {"x-amazon-apigateway-any-method": {"security": []}},
    }));
    definition["components"] = json!({"securitySchemes": {
        "jwt": {"type": "openIdConnect", "openIdConnectUrl": "https://i/.well-known/openid-configuration",
            "x-amazon-apigateway-authorizer": {"type": "jwt", "jwtConfiguration": {"audience": ["a"]}}},
        "sigv4": {"type": "apiKey", "x-amazon-apigateway-authtype": "awsSigv4"},
    }});
    let read = read_json(&definition, Basepath::Ignore);
    assert_eq!(read.notes, Notes::default());
    assert_eq!(keys(&read), ["GET /a", "POST /a", "PUT /a", "$default", "ANY /b/{proxy+}"]);
    assert_eq!(read.routes[0].guard, Guard::Authorizer("jwt".to_owned(), vec!["s".to_owned()]));
    assert_eq!(read.routes[0].operation_name.as_deref(), Some("read"));
    assert_eq!((&read.routes[1].guard, &read.routes[2].guard), (&Guard::Iam, &Guard::Iam));
    assert_eq!((&read.routes[3].guard, &read.routes[4].guard), (&Guard::Open, &Guard::Open));
    let jwt = read.authorizers[0].jwt_configuration.as_ref().unwrap();
    assert_eq!(jwt.issuer.as_deref(), Some("https://i"));
    assert_eq!(read.authorizers[0].identity_source, ["$request.header.Authorization"]);
}

#[test]
fn no_route_loses_its_guard() {
    for (security, problem) in [
        (json!([{"nobody": []}]), "nobody is not defined"),
        (json!([{"bare": []}]), "bare has no authorizer"),
        (json!([{"bare": []}, {"other": []}]), "multiple security requirements"),
        (json!([{"bare": [], "other": []}]), "multiple security requirements"),
        (json!({"bare": []}), "not of type"),
    ] {
        let mut definition =
            minimal(json!({"/": {"get": {"responses": {}, "security": security}}}));
        definition["components"] =
            json!({"securitySchemes": {"bare": {"type": "http"}, "other": {"type": "http"}}});
        let errors = read_json(&definition, Basepath::Ignore).notes.errors;
        assert!(errors.len() == 1 && errors[0].contains(problem), "{errors:?}");
    }
}

#[test]
fn what_is_said() {
    let mut definition = minimal(json!({
        "/a": {
            "get": {"requestBody": {}, "x-amazon-apigateway-integration": {"type": "mock"}},
            "trace": {},
        },
        "/c": null,
        "x-other": null,
        "/b": {"get": {"responses": {}, "x-amazon-apigateway-integration":
            {"type": "http_proxy", "uri": "http://h", "httpMethod": "any", "responses": {}}}},
    }));
    definition["x-amazon-apigateway-policy"] = json!({});
    definition["security"] = json!([]);
    definition["components"] = json!({"schemas": {}});
    let read = read_json(&definition, Basepath::Ignore);
    assert_eq!(read.notes.errors, Vec::<String>::new());
    assert_eq!(
        read.notes.warnings,
        [
            "Parse issue: attribute paths.'/a'(get).responses is missing",
            "The integration type MOCK is not supported for HTTP APIs: paths.'/a'(get) has no integration",
            "Parse issue: attribute paths.'/a'.trace is not supported for HTTP APIs",
            "Parse issue: attribute paths.'/c' is not of type `object`",
            "Resource policies are not supported for HTTP APIs: the policy is ignored",
        ]
    );
    assert_eq!(
        read.notes.info,
        [
            "paths.'/a'(get).requestBody is not supported for HTTP APIs and is ignored",
            "paths.'/b'(get): responses is not supported for HTTP APIs and is ignored",
            "security is not supported for HTTP APIs and is ignored",
            "Models are not supported for HTTP APIs: components.schemas is ignored",
        ]
    );
    assert_eq!((read.routes[0].integration, read.routes[1].integration), (None, Some(0)));
    let made = &read.integrations[0].request;
    assert_eq!(made.integration_type, "HTTP_PROXY");
    assert_eq!(made.integration_method.as_deref(), Some("ANY"));
    assert_eq!(made.payload_format_version.as_deref(), Some("1.0"));
}

#[test]
fn shared_integrations() {
    let reference = json!({"responses": {}, "x-amazon-apigateway-integration":
        {"$ref": "#/components/x-amazon-apigateway-integrations/one"}});
    let mut definition = minimal(json!({"/a": {"get": reference, "post": reference}}));
    definition["components"] = json!({"x-amazon-apigateway-integrations":
        {"one": {"type": "HTTP_PROXY", "uri": "http://h", "httpMethod": "GET", "payloadFormatVersion": 1.0}}});
    let read = read_json(&definition, Basepath::Ignore);
    assert_eq!(
        read.routes.iter().map(|route| route.integration).collect::<Vec<_>>(),
        [Some(0), Some(0)]
    );
    assert_eq!(read.integrations[0].request.payload_format_version.as_deref(), Some("1.0"));
    definition["components"] = json!({});
    let errors = read_json(&definition, Basepath::Ignore).notes.errors;
    assert!(errors[0].contains("refers to nothing"), "{errors:?}");
}
