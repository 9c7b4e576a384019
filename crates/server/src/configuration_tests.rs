//! Tests of the settings: precedence, rules, unknown keys.

use super::*;

fn file(text: &str) -> Result<Settings, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gatemill.toml");
    fs::write(&path, text).unwrap();
    Settings::from_file(&path)
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let low =
        file("listen = \"127.0.0.1:1\"\nregion = \"eu-west-1\"\ninsecure-public = true").unwrap();
    let high = Settings { listen: Some("127.0.0.1:2".parse().unwrap()), ..Settings::default() };
    let holds = high.over(low).resolve(Mode::Dev, 4).unwrap();
    assert_eq!(holds.listen.port(), 2);
    assert_eq!(holds.region, "eu-west-1");
    assert_eq!(holds.account, "000000000000");
    assert_eq!((holds.threads, holds.pin_threads), (4, true));
}

#[test]
fn every_setting_of_the_file_wins_over_a_lower_one() {
    let all = "listen = \"127.0.0.1:1\"\ndata-dir = \"d\"\naccount = \"111111111111\"\nregion = \"r\"\n\
               log-level = \"warn\"\nisolation = \"process\"\nruntime-dir = [\"/opt\"]\n\
               image-registry = [\"r:1\"]\nimage-credentials = \"c\"\nimage-layouts = \"l\"\n\
               insecure-public = true\nthreads = 3\npin-threads = false\ndrain-seconds = 5\n\
               concurrency = 7\nidle-seconds = 8\nidle-memory-mb = 9\ninitialised-ahead = 2\n\
               egress = \"internet\"\nfunction-access = \"account\"\negress-pool = \"10.9.0.0/16\"\nresolvers = [\"192.0.2.1\"]\napi-domain = \"a.example\"\ntls-listen = \"127.0.0.1:2\"\ntls-certificates = \"t\"\ntls-truststores = \"u\"\nevent-waits = [1, 2]\n\
               client-wait-seconds = 4\nwebsocket-idle-seconds = 5\nwebsocket-life-seconds = 6\nintegration-roots = \"i\"\n\
               [services.sqs]\nendpoint = \"http://127.0.0.1:9324\"";
    let all = file(all).unwrap();
    assert_eq!(all.clone().over(Settings::default()), all);
    assert_eq!(Settings::default().over(all.clone()), all);
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let error = file("lissten = \"127.0.0.1:1\"").unwrap_err().to_string();
    assert!(error.contains("lissten") && error.contains("expected one of"), "{error}");
}

#[test]
fn each_rule_says_what_it_wants() {
    let check = |settings: Settings, expected: &str| {
        let error = settings.resolve(Mode::Serve, 1).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} does not say {expected}");
    };
    let none = Settings::default;
    check(Settings { account: Some("12".to_owned()), ..none() }, "twelve digits");
    check(Settings { region: Some("US".to_owned()), ..none() }, "us-east-1");
    check(Settings { log_level: Some("a=b=c".to_owned()), ..none() }, "log-level");
    check(Settings { threads: Some(0), ..none() }, "threads");
    check(Settings { drain_seconds: Some(901), ..none() }, "900");
    check(Settings { listen: Some("0.0.0.0:1".parse().unwrap()), ..none() }, "--insecure-public");
    check(Settings { api_domain: Some("a..b".to_owned()), ..none() }, "api-domain");
    check(Settings { egress_pool: Some("8.8.0.0/16".to_owned()), ..none() }, "private range");
    check(Settings { resolvers: Some(vec![[127, 0, 0, 53].into()]), ..none() }, "own addresses");
    check(Settings { client_wait_seconds: Some(0), ..none() }, "client-wait-seconds");
    check(Settings { websocket_idle_seconds: Some(604_801), ..none() }, "604800");
    check(Settings { event_waits: Some(vec![1]), ..none() }, "two waits");
    let tls = Settings {
        tls_listen: Some("0.0.0.0:1".parse().unwrap()),
        tls_certificates: Some("t".into()),
        ..none()
    };
    check(Settings { tls_certificates: None, ..tls.clone() }, "tls-certificates");
    check(Settings { tls_listen: None, ..tls.clone() }, "tls-listen");
    let dev = tls.clone().resolve(Mode::Dev, 1).unwrap_err().to_string();
    assert!(dev.contains("any credentials"), "{dev}");
    assert!(tls.resolve(Mode::Serve, 1).is_ok());
    let public = Settings {
        listen: Some("0.0.0.0:1".parse().unwrap()),
        insecure_public: Some(true),
        ..none()
    };
    assert!(public.resolve(Mode::Serve, 1).is_ok());
}
