//! From a layout to a tree, and what becomes of both.

use std::fs;

use gatemill_image::{Digest, Error, Reference, Settings};

use crate::world::{image, open, settings, tar, write_layout};

#[tokio::test(flavor = "multi_thread")]
async fn unpacked_once_used_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let made =
        image(&[tar(&[("run", "one"), ("gone", "x")]), tar(&[(".wh.gone", ""), ("two", "2")])]);
    write_layout(&dir.path().join("layouts/team/fn"), "v1", &made);
    let settings = Settings { layouts: Some(dir.path().join("layouts")), ..settings() };
    let images = open(dir.path(), settings.clone());
    let reference = Reference::parse("oci-layout:team/fn:v1").unwrap();
    let digest = images.resolve(&reference).await.unwrap();
    assert_eq!(digest, made.manifest);
    let (first, second) =
        tokio::join!(images.ensure(&reference, &digest), images.ensure(&reference, &digest));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.root(), second.root());
    assert_eq!(fs::read(first.root().join("run")).unwrap(), b"one");
    assert!(first.root().join("two").exists() && !first.root().join("gone").exists());
    assert_eq!(first.process().entry_point, ["/run"]);
    assert_eq!(first.process().command, ["h"]);
    assert!(!images.remove(&digest).unwrap(), "it is in use");
    drop((first, second, images));

    // Another process, and the layout is gone: the tree is enough.
    fs::remove_dir_all(dir.path().join("layouts")).unwrap();
    let images = open(dir.path(), settings);
    assert_eq!(images.list().unwrap(), [digest]);
    let again = images.ensure(&reference, &digest).await.unwrap();
    assert_eq!(again.process().command, ["h"]);
    drop(again);
    assert!(images.remove(&digest).unwrap());
    assert_eq!(images.list().unwrap(), []);
    assert!(matches!(images.ensure(&reference, &digest).await, Err(Error::NotFound)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_left_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let made = image(&[tar(&[("run", "one")])]);
    write_layout(&dir.path().join("fn"), "1", &made);
    let settings = Settings { layouts: Some(dir.path().to_owned()), ..settings() };
    let left = dir.path().join("images/partial/0/rootfs");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("run"), "half").unwrap();
    let images = open(dir.path(), settings);
    assert!(!left.exists());
    let reference = Reference::parse("oci-layout:fn:1").unwrap();
    let unpacked = images.ensure(&reference, &made.manifest).await.unwrap();
    assert_eq!(fs::read(unpacked.root().join("run")).unwrap(), b"one");
}

#[tokio::test]
async fn what_is_not_there_or_not_right() {
    let dir = tempfile::tempdir().unwrap();
    let made = image(&[tar(&[("run", "one")])]);
    write_layout(&dir.path().join("fn"), "1", &made);
    let with = Settings { layouts: Some(dir.path().to_owned()), ..settings() };
    let images = open(dir.path(), with);
    let resolve = async |uri: &str| images.resolve(&Reference::parse(uri).unwrap()).await;
    assert!(matches!(resolve("oci-layout:fn:2").await, Err(Error::NotFound)));
    assert!(matches!(resolve("oci-layout:other:1").await, Err(Error::NotFound)));
    let absent = format!("oci-layout:fn@{}", Digest::of(b"x"));
    assert!(matches!(resolve(&absent).await, Err(Error::NotFound)));

    // A layer with other bytes than its digest.
    let layer = dir.path().join("fn/blobs/sha256").join(made.layers[0].hex());
    fs::write(&layer, tar(&[("run", "two")])).unwrap();
    let reference = Reference::parse("oci-layout:fn:1").unwrap();
    let refused = images.ensure(&reference, &made.manifest).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    assert_eq!(images.list().unwrap(), [], "nothing is left of it");
    // A manifest with other bytes.
    let manifest = dir.path().join("fn/blobs/sha256").join(made.manifest.hex());
    fs::write(&manifest, "{}").unwrap();
    let pinned = format!("oci-layout:fn@{}", made.manifest);
    assert!(matches!(resolve(&pinned).await, Err(Error::Invalid(_))));

    let images = open(dir.path(), settings());
    let refused = images.resolve(&reference).await;
    assert!(matches!(refused, Err(Error::NotAllowed(_))), "no folder is set aside: {refused:?}");
}
