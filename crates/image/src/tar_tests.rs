//! What archives say is read as it was meant; what is none, or lies, is refused.

use proptest::prelude::*;

use super::*;
use crate::testing::Tar;

fn read(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, Error> {
    let mut archive = Archive::new(bytes);
    let mut all = Vec::new();
    while let Some(entry) = archive.next()? {
        let mut contents = Vec::new();
        archive.read_to_end(&mut contents).map_err(unreadable)?;
        all.push((entry, contents));
    }
    archive.finish()?;
    Ok(all)
}

#[test]
fn every_kind_of_entry() {
    let long = format!("{}/{}", "d".repeat(180), "f".repeat(200));
    let archive = Tar::default()
        .raw("bin/sh", b'0', 0o4755, "", b"#!")
        .dir("bin/")
        .symlink("sh", "bin/sh")
        .hardlink("other", "bin/sh")
        .raw("null", b'3', 0o666, "", b"")
        .pax("path", &long)
        .file("short", "long")
        .raw("././@LongLink", b'L', 0o644, "", b"from/gnu\0")
        .file("short", "gnu")
        .raw("comment", b'g', 0o644, "", b"19 comment=nothing\n")
        .pax("mtime", "1700000000.25")
        .file("late", "");
    let entries = read(&archive.bytes()).unwrap();
    let names: Vec<_> =
        entries.iter().map(|(e, _)| String::from_utf8(e.path.clone()).unwrap()).collect();
    assert_eq!(names, ["bin/sh", "bin/", "sh", "other", "null", &long, "from/gnu", "late"]);
    assert_eq!(entries[0].0.mode, 0o4755);
    assert_eq!((entries[0].0.modified, entries[7].0.modified), (0o7346545000, 1_700_000_000));
    assert_eq!(entries[0].1, b"#!");
    assert_eq!(entries[1].0.kind, Kind::Directory);
    assert_eq!(entries[2].0.kind, Kind::Symlink(b"bin/sh".to_vec()));
    assert_eq!(entries[3].0.kind, Kind::Hardlink(b"bin/sh".to_vec()));
    assert_eq!(entries[4].0.kind, Kind::Special);
    assert_eq!(entries[6].1, b"gnu");
}

#[test]
fn a_prefix_and_sizes_in_base_256() {
    let mut bytes = Tar::default().file("name", "xy").bytes();
    bytes[345..348].copy_from_slice(b"pre");
    bytes[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    sum_again(&mut bytes);
    let entries = read(&bytes).unwrap();
    assert_eq!(
        (entries[0].0.path.as_slice(), entries[0].1.as_slice()),
        (&b"pre/name"[..], &b"xy"[..])
    );
}

fn sum_again(bytes: &mut [u8]) {
    bytes[148..156].copy_from_slice(b"        ");
    let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[test]
fn what_is_no_archive() {
    let whole = Tar::default().file("a", &"x".repeat(2000)).bytes();
    for cut in [1, 511, 513, 1500] {
        assert!(matches!(read(&whole[..cut]), Err(Error::Invalid(_))), "cut at {cut}");
    }
    let mut other = whole.clone();
    other[0] = b'b';
    assert!(matches!(read(&other), Err(Error::Invalid("a layer is no tar archive"))));
    let wrong = [
        Tar::default().raw("sparse", b'S', 0o644, "", b""),
        Tar::default().pax("GNU.sparse.major", "1").file("a", ""),
        Tar::default().raw("a", b'x', 0o644, "", b"99 path=a\n"),
        Tar::default().raw("a", b'x', 0o644, "", b"path=a\n"),
        Tar::default().pax("size", "-1").file("a", ""),
        Tar::default().pax("path", &"p/".repeat(3000)).file("a", ""),
        Tar::default().pax("path", "a\0b").file("a", ""),
        Tar::default().symlink("a", ""),
        Tar::default().raw("a", b'x', 0o644, "", &vec![b' '; 1024 * 1024 + 1]),
    ];
    for (number, archive) in wrong.into_iter().enumerate() {
        assert!(matches!(read(&archive.bytes()), Err(Error::Invalid(_))), "number {number}");
    }
}

#[test]
fn a_size_that_lies_is_the_end() {
    let mut bytes = Tar::default().file("a", "x").bytes();
    bytes[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255]);
    sum_again(&mut bytes);
    assert!(matches!(read(&bytes), Err(Error::Invalid(_))));
    bytes[124..136].copy_from_slice(&[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    sum_again(&mut bytes);
    assert!(matches!(read(&bytes), Err(Error::Invalid(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever comes, the answer is entries or an error, and no more is read than there is.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let _ = read(&bytes);
    }

    /// The same with headers that pass as such.
    #[test]
    fn any_headers(mut bytes in proptest::collection::vec(any::<u8>(), 512..3000), kind: u8, size in 0_u32..4000) {
        bytes[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        bytes[100..108].copy_from_slice(b"0000644\0");
        bytes[136..148].copy_from_slice(b"00000000000\0");
        bytes[156] = kind;
        sum_again(&mut bytes);
        if let Ok(entries) = read(&bytes) {
            let contents: usize = entries.iter().map(|(_, contents)| contents.len()).sum();
            prop_assert!(contents <= bytes.len());
        }
    }
}
