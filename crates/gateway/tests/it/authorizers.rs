//! Who may use a route: functions that decide, signatures, tokens.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use gatemill_gateway::functions::Answer;
use http::Request;
use serde_json::{Value, json};

use crate::{
    http_proxy::{server, whole},
    world::{ACCOUNT, NOW, REGION, World, arn},
};

/// An API with a function behind `GET /pets/{id}` and an authorizer before it.
async fn guarded(world: &World, authorizer: Value, kind: &str) -> (String, String) {
    world.functions.answers("f", "1");
    let api = world.api().await;
    let members = json!({"integrationType": "AWS_PROXY", "integrationUri": arn("f"), "payloadFormatVersion": "2.0"});
    let integration = world.integration(&api, members).await;
    let route = world.route(&api, "GET /pets/{id}", &integration).await;
    let made = world.ok("POST", &format!("/v2/apis/{api}/authorizers"), authorizer).await;
    let id = made["authorizerId"].as_str().unwrap().to_owned();
    world.guard(&api, &route, json!({"authorizationType": kind, "authorizerId": id})).await;
    (api, id)
}

fn request_authorizer(changes: &Value) -> Value {
    let mut members = json!({"name": "a", "authorizerType": "REQUEST", "authorizerUri": arn("auth"),
        "authorizerPayloadFormatVersion": "2.0", "enableSimpleResponses": true,
        "identitySource": ["$request.header.Authorization"]});
    for (name, value) in changes.as_object().unwrap() {
        members[name] = value.clone();
    }
    members
}

