//! Layers become the tree that they describe, and nothing outside it is touched.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use proptest::prelude::*;

use super::*;
use crate::testing::{Tar, gzip, unpack, zstd};

/// A folder with an image to be made in it, and beside that a file which no image may reach.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/secret"), "secret").unwrap();
        Self(dir)
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("image")
    }

    fn outside(&self) -> String {
        self.0.path().join("outside").to_str().unwrap().to_owned()
    }

    #[track_caller]
    fn check_outside(&self) {
        let names = |dir: &Path| {
            let mut names: Vec<_> =
                fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let outside = self.0.path().join("outside");
        assert_eq!(names(&outside), ["secret"]);
        let secret = fs::metadata(outside.join("secret")).unwrap();
        assert_eq!((secret.nlink(), secret.permissions().mode() & 0o777), (1, 0o644));
        assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
        assert!(names(self.0.path()).len() <= 2);
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn layers_one_over_the_other() {
    let place = Place::new();
    let first = Tar::default()
        .dir("./")
        .dir("usr/")
        .raw("usr/bin/tool", b'0', 0o4755, "", b"one")
        .file("usr/doc/a", "a")
        .file("usr/doc/b", "b")
        .symlink("bin", "usr/bin")
        .hardlink("usr/bin/same", "/usr/bin/tool")
        .raw("closed", b'5', 0o500, "", b"")
        .file("closed/in", "in")
        .raw("private", b'0', 0o600, "", b"p")
        .raw("null", b'3', 0o666, "", b"")
        .raw("pipe", b'6', 0o666, "", b"");
    let second = Tar::default()
        .file("bin/other", "two")
        .file("usr/doc/.wh.a", "")
        .file("usr/doc/c", "c")
        .file("usr/bin/tool", "changed");
    unpack(&place.root(), &[first.bytes(), second.bytes()]).unwrap();
    let root = place.root();
    assert_eq!(text(&root.join("usr/bin/other")), "two", "through the link of the layer below");
    assert_eq!(text(&root.join("usr/bin/tool")), "changed");
    assert_eq!(text(&root.join("usr/bin/same")), "one", "the other name keeps what it was");
    assert!(!root.join("usr/doc/a").exists() && root.join("usr/doc/b").exists());
    let mode = |name: &str| fs::metadata(root.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("usr/bin/same"), mode("private"), mode("closed")), (0o755, 0o600, 0o700));
    assert_eq!(fs::metadata(root.join("private")).unwrap().mtime(), 0o7346545000);
    assert!(fs::symlink_metadata(root.join("null")).is_err(), "no devices");
    assert!(fs::symlink_metadata(root.join("pipe")).is_err(), "no pipes");
    for name in MOUNTED_OVER {
        assert!(root.join("etc").join(name).is_file());
    }
}

#[test]
fn whiteouts_hide_what_is_below_and_not_what_is_beside() {
    let place = Place::new();
    let first = Tar::default().file("a/1", "").file("a/deep/2", "").file("b/1", "").file("c", "");
    let second = Tar::default()
        .file("a/new", "")
        .file("a/deep/new", "")
        .file("a/.wh..wh..opq", "")
        .file("b", "a file now")
        .file(".wh.c", "")
        .file(".wh.d", "")
        .file("d", "made by this layer, before or after")
        .file(".wh..wh.plnk/x", "")
        .file("none/.wh..wh..opq", "")
        .file("e/kept", "")
        .file(".wh.e", "");
    unpack(&place.root(), &[first.bytes(), second.bytes()]).unwrap();
    let root = place.root();
    for there in ["a/new", "a/deep/new", "b", "d", "e/kept"] {
        assert!(root.join(there).is_file(), "{there}");
    }
    for gone in ["a/1", "a/deep/2", "b/1", "c", "none"] {
        assert!(!root.join(gone).exists(), "{gone}");
    }
}

#[test]
fn nothing_leaves_the_tree() {
    type Case = (&'static str, Box<dyn Fn(&str) -> Tar>);
    let cases: Vec<Case> = vec![
        ("dots", Box::new(|_| Tar::default().file("../outside/new", "x"))),
        ("dots_within", Box::new(|_| Tar::default().file("a/../../outside/new", "x"))),
        ("absolute", Box::new(|out| Tar::default().file(&format!("{out}/new"), "x"))),
        ("link_absolute", Box::new(|out| Tar::default().symlink("l", out).file("l/new", "x"))),
        (
            "link_dots",
            Box::new(|_| {
                Tar::default()
                    .symlink("l", "../../../../../../../..")
                    .file("l/tmp/new-of-gatemill", "x")
            }),
        ),
        (
            "link_to_file",
            Box::new(|out| Tar::default().symlink("l", &format!("{out}/secret")).file("l", "x")),
        ),
        (
            "link_of_links",
            Box::new(|out| Tar::default().symlink("a", out).symlink("b", "a").file("b/new", "x")),
        ),
        ("hard_dots", Box::new(|_| Tar::default().hardlink("h", "../outside/secret"))),
        ("hard_absolute", Box::new(|out| Tar::default().hardlink("h", &format!("{out}/secret")))),
        (
            "hard_through",
            Box::new(|out| {
                Tar::default().symlink("l", out).hardlink("h", "l/secret").file("h", "x")
            }),
        ),
        ("whiteout_dots", Box::new(|_| Tar::default().file("../outside/.wh.secret", ""))),
        (
            "whiteout_through",
            Box::new(|out| {
                Tar::default().symlink("l", out).file("l/.wh.secret", "").file("l/.wh..wh..opq", "")
            }),
        ),
        ("whiteout_self", Box::new(|_| Tar::default().file("a/.wh...", ""))),
        (
            "mode_through",
            Box::new(|out| {
                Tar::default().symlink("l", &format!("{out}/secret")).raw("l", b'5', 0o777, "", b"")
            }),
        ),
        ("etc_link", Box::new(|out| Tar::default().symlink("etc", out))),
        (
            "resolv_link",
            Box::new(|out| Tar::default().symlink("etc/resolv.conf", &format!("{out}/secret"))),
        ),
        ("proc", Box::new(|_| Tar::default().symlink("p", "/proc/self/cwd").file("p/x", "x"))),
        ("top_as_file", Box::new(|_| Tar::default().file(".", "x"))),
        ("top_as_link", Box::new(|out| Tar::default().symlink("./", out).file("new", "x"))),
    ];
    for (name, case) in cases {
        let place = Place::new();
        // Refused, or taken as if the tree were everything.
        let result = unpack(&place.root(), &[case(&place.outside()).bytes()]);
        place.check_outside();
        let also = match result {
            Ok(()) | Err(Error::Invalid(_)) => true,
            Err(_) => false,
        };
        assert!(also, "{name}: {result:?}");
        assert!(!Path::new("/tmp/new-of-gatemill").exists());
    }
}

#[test]
fn what_lies_about_itself() {
    let place = Place::new();
    let cancelled = AtomicBool::new(false);
    let tar = Tar::default().file("a", "x").bytes();
    let mut unpacker = Unpacker::new(&place.root(), &cancelled).unwrap();
    let other = Digest::of(b"other");
    for (bytes, compression) in [
        (tar.clone(), Compression::None),
        (gzip(&tar), Compression::Gzip),
        (zstd(&tar), Compression::Zstd),
    ] {
        assert!(matches!(unpacker.layer(&*bytes, compression, &other), Err(Error::Invalid(_))));
        unpacker.layer(&*bytes, compression, &Digest::of(&tar)).unwrap();
    }
    let wrong = unpacker.layer(&*tar, Compression::Gzip, &Digest::of(&tar));
    assert!(matches!(wrong, Err(Error::Invalid("a layer cannot be decompressed"))), "{wrong:?}");
    let wrong = unpacker.layer(&*tar, Compression::Zstd, &Digest::of(&tar));
    assert!(matches!(wrong, Err(Error::Invalid("a layer cannot be decompressed"))), "{wrong:?}");
    cancelled.store(true, std::sync::atomic::Ordering::Relaxed);
    let cancelled = unpacker.layer(&*tar, Compression::None, &Digest::of(&tar));
    assert!(matches!(cancelled, Err(Error::Interrupted)), "{cancelled:?}");
}

#[test]
fn several_frames_and_members() {
    let tar = Tar::default().file("a", &"x".repeat(5000)).bytes();
    let (one, two) = tar.split_at(700);
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let cases = [
        ([gzip(one), gzip(two)].concat(), Compression::Gzip),
        ([skipped.clone(), zstd(one), skipped, zstd(two)].concat(), Compression::Zstd),
    ];
    for (bytes, compression) in cases {
        let place = Place::new();
        let cancelled = AtomicBool::new(false);
        let mut unpacker = Unpacker::new(&place.root(), &cancelled).unwrap();
        unpacker.layer(&*bytes, compression, &Digest::of(&tar)).unwrap();
        assert_eq!(text(&place.root().join("a")).len(), 5000);
    }
}

#[test]
fn too_much_is_too_much() {
    let place = Place::new();
    // A header alone claims it; a bomb of zeros would take its time.
    let large = Tar::default().pax("size", "10737418241").file("large", "");
    let large = unpack(&place.root(), &[large.bytes()]);
    assert!(matches!(large, Err(Error::TooLarge)), "{large:?}");
    let place = Place::new();
    let name = vec!["d"; DEPTH_MAX + 1].join("/");
    let deep = unpack(&place.root(), &[Tar::default().pax("path", &name).file("x", "").bytes()]);
    assert!(matches!(deep, Err(Error::Invalid(_))), "{deep:?}");
    // Deeper than any name says, by links.
    let place = Place::new();
    let part = vec!["d"; 100].join("/");
    let nested = Tar::default()
        .pax("path", &format!("{part}/x"))
        .file("x", "")
        .pax("linkpath", &part)
        .symlink("l", "x")
        .pax("path", &format!("l/{part}/x"))
        .file("x", "");
    let nested = unpack(&place.root(), &[nested.bytes()]);
    assert!(matches!(nested, Err(Error::Invalid(_))), "{nested:?}");
    fs::remove_dir_all(place.root()).unwrap();
}

/// Names that meet, so that entries fall over one another.
fn name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("a"),
        Just("b"),
        Just("l"),
        Just(".."),
        Just("."),
        Just(".wh.a"),
        Just(".wh.l"),
        Just(".wh..wh..opq"),
        Just("etc"),
        Just("hosts"),
        Just("")
    ];
    proptest::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        name(),
        Just("OUTSIDE".to_owned()),
        Just("OUTSIDE/secret".to_owned()),
        Just("../outside".to_owned()),
        Just("../../../../../../..".to_owned()),
        Just("/".to_owned()),
        Just("/proc/self/root".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever layers hold: an image or a refusal, nothing outside, and a tree that can be removed.
    #[test]
    fn any_layers(layers in proptest::collection::vec(
        proptest::collection::vec((name(), 0_u8..5, target(), 0_u32..0o10000), 0..12), 1..4)) {
        let place = Place::new();
        let bytes = layers.into_iter().map(|entries| {
            let tar = entries.into_iter().fold(Tar::default(), |tar, (name, kind, target, mode)| {
                let target = target.replace("OUTSIDE", &place.outside());
                match kind {
                    0 => tar.raw(&name, b'0', mode, "", b"new"),
                    1 => tar.raw(&name, b'5', mode, "", b""),
                    2 => tar.symlink(&name, &target),
                    3 => tar.hardlink(&name, &target),
                    _ => tar.raw(&name, b'3', mode, "", b""),
                }
            });
            tar.bytes()
        });
        let result = unpack(&place.root(), &bytes.collect::<Vec<_>>());
        prop_assert!(matches!(result, Ok(()) | Err(Error::Invalid(_))), "{:?}", result);
        place.check_outside();
        if place.root().exists() {
            fs::remove_dir_all(place.root()).unwrap();
        }
    }
}
