//! The bytes of every record, which later versions have to read for ever: a change here needs a new version.

use gatemill_store::{Record, decode, encode};

use super::*;

#[track_caller]
fn check<R: Record + PartialEq + std::fmt::Debug>(record: &R, json: &str) {
    let bytes = encode(record).unwrap();
    assert_eq!(bytes[0], 1);
    assert_eq!(std::str::from_utf8(&bytes[1..]).unwrap(), json);
    assert_eq!(decode::<R>(&bytes).unwrap(), *record);
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn settings() -> Settings {
    Settings {
        cors: Some(Cors {
            allow_credentials: Some(true),
            allow_headers: Some(vec![text("h")]),
            allow_methods: Some(vec![text("GET")]),
            allow_origins: Some(vec![text("https://a")]),
            expose_headers: None,
            max_age: Some(-1),
        }),
        disable_execute_api_endpoint: true,
    }
}

const SETTINGS: &str = r#"{"cors":{"allow_credentials":true,"allow_headers":["h"],"allow_methods":["GET"],"allow_origins":["https://a"],"expose_headers":null,"max_age":-1},"disable_execute_api_endpoint":true}"#;
const ROUTE: &str =
    r#"{"id":"r","key":"GET /","integration":"i","operation_name":null,"managed":true}"#;
const INTEGRATION: &str = r#"{"id":"i","kind":"AwsProxy","uri":"arn:x","method":"POST","payload_format":"V2","timeout_ms":30000,"description":"d","managed":false}"#;

fn route() -> RouteRecord {
    RouteRecord {
        id: text("r"),
        key: text("GET /"),
        integration: Some(text("i")),
        operation_name: None,
        managed: true,
    }
}

fn integration() -> IntegrationRecord {
    IntegrationRecord {
        id: text("i"),
        kind: IntegrationKind::AwsProxy,
        uri: text("arn:x"),
        method: Some(text("POST")),
        payload_format: PayloadFormat::V2,
        timeout_ms: 30_000,
        description: Some(text("d")),
        managed: false,
    }
}

#[test]
fn an_api() {
    let api = ApiRecord {
        id: text("a"),
        name: text("n"),
        description: None,
        version: Some(text("1")),
        ip_address_type: text("ipv4"),
        settings: settings(),
        tags: BTreeMap::from([(text("k"), text("v"))]),
        created: Timestamp(5),
        quick: Some(QuickCreate { route: text("r"), integration: text("i") }),
        revision: 7,
        routes: 1,
        integrations: 2,
        deployments: 3,
    };
    let json = format!(
        r#"{{"id":"a","name":"n","description":null,"version":"1","ip_address_type":"ipv4","settings":{SETTINGS},"tags":{{"k":"v"}},"created":5,"quick":{{"route":"r","integration":"i"}},"revision":7,"routes":1,"integrations":2,"deployments":3}}"#
    );
    check(&api, &json);
    let owner = OwnerRecord { account: text("1"), region: text("r") };
    check(&owner, r#"{"account":"1","region":"r"}"#);
    check(&IdRecord { id: text("x") }, r#"{"id":"x"}"#);
}

#[test]
fn routes_integrations_and_their_versions() {
    check(&route(), ROUTE);
    check(&integration(), INTEGRATION);
    let http = IntegrationRecord {
        kind: IntegrationKind::HttpProxy,
        payload_format: PayloadFormat::V1,
        ..integration()
    };
    let json = INTEGRATION.replace("AwsProxy", "HttpProxy").replace("V2", "V1");
    check(&http, &json);
    check(&Version::Route(route()), &format!(r#"{{"Route":{ROUTE}}}"#));
    check(&Version::Integration(integration()), &format!(r#"{{"Integration":{INTEGRATION}}}"#));
    check(&Version::Settings(settings()), &format!(r#"{{"Settings":{SETTINGS}}}"#));
    check(&Version::Removed, r#""Removed""#);
}

#[test]
fn stages_and_deployments() {
    let limits = RouteSettings { burst: Some(5), rate: Some(2.5) };
    let stage = StageRecord {
        name: text("$default"),
        description: None,
        auto_deploy: true,
        deployment: Some(text("d")),
        variables: BTreeMap::from([(text("k"), text("v"))]),
        default_settings: RouteSettings::default(),
        route_settings: BTreeMap::from([(text("GET /"), limits)]),
        tags: BTreeMap::new(),
        created: Timestamp(5),
        updated: Timestamp(6),
        status_message: Some(text("m")),
        managed: true,
    };
    let json = r#"{"name":"$default","description":null,"auto_deploy":true,"deployment":"d","variables":{"k":"v"},"default_settings":{"burst":null,"rate":null},"route_settings":{"GET /":{"burst":5,"rate":2.5}},"tags":{},"created":5,"updated":6,"status_message":"m","managed":true}"#;
    check(&stage, json);
    let deployment = DeploymentRecord {
        id: text("d"),
        description: Some(text("t")),
        automatic: false,
        revision: 7,
        created: Timestamp(5),
    };
    let json = r#"{"id":"d","description":"t","automatic":false,"revision":7,"created":5}"#;
    check(&deployment, json);
}
