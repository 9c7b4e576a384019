//! Golden bytes: what was ever written decodes for ever.

use gatemill_store::{decode, encode};

use super::*;

/// Version 1, as the first release wrote it.
const FUNCTION_V1: &str = r#"{"configuration":{"deployment":"7a3f6c1e-0000-4000-8000-000000000001","runtime":"python3.12","role":"arn:aws:iam::000000000000:role/r","handler":"app.handler","description":"d","timeout_s":3,"memory_mb":128,"ephemeral_mb":512,"environment":{"AB":"c"},"logging":{"group":null,"format":"Text"},"package":{"digest":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","bytes":22}},"lifecycle":"Active","revision_id":"7a3f6c1e-0000-4000-8000-000000000002","last_modified_ms":1795379214123,"tags":{"k":"v"}}"#;

fn function() -> FunctionRecord {
    FunctionRecord {
        configuration: Configuration {
            deployment: "7a3f6c1e-0000-4000-8000-000000000001".into(),
            runtime: "python3.12".into(),
            role: "arn:aws:iam::000000000000:role/r".into(),
            handler: "app.handler".into(),
            description: "d".into(),
            timeout_s: 3,
            memory_mb: 128,
            ephemeral_mb: 512,
            environment: Some(Variables::Plain([("AB".to_owned(), "c".to_owned())].into())),
            logging: Logging { group: None, format: LogFormat::Text },
            package: Package { digest: Digest::of(b""), bytes: 22, unpacked_bytes: 0 },
            image: None,
            snap_start: false,
            per_tenant: false,
            dead_letter_arn: None,
            layers: Vec::new(),
            traced: false,
            unenforced: None,
            signing: None,
            durable: None,
            s3_object: None,
        },
        lifecycle: Lifecycle::Active,
        revision_id: "7a3f6c1e-0000-4000-8000-000000000002".into(),
        last_modified_ms: 1_795_379_214_123,
        tags: [("k".to_owned(), "v".to_owned())].into(),
        draining: false,
    }
}

fn golden(json: &str) -> Vec<u8> {
    [&[1], json.as_bytes()].concat()
}

