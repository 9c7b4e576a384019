//! The choice of a route: AWS's examples, the traps, and a comparison with a matcher that tries every route.

use proptest::prelude::*;

use super::*;

fn trie(keys: &[&str]) -> Trie {
    let mut trie = Trie::new();
    for (number, key) in keys.iter().enumerate() {
        trie.insert(&RouteKey::parse(key).unwrap(), u32::try_from(number).unwrap());
    }
    trie
}

#[track_caller]
fn check(keys: &[&str], request: &str, expected: Option<(&str, &[&str])>) {
    let (method, path) = request.split_once(' ').unwrap();
    let trie = trie(keys);
    let found = trie.find(method, path).map(|found| (keys[found.route], found.captures));
    assert_eq!(found, expected.map(|(key, captures)| (key, captures.to_vec())), "{request}");
}

#[test]
fn the_examples_of_the_guide() {
    let keys = [
        "GET /pets/dog/1",
        "GET /pets/dog/{id}",
        "GET /pets/{proxy+}",
        "ANY /{proxy+}",
        "$default",
    ];
    check(&keys, "GET /pets/dog/1", Some((keys[0], &[])));
    check(&keys, "GET /pets/dog/2", Some((keys[1], &["2"])));
    check(&keys, "GET /pets/cat/3", Some((keys[2], &["cat/3"])));
    check(&keys, "POST /test/5", Some((keys[3], &["test/5"])));
    check(&keys, "POST /pets/dog/1", Some((keys[3], &["pets/dog/1"])));
    check(&keys, "GET /", Some((keys[4], &[])));
}

#[test]
fn precedence_and_falling_through() {
    check(&["ANY /a", "GET /a"], "GET /a", Some(("GET /a", &[])));
    check(&["ANY /a", "GET /a"], "PUT /a", Some(("ANY /a", &[])));
    check(&["GET /{x}/b", "GET /a/{y}"], "GET /a/b", Some(("GET /a/{y}", &["b"])));
    check(&["POST /a/b", "GET /{x}/b"], "GET /a/b", Some(("GET /{x}/b", &["a"])));
    check(&["GET /a/b", "GET /{p+}"], "GET /a/c", Some(("GET /{p+}", &["a/c"])));
    check(&["GET /{a}/{b}", "GET /x/{p+}"], "GET /x/y", Some(("GET /{a}/{b}", &["x", "y"])));
    check(&["GET /a/{p+}", "GET /{q+}"], "GET /a/", Some(("GET /{q+}", &["a/"])));
    check(&["GET /a/{x}/c", "GET /a/{p+}"], "GET /a/b/d", Some(("GET /a/{p+}", &["b/d"])));
    check(&["GET /{x}/q/{p+}", "ANY /{p+}"], "PUT /a/q/b", Some(("ANY /{p+}", &["a/q/b"])));
    check(&["GET /a"], "POST /a", None);
    check(&["GET /a"], "BREW /a", None);
    check(&["ANY /a"], "BREW /a", Some(("ANY /a", &[])));
}

#[test]
fn slashes_and_escapes() {
    check(&["GET /a"], "GET /a/", None);
    check(&["GET /a/"], "GET /a/", Some(("GET /a/", &[])));
    check(&["GET /"], "GET /", Some(("GET /", &[])));
    check(&["GET /{proxy+}"], "GET /", None);
    check(&["GET /{x}"], "GET /", None);
    check(&["GET /{p+}"], "GET //a", Some(("GET /{p+}", &["/a"])));
    check(&["GET /pets"], "GET /p%65ts", Some(("GET /pets", &[])));
    check(&["GET /{x}"], "GET /a%2Fb", Some(("GET /{x}", &["a%2Fb"])));
    check(&["GET /a/b"], "GET /a%2Fb", None);
}

#[test]
fn what_is_no_route_key() {
    for key in [
        "",
        "GET",
        "GET a",
        "get /a",
        "BREW /a",
        "GET  /a",
        "GET /a b",
        "GET /{a",
        "GET /{}",
        "GET /{+}",
        "GET /{a+}/b",
        "GET /{a}/{a}",
        "GET /x{a}",
        "GET /a?b",
        "$other",
        "GET /\u{7}",
        "$default ",
    ] {
        assert_eq!(RouteKey::parse(key), None, "{key:?}");
    }
    for key in ["GET /", "ANY /{proxy+}", "GET /a/{b.c-d_e}", "OPTIONS /a/", "HEAD /ä", "$default"]
    {
        assert!(RouteKey::parse(key).is_some(), "{key:?}");
    }
}

/// How well a route fits a request, best first; `None` when it does not.
fn rank(key: &str, method: &str, path: &str) -> Option<(u8, Vec<u8>, u8)> {
    let (verb, segments) = match RouteKey::parse(key)? {
        RouteKey::Default => return Some((2, Vec::new(), 0)),
        RouteKey::Path { verb, segments, .. } => (verb, segments),
    };
    if verb.is_some_and(|number| VERBS[number] != method) {
        return None;
    }
    let given: Vec<_> = path[1..].split('/').collect();
    let mut shape = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let text = given.get(index);
        match segment {
            Segment::Literal(literal)
                if text.is_some_and(|text| percent::decode(text) == *literal) =>
            {
                shape.push(0)
            }
            Segment::Variable(_) if text.is_some_and(|text| !text.is_empty()) => shape.push(1),
            Segment::Greedy(_) if !given.get(index..)?.join("/").is_empty() => {
                shape.push(2);
                return Some((1, shape, u8::from(verb.is_none())));
            }
            _ => return None,
        }
    }
    (given.len() == segments.len()).then(|| (0, shape, u8::from(verb.is_none())))
}

fn key() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just(String::new()),
        (0..3u8).prop_map(|n| format!("{{v{n}}}")),
    ];
    let tail = prop_oneof![3 => Just(String::new()), 1 => Just("/{rest+}".to_owned())];
    let path = (prop::collection::vec(segment, 0..4), tail).prop_map(|(segments, tail)| {
        let path: String = segments.iter().map(|segment| format!("/{segment}")).collect();
        let path = path + &tail;
        if path.is_empty() { "/".to_owned() } else { path }
    });
    let verb = prop_oneof![Just("GET"), Just("POST"), Just("ANY")];
    prop_oneof![
        12 => (verb, path).prop_map(|(verb, path)| format!("{verb} {path}")),
        1 => Just("$default".to_owned()),
    ]
}

proptest! {
    #[test]
    fn the_trie_agrees_with_trying_every_route(
        keys in prop::collection::vec(key(), 0..24),
        method in prop_oneof![Just("GET"), Just("POST"), Just("PUT")],
        segments in prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c"), Just(""), Just("%61")], 0..5),
    ) {
        let keys: Vec<_> = keys.iter().map(String::as_str).filter(|key| RouteKey::parse(key).is_some()).collect();
        let path = format!("/{}", segments.join("/"));
        let found = trie(&keys).find(method, &path).map(|found| rank(keys[found.route], method, &path).unwrap());
        let best = keys.iter().filter_map(|key| rank(key, method, &path)).min();
        prop_assert_eq!(found, best);
    }

    #[test]
    fn hostile_paths_and_keys_do_no_harm(path in "/\\PC{0,60}", key in "\\PC{0,40}") {
        RouteKey::parse(&key);
        trie(&["GET /{a}/b", "ANY /{p+}"]).find("GET", &path);
    }
}
