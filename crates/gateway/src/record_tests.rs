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
        websocket: None,
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
        websocket: None,
        authorization: Authorization::default(),
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
        websocket: None,
        request_parameters: BTreeMap::new(),
        response_parameters: BTreeMap::new(),
        vpc_link: None,
        service: None,
        tls: None,
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
fn what_http_apis_got_later() {
    let guarded = RouteRecord {
        authorization: Authorization {
            kind: AuthorizationKind::Jwt,
            authorizer: Some(text("z")),
            scopes: vec![text("read")],
        },
        ..route()
    };
    let json = ROUTE.replace(
        r#""managed":true}"#,
        r#""managed":true,"authorization":{"kind":"Jwt","authorizer":"z","scopes":["read"]}}"#,
    );
    check(&guarded, &json);
    let mapped = IntegrationRecord {
        request_parameters: BTreeMap::from([(text("append:header.a"), text("b"))]),
        response_parameters: BTreeMap::from([(
            text("200"),
            BTreeMap::from([(text("overwrite:statuscode"), text("201"))]),
        )]),
        vpc_link: Some(text("v")),
        ..integration()
    };
    let json = INTEGRATION.replace(
        r#""managed":false}"#,
        r#""managed":false,"request_parameters":{"append:header.a":"b"},"response_parameters":{"200":{"overwrite:statuscode":"201"}},"vpc_link":"v"}"#,
    );
    check(&mapped, &json);
    let secured = IntegrationRecord {
        tls: Some(IntegrationTls { server_name: Some(text("h")) }),
        ..integration()
    };
    let json =
        INTEGRATION.replace(r#""managed":false}"#, r#""managed":false,"tls":{"server_name":"h"}}"#);
    check(&secured, &json);
    let asks = AuthorizerRecord {
        id: text("z"),
        name: text("n"),
        identity_source: vec![text("$request.header.A")],
        how: AuthorizerKind::Request(RequestAuthorizer {
            uri: text("arn:x"),
            payload_format: PayloadFormat::V2,
            simple: true,
            ttl_seconds: 60,
        }),
    };
    const ASKS: &str = r#"{"id":"z","name":"n","identity_source":["$request.header.A"],"how":{"Request":{"uri":"arn:x","payload_format":"V2","simple":true,"ttl_seconds":60}}}"#;
    check(&asks, ASKS);
    check(&Version::Authorizer(asks.clone()), &format!(r#"{{"Authorizer":{ASKS}}}"#));
    let how = AuthorizerKind::Jwt { issuer: text("https://i"), audience: vec![text("a")] };
    let json = r#"{"id":"z","name":"n","identity_source":["$request.header.A"],"how":{"Jwt":{"issuer":"https://i","audience":["a"]}}}"#;
    check(&AuthorizerRecord { how, ..asks }, json);
    let link = VpcLinkRecord {
        id: text("v"),
        name: text("n"),
        subnets: vec![text("s")],
        security_groups: Vec::new(),
        tags: BTreeMap::new(),
        created: Timestamp(5),
    };
    let json =
        r#"{"id":"v","name":"n","subnets":["s"],"security_groups":[],"tags":{},"created":5}"#;
    check(&link, json);
}

#[test]
fn usage_domains_and_stages_that_log() {
    let usage = UsageRecord { calls: 1, bytes_out: 2, messages: 3, connection_minutes: 4 };
    check(&usage, r#"{"calls":1,"bytes_out":2,"messages":3,"connection_minutes":4}"#);
    let domain = DomainRecord {
        name: text("a.example"),
        certificate: Some(text("arn:c")),
        mode: RoutingMode::RulesThenMappings,
        tags: BTreeMap::new(),
        created: Timestamp(5),
        mutual_tls: None,
    };
    let json = r#"{"name":"a.example","certificate":"arn:c","mode":"RulesThenMappings","tags":{},"created":5}"#;
    check(&domain, json);
    let store = TrustStoreRecord { pem: text("p") };
    check(&store, r#"{"pem":"p"}"#);
    let mutual_tls = MutualTlsRecord {
        uri: text("s3://b/k"),
        version: Some(text("v")),
        fingerprint: text("f"),
        warnings: vec![text("w")],
    };
    let proved = DomainRecord { mutual_tls: Some(mutual_tls), ..domain };
    let more =
        r#","mutual_tls":{"uri":"s3://b/k","version":"v","fingerprint":"f","warnings":["w"]}}"#;
    check(&proved, &format!("{}{more}", json.strip_suffix('}').unwrap()));
    let mapping =
        ApiMappingRecord { id: text("m"), key: text("k"), api: text("a"), stage: text("s") };
    check(&mapping, r#"{"id":"m","key":"k","api":"a","stage":"s"}"#);
    let rule = RoutingRuleRecord {
        id: text("r"),
        priority: 1,
        base_paths: vec![text("b")],
        headers: vec![vec![(text("h"), text("v*"))]],
        api: text("a"),
        stage: text("s"),
        strip: true,
    };
    let json = r#"{"id":"r","priority":1,"base_paths":["b"],"headers":[[["h","v*"]]],"api":"a","stage":"s","strip":true}"#;
    check(&rule, json);
    let log = AccessLog { destination: text("arn:l"), format: text("$context.requestId") };
    let settings = RouteSettings { metrics: true, ..RouteSettings::default() };
    let stage = StageRecord {
        name: text("s"),
        description: None,
        auto_deploy: false,
        deployment: None,
        variables: BTreeMap::new(),
        default_settings: settings,
        route_settings: BTreeMap::new(),
        tags: BTreeMap::new(),
        created: Timestamp(5),
        updated: Timestamp(6),
        status_message: None,
        managed: false,
        access_log: Some(log),
        authorizer_cache: 1,
    };
    let json = r#"{"name":"s","description":null,"auto_deploy":false,"deployment":null,"variables":{},"default_settings":{"burst":null,"rate":null,"metrics":true},"route_settings":{},"tags":{},"created":5,"updated":6,"status_message":null,"managed":false,"access_log":{"destination":"arn:l","format":"$context.requestId"},"authorizer_cache":1}"#;
    check(&stage, json);
}

#[test]
fn stages_and_deployments() {
    let limits = RouteSettings { burst: Some(5), rate: Some(2.5), metrics: false };
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
        access_log: None,
        authorizer_cache: 0,
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

#[test]
fn what_websocket_apis_have() {
    let own = WebSocketSettings {
        route_selection: text("r"),
        api_key_selection: text("k"),
        disable_schema_validation: false,
    };
    let with = Settings { websocket: Some(own), ..settings() };
    let ending = r#","websocket":{"route_selection":"r","api_key_selection":"k"}}"#;
    let json = format!("{}{ending}", SETTINGS.trim_end_matches('}'));
    check(&Version::Settings(with.clone()), &format!(r#"{{"Settings":{json}}}"#));
    let mut careless = with;
    if let Some(own) = &mut careless.websocket {
        own.disable_schema_validation = true;
    }
    let json = json.replace(r#""k"}"#, r#""k","disable_schema_validation":true}"#);
    check(&Version::Settings(careless), &format!(r#"{{"Settings":{json}}}"#));
    let response = RouteResponseRecord {
        id: text("x"),
        key: text("$default"),
        model_selection: None,
        models: None,
        parameters: BTreeMap::new(),
    };
    let own = WebSocketRoute {
        response_selection: Some(text("$default")),
        responses: vec![response],
        ..WebSocketRoute::default()
    };
    let route = RouteRecord { websocket: Some(own), ..route() };
    let ending = r#","websocket":{"response_selection":"$default","responses":[{"id":"x","key":"$default","model_selection":null,"models":null}]}}"#;
    check(&route, &format!("{}{ending}", ROUTE.trim_end_matches('}')));
    let own = WebSocketRoute { api_key_required: true, ..WebSocketRoute::default() };
    let route = RouteRecord { websocket: Some(own), ..route };
    let ending =
        r#","websocket":{"response_selection":null,"responses":[],"api_key_required":true}}"#;
    check(&route, &format!("{}{ending}", ROUTE.trim_end_matches('}')));
    let map = || BTreeMap::from([(text("a"), text("b"))]);
    let response = IntegrationResponseRecord {
        id: text("x"),
        key: text("200"),
        templates: map(),
        ..IntegrationResponseRecord::default()
    };
    let own = WebSocketIntegration {
        request_parameters: map(),
        request_templates: map(),
        template_selection: Some(text("t")),
        passthrough: Passthrough::Never,
        responses: vec![response],
        content_handling: None,
    };
    let kind = IntegrationKind::Mock;
    let integration = IntegrationRecord { kind, websocket: Some(own), ..integration() };
    let ending = r#","websocket":{"request_parameters":{"a":"b"},"request_templates":{"a":"b"},"template_selection":"t","passthrough":"Never","responses":[{"id":"x","key":"200","templates":{"a":"b"},"template_selection":null}]}}"#;
    let base = INTEGRATION.replace("AwsProxy", "Mock");
    check(&integration, &format!("{}{ending}", base.trim_end_matches('}')));
}

#[test]
fn models_and_connections() {
    let model = ModelRecord {
        id: text("m"),
        name: text("n"),
        content_type: text("c"),
        description: None,
        schema: text("{}"),
    };
    let json = r#"{"id":"m","name":"n","content_type":"c","description":null,"schema":"{}"}"#;
    check(&model, json);
    check(&Version::Model(model), &format!(r#"{{"Model":{json}}}"#));
    let connection = ConnectionRecord {
        run: text("r"),
        account: text("1"),
        api: text("a"),
        stage: text("s"),
        domain_name: text("d"),
        source_ip: text("::1"),
        user_agent: None,
        connected: Timestamp(5),
        authorizer: None,
    };
    let json = r#"{"run":"r","account":"1","api":"a","stage":"s","domain_name":"d","source_ip":"::1","user_agent":null,"connected":5}"#;
    check(&connection, json);
}
