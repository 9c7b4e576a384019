//! Registries that do as they should, and those that do not.

use std::fs;

use gatemill_image::{Error, Registries, Settings};

use crate::world::{Answer, Asked, Made, Played, good_answer, image, open, settings, tar};

#[tokio::test(flavor = "multi_thread")]
async fn layers_are_fetched_once_for_all_images() {
    let dir = tempfile::tempdir().unwrap();
    let base = tar(&[("base", "shared")]);
    let (one, two) = (
        image(&[base.clone(), tar(&[("run", "one")])]),
        image(&[base.clone(), tar(&[("run", "two")])]),
    );
    let registries = (Played::good(&one), Played::good(&two));
    let images = open(dir.path(), settings());
    for (registry, made) in [(&registries.0, &one), (&registries.1, &two)] {
        let reference = registry.uri("fn:1");
        let digest = images.resolve(&reference).await.unwrap();
        assert_eq!(digest, made.manifest);
        images.ensure(&reference, &digest).await.unwrap();
    }
    let asked = registries.1.requests();
    let layer = one.layers[0].to_string();
    assert!(registries.0.requests().iter().any(|target| target.ends_with(&layer)));
    assert!(!asked.iter().any(|target| target.ends_with(&layer)), "{asked:?}");

    // Layers go when no image is left that was made of them.
    let layers = || fs::read_dir(dir.path().join("images/layers")).unwrap().count();
    assert_eq!(layers(), 3);
    assert!(images.remove(&one.manifest).unwrap() && images.sweep_layers().unwrap());
    assert_eq!(layers(), 2);
    assert!(images.remove(&two.manifest).unwrap() && images.sweep_layers().unwrap());
    assert_eq!(layers(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_the_repository_and_no_credentials_for_the_storage() {
    let dir = tempfile::tempdir().unwrap();
    let made = image(&[tar(&[("run", "one")])]);
    let served = made.clone();
    let storage = Played::new(move |asked| {
        // The storage is another's.
        if asked.authorization.is_some() {
            return (400, String::new(), Vec::new());
        }
        good_answer(&served, &asked.target)
    });
    let (served, elsewhere) = (made.clone(), storage.host.clone());
    let registry = Played::new(move |asked| {
        let Asked { host, target, authorization } = asked;
        match authorization.as_deref() {
            Some("Basic dTpw") if *target == "/token?scope=repository:team/fn:pull&service=s" => {
                (200, String::new(), br#"{"token":"t0k3n"}"#.to_vec())
            }
            Some("Bearer t0k3n") if target.contains("/blobs/") => {
                (307, format!("location: http://{elsewhere}{target}\r\n"), Vec::new())
            }
            Some("Bearer t0k3n") => good_answer(&served, target),
            _ => {
                let realm = format!("realm=\"http://{host}/token\",service=\"s\"");
                (401, format!("www-authenticate: Bearer {realm}\r\n"), Vec::new())
            }
        }
    });
    let credentials = dir.path().join("config.json");
    let login = format!(r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#, registry.host);
    fs::write(&credentials, login).unwrap();
    let with = Settings { credentials: Some(credentials.clone()), ..settings() };
    let images = open(dir.path(), with);
    let reference = registry.uri("team/fn:1");
    let digest = images.resolve(&reference).await.unwrap();
    let unpacked = images.ensure(&reference, &digest).await.unwrap();
    assert_eq!(fs::read(unpacked.root().join("run")).unwrap(), b"one");
    assert_eq!(storage.requests().len(), 2, "configuration and layer");
    let tokens = registry.requests().iter().filter(|target| target.contains("token")).count();
    assert_eq!(tokens, 1);

    // The file is read anew for each image.
    fs::write(&credentials, r#"{"auths":{}}"#).unwrap();
    let refused = images.resolve(&registry.uri("other/fn:1")).await;
    assert!(matches!(refused, Err(Error::Denied)), "{refused:?}");
    fs::write(&credentials, "secret").unwrap();
    let refused = images.resolve(&registry.uri("third/fn:1")).await.unwrap_err();
    assert!(matches!(refused, Error::Settings(_)) && !refused.to_string().contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn basic_authentication() {
    let dir = tempfile::tempdir().unwrap();
    let made = image(&[tar(&[("run", "one")])]);
    let registry = Played::new(move |asked| match asked.authorization.as_deref() {
        Some("Basic dTpw") => good_answer(&made, &asked.target),
        _ => (401, "www-authenticate: Basic realm=\"x\"\r\n".to_owned(), Vec::new()),
    });
    let credentials = dir.path().join("config.json");
    let open_with = |login: &str| {
        fs::write(&credentials, format!(r#"{{"auths":{{"{}":{login}}}}}"#, registry.host)).unwrap();
        open(dir.path(), Settings { credentials: Some(credentials.clone()), ..settings() })
    };
    let reference = registry.uri("fn:1");
    let right = open_with(r#"{"username":"u","password":"p"}"#);
    let digest = right.resolve(&reference).await.unwrap();
    right.ensure(&reference, &digest).await.unwrap();
    let wrong = open_with(r#"{"username":"u","password":"x"}"#).resolve(&reference).await;
    assert!(matches!(wrong, Err(Error::Denied)), "{wrong:?}");
    let none = open(dir.path(), settings()).resolve(&reference).await;
    assert!(matches!(none, Err(Error::Denied)), "{none:?}");
    let only =
        Settings { registries: Registries::Only(vec!["r.example.com".to_owned()]), ..settings() };
    let other = open(dir.path(), only).resolve(&reference).await;
    assert!(matches!(other, Err(Error::NotAllowed(_))), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_that_misbehave() {
    let made = image(&[tar(&[("run", "one")])]);
    type Fault = fn(&Made, &str) -> Option<Answer>;
    type Expected = fn(&Error) -> bool;
    let faults: [(&str, Fault, Expected); 9] = [
        ("absent", |_, _| Some((404, String::new(), Vec::new())), |e| matches!(e, Error::NotFound)),
        ("busy", |_, _| Some((503, String::new(), Vec::new())), Error::is_transient),
        ("refusing", |_, _| Some((403, String::new(), Vec::new())), |e| matches!(e, Error::Denied)),
        (
            "in circles",
            |_, target| Some((307, format!("location: {target}\r\n"), Vec::new())),
            Error::is_transient,
        ),
        (
            "no manifest",
            |_, target| {
                target.contains("manifests").then(|| (200, String::new(), b"<html>".to_vec()))
            },
            |e| matches!(e, Error::Invalid(_)),
        ),
        (
            "endless manifest",
            |_, target| {
                let long = || (200, String::new(), vec![b' '; 5 * 1024 * 1024]);
                target.contains("manifests").then(long)
            },
            |e| matches!(e, Error::Invalid(_)),
        ),
        (
            "another layer",
            |made, target| {
                let length = made.blobs[&made.layers[0]].len();
                let other = || (200, String::new(), vec![b'x'; length]);
                target.ends_with(&made.layers[0].to_string()).then(other)
            },
            |e| matches!(e, Error::Invalid(_)),
        ),
        (
            "a longer layer",
            |made, target| {
                let length = made.blobs[&made.layers[0]].len() + 1;
                let longer = || (200, String::new(), vec![0; length]);
                target.ends_with(&made.layers[0].to_string()).then(longer)
            },
            |e| matches!(e, Error::Invalid(_)),
        ),
        (
            "half a layer",
            |made, target| {
                let length = made.blobs[&made.layers[0]].len();
                let half = || (200, format!("content-length: {length}\r\n"), vec![0; length / 2]);
                target.ends_with(&made.layers[0].to_string()).then(half)
            },
            Error::is_transient,
        ),
    ];
    for (name, fault, expected) in faults {
        let dir = tempfile::tempdir().unwrap();
        let served = made.clone();
        let registry = Played::new(move |asked| {
            fault(&served, &asked.target).unwrap_or_else(|| good_answer(&served, &asked.target))
        });
        let images = open(dir.path(), settings());
        let reference = registry.uri("fn:1");
        let error = match images.resolve(&reference).await {
            Ok(digest) => images.ensure(&reference, &digest).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(expected(&error), "{name}: {error:?}");
        assert_eq!(images.list().unwrap(), []);
        for below in ["layers", "partial"] {
            let left = fs::read_dir(dir.path().join("images").join(below)).unwrap().count();
            assert_eq!(left, 0, "{name} left something in {below}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_given_up_can_be_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let made = image(&[tar(&[("run", "one")])]);
    let (asked, arrived) = std::sync::mpsc::channel();
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let (asked, gate) = (std::sync::Mutex::new(asked), std::sync::Mutex::new(gate));
    let (served, layer) = (made.clone(), made.layers[0].to_string());
    let registry = Played::new(move |request| {
        if request.target.ends_with(&layer) {
            // The test went on when nobody takes this.
            let _ = asked.lock().unwrap().send(());
            let _ = gate.lock().unwrap().recv();
        }
        good_answer(&served, &request.target)
    });
    let images = std::sync::Arc::new(open(dir.path(), settings()));
    let reference = registry.uri("fn:1");
    let pull = {
        let (images, reference, digest) = (images.clone(), reference.clone(), made.manifest);
        tokio::spawn(async move { images.ensure(&reference, &digest).await })
    };
    tokio::task::spawn_blocking(move || arrived.recv().unwrap()).await.unwrap();
    pull.abort();
    assert!(pull.await.unwrap_err().is_cancelled());
    assert_eq!(images.list().unwrap(), []);
    drop(go);
    images.ensure(&reference, &made.manifest).await.unwrap();
    assert_eq!(images.list().unwrap(), [made.manifest]);
}