#[test]
fn functions() {
    assert_eq!(String::from_utf8(encode(&function()).unwrap()[1..].to_vec()).unwrap(), FUNCTION_V1);
    assert_eq!(decode::<FunctionRecord>(&golden(FUNCTION_V1)).unwrap(), function());
    for (lifecycle, json) in [
        (Lifecycle::Creating, r#""Creating""#.to_owned()),
        (
            Lifecycle::CreateFailed { reason: "r".into(), code: None },
            r#"{"CreateFailed":{"reason":"r"}}"#.into(),
        ),
        (
            Lifecycle::UpdateFailed { reason: "r".into(), code: None },
            r#"{"UpdateFailed":{"reason":"r"}}"#.into(),
        ),
    ] {
        let text = FUNCTION_V1.replace("\"Active\"", &json);
        let decoded: FunctionRecord = decode(&golden(&text)).unwrap();
        assert_eq!(decoded.lifecycle, lifecycle);
    }
    let updating = FunctionRecord {
        lifecycle: Lifecycle::Updating { serving: Box::new(function().configuration) },
        ..function()
    };
    assert_eq!(decode::<FunctionRecord>(&encode(&updating).unwrap()).unwrap(), updating);
    assert_eq!(updating.serving(), Some(&function().configuration));
    let mut referring = function();
    let [region, bucket, key, version] = ["r", "b", "k", "v"].map(str::to_owned);
    referring.configuration.s3_object = Some(S3Object { region, bucket, key, version });
    let json = FUNCTION_V1.replace(
        r#""bytes":22}}"#,
        r#""bytes":22},"s3_object":{"region":"r","bucket":"b","key":"k","version":"v"}}"#,
    );
    assert_eq!(encode(&referring).unwrap(), golden(&json));
    assert_eq!(decode::<FunctionRecord>(&golden(&json)).unwrap(), referring);
    assert_eq!(referring.configuration.stored_bytes(), 0);
    let json = FUNCTION_V1.replace(
        r#""format":"Text""#,
        r#""format":{"Json":{"application":"INFO","system":"WARN"}}"#,
    );
    let decoded: FunctionRecord = decode(&golden(&json)).unwrap();
    let format = LogFormat::Json { application: "INFO".into(), system: "WARN".into() };
    assert_eq!(decoded.configuration.logging.format, format);
}

#[test]
fn versions() {
    let FunctionRecord { configuration, lifecycle, revision_id, last_modified_ms, .. } = function();
    let version = VersionRecord {
        configuration: Configuration { snap_start: true, per_tenant: true, ..configuration },
        lifecycle,
        revision_id,
        last_modified_ms,
        latest_description: "e".into(),
        draining: false,
    };
    let bytes = encode(&version).unwrap();
    let text = FUNCTION_V1
        .replace(r#""bytes":22}}"#, r#""bytes":22},"snap_start":true,"per_tenant":true}"#)
        .replace(r#""tags":{"k":"v"}"#, r#""latest_description":"e""#);
    assert_eq!(bytes, golden(&text));
    assert_eq!(decode::<VersionRecord>(&bytes).unwrap(), version);
    let draining = VersionRecord { draining: true, ..version };
    let text =
        text.replace(r#""latest_description":"e""#, r#""latest_description":"e","draining":true"#);
    assert_eq!(encode(&draining).unwrap(), golden(&text));
    assert_eq!(decode::<VersionRecord>(&golden(&text)).unwrap(), draining);
    assert_eq!(encode(&NumberRecord { last: 7 }).unwrap(), golden(r#"{"last":7}"#));
}

#[test]
fn aliases() {
    let alias = AliasRecord {
        version: Some(1),
        description: "d".into(),
        route: Some(RouteRecord { version: 2, weight: 0.25 }),
        revision_id: "r".into(),
    };
    let text =
        r#"{"version":1,"description":"d","route":{"version":2,"weight":0.25},"revision_id":"r"}"#;
    assert_eq!(encode(&alias).unwrap(), golden(text));
    assert_eq!(decode::<AliasRecord>(&golden(text)).unwrap(), alias);
    assert_eq!(alias.shares(10).collect::<Vec<_>>(), [(1, 7), (2, 3)]);
    assert_eq!(alias.versions().collect::<Vec<_>>(), [1, 2]);
    let latest = AliasRecord { version: None, route: None, ..alias };
    assert_eq!(latest.shares(10).count(), 0);
}

#[test]
fn a_version_is_still_what_latest_is() {
    let FunctionRecord { configuration: latest, lifecycle, .. } = function();
    let version = VersionRecord {
        configuration: Configuration {
            deployment: "other".into(),
            description: "of the version".into(),
            ..latest.clone()
        },
        lifecycle,
        revision_id: "r".into(),
        last_modified_ms: 1,
        latest_description: latest.description.clone(),
        draining: false,
    };
    assert!(version.is_still(&latest));
    assert!(!version.is_still(&Configuration { description: "new".into(), ..latest.clone() }));
    assert!(!version.is_still(&Configuration { memory_mb: 256, ..latest }));
}

#[test]
fn the_smaller_ones() {
    assert_eq!(encode(&Mark {}).unwrap(), golden("{}"));
    let usage = UsageRecord { functions: 2, code_bytes: 44, allotted: 0 };
    assert_eq!(encode(&usage).unwrap(), golden(r#"{"functions":2,"code_bytes":44}"#));
    let text = r#"{"functions":2,"code_bytes":44,"allotted":7}"#;
    assert_eq!(encode(&UsageRecord { allotted: 7, ..usage }).unwrap(), golden(text));
    assert_eq!(encode(&ReservedRecord { executions: 0 }).unwrap(), golden(r#"{"executions":0}"#));
    let provisioned = ProvisionedRecord { executions: 3, last_modified_ms: 1_795_379_214_123 };
    let text = r#"{"executions":3,"last_modified_ms":1795379214123}"#;
    assert_eq!(encode(&provisioned).unwrap(), golden(text));
    let policy = PolicyRecord {
        id: None,
        revision_id: "r".into(),
        statements: vec![StatementRecord { sid: "s".into(), json: "{}".into() }],
    };
    let text = r#"{"revision_id":"r","statements":[{"sid":"s","json":"{}"}]}"#;
    assert_eq!(encode(&policy).unwrap(), golden(text));
    assert_eq!(decode::<PolicyRecord>(&golden(text)).unwrap(), policy);
}

#[test]
fn keys() {
    let function = FunctionKey::new("000000000000", "us-east-1", "f");
    assert_eq!(function.record().to_string(), "000000000000/us-east-1/f");
    assert_eq!(policy_key(&function, "").to_string(), "000000000000/us-east-1/f/");
    assert!(policy_key(&function, "").starts_with(&function.record()));
    let other = FunctionKey::new("000000000000", "us-east-1", "ff");
    assert!(!policy_key(&other, "").starts_with(&function.record()));
    assert!(
        code_use_key(&Digest::of(b""), &function)
            .to_string()
            .ends_with("855/000000000000/us-east-1/f")
    );
    let version = version_key(&function, 12);
    assert!(version.starts_with(&function.record()));
    assert_eq!(version_from_key(&version), Some((function.clone(), 12)));
    for qualifier in [Qualifier::Version(3), Qualifier::Alias("live".into())] {
        let key = provisioned_key(&function, &qualifier);
        assert_eq!(provisioned_from_key(&key), Some((function.clone(), qualifier)));
    }
    assert!(version_key(&function, 2).as_bytes() < version.as_bytes());
    assert_eq!(policy_qualifier(&policy_key(&function, "7")).as_deref(), Some("7"));
    assert_eq!(usage_key("000000000000", "us-east-1").to_string(), "000000000000/us-east-1");
}