#[tokio::test]
async fn a_function_decides_and_its_context_reaches_the_integration() {
    let world = World::new();
    let (api, id) = guarded(&world, request_authorizer(&json!({})), "CUSTOM").await;
    world
        .functions
        .answers("auth", r#"{"isAuthorized": true, "context": {"n": 1, "list": ["a"], "t": "x"}}"#);
    let got = world.get(&api, "/pets/1").await;
    assert_eq!((got.status.as_u16(), got.text()), (401, r#"{"message":"Unauthorized"}"#));
    assert!(world.functions.events.lock().unwrap().is_empty());

    let request = || {
        Request::get("/pets/a%20b?q=1&q=2")
            .header("Authorization", "secret")
            .header("Cookie", "a=1")
    };
    let got = world.request(&api, request()).await;
    assert_eq!(got.status, 200);
    let events = world.functions.events.lock().unwrap().clone();
    let (asked, event) = (&events[0], &events[1]);
    assert_eq!(asked["version"], "2.0");
    assert_eq!(asked["type"], "REQUEST");
    let route_arn = format!("arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}/$default/GET/pets/a%20b");
    assert_eq!(asked["routeArn"], route_arn.as_str());
    assert_eq!(asked["identitySource"], json!(["secret"]));
    assert_eq!(asked["routeKey"], "GET /pets/{id}");
    assert_eq!(asked["cookies"], json!(["a=1"]));
    assert_eq!(asked["queryStringParameters"], json!({"q": "1,2"}));
    assert_eq!(asked["pathParameters"], json!({"id": "a b"}));
    assert!(asked["requestContext"].get("authorizer").is_none());
    assert!(asked.get("body").is_none() && asked.get("isBase64Encoded").is_none());
    assert_eq!(
        event["requestContext"]["authorizer"],
        json!({"lambda": {"n": 1, "list": ["a"], "t": "x"}})
    );
    let source = format!("arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}/authorizers/{id}");
    assert!(world.functions.asked.lock().unwrap().contains(&source));

    world.functions.answers("auth", r#"{"isAuthorized": false}"#);
    let got = world.request(&api, request()).await;
    assert_eq!((got.status.as_u16(), got.text()), (403, r#"{"message":"Forbidden"}"#));
}

#[tokio::test]
async fn what_goes_wrong_with_a_function_that_decides() {
    let world = World::new();
    let (api, _) = guarded(&world, request_authorizer(&json!({})), "CUSTOM").await;
    let ask = || async {
        world
            .request(&api, Request::get("/pets/1").header("Authorization", "s"))
            .await
            .status
            .as_u16()
    };
    assert_eq!(ask().await, 500, "no such function");
    for answer in
        ["{}", "null", "true", r#"{"isAuthorized": 1}"#, r#"{"isAuthorized": true, "context": []}"#]
    {
        world.functions.answers("auth", answer);
        assert_eq!(ask().await, 500, "{answer}");
    }
    for (payload, status) in
        [(r#"{"errorMessage": "Unauthorized"}"#, 401), (r#"{"errorMessage": "no"}"#, 500)]
    {
        world.functions.define("auth", move |_| {
            Ok(Answer { payload: Bytes::from_static(payload.as_bytes()), failed: true })
        });
        assert_eq!(ask().await, status);
    }
    world.functions.answers("auth", r#"{"isAuthorized": true}"#);
    assert_eq!(ask().await, 200);
    world.functions.deny("auth");
    assert_eq!(ask().await, 500, "its policy says no");
}

#[tokio::test]
async fn format_1_0_and_policies_that_are_kept_and_evaluated_anew() {
    let world = World::new();
    let changes = json!({"authorizerPayloadFormatVersion": "1.0", "enableSimpleResponses": false,
        "authorizerResultTtlInSeconds": 300, "identitySource": ["$request.header.a", "$request.querystring.b"]});
    let (api, _) = guarded(&world, request_authorizer(&changes), "CUSTOM").await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    world.functions.define("auth", move |event| {
        count.fetch_add(1, Ordering::Relaxed);
        let allowed = event["methodArn"].as_str().unwrap().rsplit_once('/').unwrap().0.to_owned();
        let policy = json!({"principalId": "me", "context": {"k": true}, "policyDocument": {"Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": ["execute-api:*"], "Resource": format!("{allowed}/1")}]}});
        Ok(Answer { payload: policy.to_string().into(), failed: false })
    });
    let ask = |path: &'static str, a: &'static str| {
        world.request(&api, Request::get(path).header("A", a))
    };
    assert_eq!(ask("/pets/1", "x").await.status, 401, "one source is missing");
    assert_eq!(ask("/pets/1?b=y", "x").await.status, 200);
    let events = world.functions.events.lock().unwrap().clone();
    assert_eq!(events[0]["version"], "1.0");
    assert_eq!(events[0]["identitySource"], "x,y");
    assert_eq!(events[0]["authorizationToken"], "x,y");
    assert_eq!(events[0]["stageVariables"], json!({}));
    assert_eq!(events[0]["httpMethod"], "GET");
    assert_eq!(events[0]["resource"], "/pets/{id}");
    assert_eq!(events[0]["requestContext"]["stage"], "$default");
    assert_eq!(ask("/pets/2?b=y", "x").await.status, 403, "the kept policy is about another path");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(ask("/pets/2?b=z", "x").await.status, 403);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    world
        .ok("DELETE", &format!("/v2/apis/{api}/stages/%24default/cache/authorizers"), Value::Null)
        .await;
    assert_eq!(ask("/pets/1?b=y", "x").await.status, 200);
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    *world.now.lock().unwrap() = NOW.plus_ms(300_000);
    assert_eq!(ask("/pets/1?b=y", "x").await.status, 200);
    assert_eq!(asked.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_preflight_passes_the_guard_of_the_route_that_it_matches() {
    let world = World::new();
    let (api, id) = guarded(&world, request_authorizer(&json!({})), "CUSTOM").await;
    let path = format!("/v2/apis/{api}");
    let cors = json!({"allowOrigins": ["https://a.example"], "allowMethods": ["GET"]});
    world.ok("PATCH", &path, json!({"corsConfiguration": cors})).await;
    let ask = async |path: &str| {
        let request = Request::builder().method("OPTIONS").uri(path);
        let request = request.header("Origin", "https://a.example");
        let got = world.request(&api, request.header("Access-Control-Request-Method", "GET")).await;
        let of = |name: &str| got.header(name).into_iter().map(str::to_owned).next();
        (got.status.as_u16(), of("access-control-allow-origin"), of("access-control-allow-methods"))
    };
    let origin = Some("https://a.example".to_owned());
    let answered = (204, origin.clone(), Some("GET".to_owned()));
    // No route is there for `OPTIONS`, whoever guards the one for `GET`.
    assert_eq!(ask("/pets/1").await, answered);
    let routes = world.ok("GET", &format!("{path}/routes"), Value::Null).await;
    let target = routes["items"][0]["target"].clone();
    let add = async |key: &str, authorization: &str| {
        let route = json!({"routeKey": key, "target": target, "authorizationType": authorization, "authorizerId": id});
        world.ok("POST", &format!("{path}/routes"), route).await;
    };
    add("ANY /guarded/{proxy+}", "CUSTOM").await;
    add("ANY /signed", "AWS_IAM").await;
    add("ANY /open", "NONE").await;
    let before = world.functions.events.lock().unwrap().len();
    assert_eq!(ask("/guarded/a").await, (401, origin.clone(), None));
    assert_eq!(ask("/signed").await, (403, origin.clone(), None));
    assert_eq!(ask("/open").await, answered);
    add("$default", "CUSTOM").await;
    assert_eq!(ask("/else").await, (401, origin, None));
    // What AWS advises then.
    add("OPTIONS /{proxy+}", "NONE").await;
    assert_eq!(ask("/else").await, answered);
    assert_eq!(world.functions.events.lock().unwrap().len(), before, "nobody was invoked");
}

#[tokio::test]
async fn signatures() {
    let world = World::new();
    world.functions.answers("f", "1");
    for format in ["1.0", "2.0"] {
        let api = world.function_api("ANY /{proxy+}", "f", format).await;
        let routes = world.ok("GET", &format!("/v2/apis/{api}/routes"), Value::Null).await;
        let route = routes["items"][0]["routeId"].as_str().unwrap();
        world.guard(&api, route, json!({"authorizationType": "AWS_IAM"})).await;
        let ask = |signer: Option<&str>, body: &'static str| {
            let request = Request::post("/x");
            let request = match signer {
                Some(signer) => request.header("x-signer", signer),
                None => request,
            };
            world.send(&api, request, body)
        };
        let own = format!("{ACCOUNT}/somebody");
        for (signer, body) in [
            (None, ""),
            (Some("malformed"), ""),
            (Some("999999999999/somebody"), ""),
            (Some(&*format!("{ACCOUNT}/nobody")), ""),
            (Some(&*own), "forged"),
        ] {
            let got = ask(signer, body).await;
            assert_eq!((got.status.as_u16(), got.text()), (403, r#"{"message":"Forbidden"}"#));
        }
        assert_eq!(ask(Some(&own), "body").await.status, if format == "1.0" { 500 } else { 200 });
        let context = &world.functions.last_event()["requestContext"];
        if format == "2.0" {
            assert_eq!(context["authorizer"]["iam"]["userId"], "id-of-somebody");
        } else {
            assert_eq!(context["identity"]["user"], "id-of-somebody");
            assert_eq!(context["identity"]["accountId"], ACCOUNT);
        }
    }
}

/// An issuer on the loopback, whose keys can change and whose documents can lie.
struct Issuer {
    url: String,
    keys: Arc<Mutex<Value>>,
    lie: Arc<Mutex<Option<&'static str>>>,
    asked: Arc<AtomicUsize>,
}

struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

fn key(id: &'static str) -> Key {
    Key { id, pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn key_set(keys: &[&Key]) -> Value {
    let of = |key: &&Key| {
        let point = key.pair.public_key().as_ref();
        json!({"kid": key.id, "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])})
    };
    json!({"keys": keys.iter().map(of).collect::<Vec<_>>()})
}

impl Key {
    fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": self.id});
        let signed = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(claims.to_string().as_bytes())
        );
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature.as_ref()))
    }
}

impl Issuer {
    async fn new(first: Value) -> Self {
        let keys = Arc::new(Mutex::new(first));
        let lie = Arc::new(Mutex::new(None));
        let asked = Arc::new(AtomicUsize::new(0));
        let url = Arc::new(Mutex::new(String::new()));
        let (keys_of, lie_of, asked_of, url_of) =
            (Arc::clone(&keys), Arc::clone(&lie), Arc::clone(&asked), Arc::clone(&url));
        let address = server(move |request| {
            let url = url_of.lock().unwrap().clone();
            let text = if request.uri().path().ends_with("/.well-known/openid-configuration") {
                match *lie_of.lock().unwrap() {
                    Some("issuer") => {
                        json!({"issuer": "https://else", "jwks_uri": format!("{url}/keys")})
                            .to_string()
                    }
                    Some("uri") => {
                        json!({"issuer": url, "jwks_uri": "file:///etc/passwd"}).to_string()
                    }
                    Some("json") => "<html>".to_owned(),
                    _ => json!({"issuer": url, "jwks_uri": format!("{url}/keys")}).to_string(),
                }
            } else {
                asked_of.fetch_add(1, Ordering::Relaxed);
                match *lie_of.lock().unwrap() {
                    Some("size") => format!("{{\"keys\":[]{}}}", " ".repeat(200_000)),
                    _ => keys_of.lock().unwrap().to_string(),
                }
            };
            async move { http::Response::new(whole(text)) }
        })
        .await;
        *url.lock().unwrap() = format!("http://{address}");
        let url = url.lock().unwrap().clone();
        Self { url, keys, lie, asked }
    }

    fn authorizer(&self) -> Value {
        json!({"name": "j", "authorizerType": "JWT", "identitySource": ["$request.header.Authorization"],
            "jwtConfiguration": {"issuer": self.url, "audience": ["me"]}})
    }

    fn claims(&self) -> Value {
        json!({"iss": self.url, "aud": "me", "exp": NOW.seconds() + 50_000, "scope": "read write", "groups": ["a", "b"],
            "n": 5, "t": true})
    }
}

async fn with_token(world: &World, api: &str, token: &str) -> crate::world::Got {
    world.request(api, Request::get("/pets/1").header("Authorization", token)).await
}

#[tokio::test]
async fn tokens_scopes_and_challenges() {
    let world = World::new();
    let first = key("1");
    let issuer = Issuer::new(key_set(&[&first])).await;
    let (api, _) = guarded(&world, issuer.authorizer(), "JWT").await;
    let got = world.get(&api, "/pets/1").await;
    assert_eq!((got.status.as_u16(), got.text()), (401, r#"{"message":"Unauthorized"}"#));
    assert_eq!(got.header("www-authenticate"), ["Bearer"]);

    let token = first.sign(&issuer.claims());
    for given in [format!("Bearer {token}"), format!("bearer {token}"), token.clone()] {
        assert_eq!(with_token(&world, &api, &given).await.status, 200);
    }
    let authorizer = world.functions.last_event()["requestContext"]["authorizer"].clone();
    assert_eq!(authorizer["jwt"]["scopes"], Value::Null);
    assert_eq!(authorizer["jwt"]["claims"]["groups"], "[a b]");
    assert_eq!(authorizer["jwt"]["claims"]["n"], "5");
    assert_eq!(authorizer["jwt"]["claims"]["t"], "true");

    let mut claims = issuer.claims();
    claims["aud"] = "you".into();
    let got = with_token(&world, &api, &first.sign(&claims)).await;
    assert_eq!(got.status, 401);
    assert_eq!(
        got.header("www-authenticate"),
        [
            r#"Bearer scope="" error="invalid_token" error_description="the token does not have a valid audience""#
        ]
    );
    let none = format!(
        "{}.{}.",
        encode(br#"{"alg":"none","kid":"1"}"#),
        encode(issuer.claims().to_string().as_bytes())
    );
    let got = with_token(&world, &api, &none).await;
    assert_eq!(got.status, 401);
    assert!(got.header("www-authenticate")[0].contains("signing method none is invalid"));

    let routes = world.ok("GET", &format!("/v2/apis/{api}/routes"), Value::Null).await;
    let route = routes["items"][0]["routeId"].as_str().unwrap();
    world.guard(&api, route, json!({"authorizationScopes": ["admin", "write"]})).await;
    assert_eq!(with_token(&world, &api, &token).await.status, 200);
    let authorizer = world.functions.last_event()["requestContext"]["authorizer"].clone();
    assert_eq!(authorizer["jwt"]["scopes"], json!(["read", "write"]));
    world.guard(&api, route, json!({"authorizationScopes": ["admin"]})).await;
    let got = with_token(&world, &api, &token).await;
    assert_eq!((got.status.as_u16(), got.text()), (403, r#"{"message":"Forbidden"}"#));
    assert!(
        got.header("www-authenticate")[0].contains(r#"scope="admin" error="insufficient_scope""#)
    );
}

#[tokio::test]
async fn authorizers_take_no_members_of_other_types() {
    let world = World::new();
    let issuer = Issuer::new(key_set(&[&key("1")])).await;
    let (api, id) = guarded(&world, issuer.authorizer(), "JWT").await;
    let at = format!("/v2/apis/{api}/authorizers");
    let jwt = issuer.authorizer()["jwtConfiguration"].clone();
    let request = request_authorizer(&json!({"name": "r"}));
    let asked = world.ok("POST", &at, request).await["authorizerId"].clone();
    let of = |id: &Value| format!("{at}/{}", id.as_str().unwrap());
    for (kind, name, value) in [
        ("JWT", "authorizerUri", json!(arn("f"))),
        ("JWT", "authorizerPayloadFormatVersion", json!("2.0")),
        ("JWT", "authorizerResultTtlInSeconds", json!(1)),
        ("JWT", "enableSimpleResponses", json!(true)),
        ("REQUEST", "jwtConfiguration", jwt),
    ] {
        let mut made = match kind {
            "JWT" => issuer.authorizer(),
            _ => request_authorizer(&json!({})),
        };
        (made["name"], made[name]) = ("other".into(), value.clone());
        let of_kind = if kind == "JWT" { of(&json!(id)) } else { of(&asked) };
        let text = format!(
            "{}{} is not supported for {kind} authorizers",
            name[..1].to_ascii_uppercase(),
            &name[1..]
        );
        for (method, path, members) in
            [("POST", &at, made), ("PATCH", &of_kind, json!({name: value}))]
        {
            let (status, error) = world.call(method, path, members).await;
            assert_eq!((status, &error["message"]), (400, &json!(text)), "{method} {name}");
        }
    }
    // A route that is given another type lets go of scopes, which only tokens have.
    let routes = world.ok("GET", &format!("/v2/apis/{api}/routes"), Value::Null).await;
    let route = routes["items"][0]["routeId"].as_str().unwrap();
    world.guard(&api, route, json!({"authorizationScopes": ["read"]})).await;
    let change = json!({"authorizationType": "CUSTOM", "authorizerId": asked});
    let changed = world.ok("PATCH", &format!("/v2/apis/{api}/routes/{route}"), change).await;
    assert_eq!(
        (&changed["authorizationType"], changed.get("authorizationScopes")),
        (&json!("CUSTOM"), None)
    );
    let mut plain = issuer.authorizer();
    plain["name"] = "plain".into();
    // What says nothing is taken.
    (plain["authorizerResultTtlInSeconds"], plain["enableSimpleResponses"]) =
        (0.into(), false.into());
    world.ok("POST", &at, plain).await;
}

#[tokio::test]
async fn keys_are_kept_and_asked_for_anew_but_not_for_everybody() {
    let world = World::new();
    let (first, second, foreign) = (key("1"), key("2"), key("3"));
    let issuer = Issuer::new(key_set(&[&first])).await;
    let (api, _) = guarded(&world, issuer.authorizer(), "JWT").await;
    let made = issuer.asked.load(Ordering::Relaxed);
    let asked = || issuer.asked.load(Ordering::Relaxed) - made;
    let ask = |key: &Key| {
        let token = key.sign(&issuer.claims());
        let (world, api) = (&world, &api);
        async move { usize::from(with_token(world, api, &token).await.status.as_u16()) }
    };
    let (a, b, c) = tokio::join!(ask(&first), ask(&first), ask(&first));
    assert_eq!([a, b, c, asked()], [200, 200, 200, 1], "one asks for all");
    *issuer.keys.lock().unwrap() = key_set(&[&first, &second]);
    assert_eq!([ask(&second).await, asked()], [401, 1], "the issuer was asked a moment ago");
    *world.now.lock().unwrap() = NOW.plus_ms(6_000);
    assert_eq!([ask(&second).await, asked()], [200, 2], "keys rotate");
    assert_eq!([ask(&foreign).await, ask(&foreign).await, asked()], [401, 401, 2]);
    *issuer.lie.lock().unwrap() = Some("size");
    *world.now.lock().unwrap() = NOW.plus_ms(3_700_000);
    assert_eq!(ask(&first).await, 200, "keys that cannot be had anew still hold");
    *world.now.lock().unwrap() = NOW.plus_ms(7_300_000);
    assert_eq!(ask(&first).await, 401, "but not for ever");
}

#[tokio::test]
async fn issuers_that_lie_are_no_issuers() {
    let world = World::new();
    let issuer = Issuer::new(key_set(&[])).await;
    let api = world.api().await;
    for lie in ["issuer", "uri", "json", "size"] {
        *issuer.lie.lock().unwrap() = Some(lie);
        let (status, error) =
            world.call("POST", &format!("/v2/apis/{api}/authorizers"), issuer.authorizer()).await;
        assert_eq!(status, 400, "{lie}");
        assert!(error["message"].as_str().unwrap().contains("Invalid issuer"), "{error}");
    }
    let mut nowhere = issuer.authorizer();
    for url in ["http://127.0.0.1:1", "ftp://x", "issuer", "http://169.254.169.254"] {
        nowhere["jwtConfiguration"]["issuer"] = url.into();
        let (status, _) =
            world.call("POST", &format!("/v2/apis/{api}/authorizers"), nowhere.clone()).await;
        assert_eq!(status, 400, "{url}");
    }
}

#[tokio::test]
async fn the_control_plane_of_authorizers() {
    let world = World::new();
    let (api, id) = guarded(&world, request_authorizer(&json!({})), "CUSTOM").await;
    let at = format!("/v2/apis/{api}/authorizers");
    let got = world.ok("GET", &format!("{at}/{id}"), Value::Null).await;
    let mut expected =
        request_authorizer(&json!({"authorizerResultTtlInSeconds": 0, "authorizerId": id}));
    assert_eq!(got, expected);
    let changed = world
        .ok(
            "PATCH",
            &format!("{at}/{id}"),
            json!({"authorizerResultTtlInSeconds": 60, "name": "b"}),
        )
        .await;
    (expected["authorizerResultTtlInSeconds"], expected["name"]) = (60.into(), "b".into());
    assert_eq!(changed, expected);
    assert_eq!(world.ok("GET", &at, Value::Null).await["items"], json!([expected]));

    let (status, error) = world.call("DELETE", &format!("{at}/{id}"), Value::Null).await;
    assert_eq!((status, &error["code"]), (409, &json!("ConflictException")));
    for (changes, text) in [
        (
            json!({"authorizerPayloadFormatVersion": null}),
            "AuthorizerPayloadFormatVersion is a required parameter for REQUEST authorizer",
        ),
        (
            json!({"authorizerResultTtlInSeconds": 1, "identitySource": []}),
            "At least one identity source",
        ),
        (
            json!({"authorizerPayloadFormatVersion": "1.0"}),
            "EnableSimpleResponses is not supported",
        ),
        (json!({"identitySource": ["$request.body.a"]}), "Invalid identity source"),
        (json!({"identitySource": ["route.request.header.a"]}), "Invalid identity source"),
        (json!({"authorizerUri": "http://x"}), "Invalid Authorizer URI"),
    ] {
        let mut members = request_authorizer(&json!({"name": "c"}));
        for (name, value) in changes.as_object().unwrap() {
            members[name] = value.clone();
        }
        members.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let (status, error) = world.call("POST", &at, members).await;
        assert_eq!(status, 400, "{changes}");
        assert!(error["message"].as_str().unwrap().starts_with(text), "{error}");
    }
    let (status, _) = world
        .call(
            "POST",
            &at,
            request_authorizer(
                &json!({"name": "c", "authorizerCredentialsArn": "arn:aws:iam::1:role/x"}),
            ),
        )
        .await;
    assert_eq!(status, 501);
    let routes = world.ok("GET", &format!("/v2/apis/{api}/routes"), Value::Null).await;
    let route = &routes["items"][0];
    assert_eq!(
        (&route["authorizationType"], &route["authorizerId"]),
        (&json!("CUSTOM"), &json!(id))
    );
    let route = format!("/v2/apis/{api}/routes/{}", route["routeId"].as_str().unwrap());
    let jwt = "Invalid authorizer ID specified. Setting the authorization type to JWT requires a valid JWT authorizer.";
    let custom = "Invalid authorizer ID specified. Setting the authorization type to CUSTOM requires a valid authorizer.";
    for (changes, text) in [
        // The authorizer is of another kind, is not there, or is not named.
        (json!({"authorizationType": "JWT"}), jwt),
        (json!({"authorizationType": "JWT", "authorizerId": "none00"}), jwt),
        (json!({"authorizerId": "none00"}), custom),
        (json!({"authorizationType": "JWT", "authorizerId": ""}), jwt),
    ] {
        let (status, error) = world.call("PATCH", &route, changes).await;
        assert_eq!((status, &error["code"]), (400, &json!("BadRequestException")));
        assert_eq!(error["message"], text);
    }
    let open = world.ok("PATCH", &route, json!({"authorizationType": "NONE"})).await;
    assert_eq!(open.get("authorizerId"), None);
    world.ok("DELETE", &format!("{at}/{id}"), Value::Null).await;
    let (status, error) = world.call("GET", &format!("{at}/{id}"), Value::Null).await;
    assert_eq!(
        (status, error["message"].as_str().unwrap()),
        (404, &*format!("Invalid Authorizer identifier specified {id}"))
    );
    for n in 0..10 {
        world.ok("POST", &at, request_authorizer(&json!({"name": format!("n{n}")}))).await;
    }
    let (status, _) = world.call("POST", &at, request_authorizer(&json!({"name": "n10"}))).await;
    assert_eq!(status, 429);
}

#[tokio::test]
async fn authorizers_are_deployed_like_routes() {
    let world = World::new();
    let (api, id) = guarded(&world, request_authorizer(&json!({})), "CUSTOM").await;
    world.functions.answers("auth", r#"{"isAuthorized": true}"#);
    world.functions.answers("other", r#"{"isAuthorized": false}"#);
    let deployment = world.ok("POST", &format!("/v2/apis/{api}/deployments"), json!({})).await;
    let fixed = json!({"stageName": "fixed", "deploymentId": deployment["deploymentId"]});
    world.ok("POST", &format!("/v2/apis/{api}/stages"), fixed).await;
    world
        .ok(
            "PATCH",
            &format!("/v2/apis/{api}/authorizers/{id}"),
            json!({"authorizerUri": arn("other")}),
        )
        .await;
    let ask =
        |path: &'static str| world.request(&api, Request::get(path).header("Authorization", "s"));
    assert_eq!(ask("/pets/1").await.status, 403);
    assert_eq!(ask("/fixed/pets/1").await.status, 200);
}
