//! Zips as files, and bytes that only look like zips. What requests do with them is tested with the operations.

use std::io::Write as _;

use proptest::prelude::*;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;

fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn what_is_inspected_unpacks() {
    let bytes = zip_of(&[("a.py", b"1"), ("d/b.py", b"22")]);
    inspect(&bytes).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("out");
    assert_eq!(unpack(Cursor::new(&bytes), &root).unwrap(), 3);
    assert_eq!(fs::read(root.join("d/b.py")).unwrap(), b"22");
}

#[test]
fn unpacking_trusts_no_inspection() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_symlink("l", "/etc", SimpleFileOptions::default()).unwrap();
    zip.start_file("l/x", SimpleFileOptions::default()).unwrap();
    let bytes = zip.finish().unwrap().into_inner();
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        unpack(Cursor::new(&bytes), &dir.path().join("out")),
        Err(BadZip::Unreadable(_))
    ));
    assert!(!Path::new("/etc/x").exists());
}

#[test]
fn a_size_that_lies_is_found_out() {
    let mut bytes = zip_of(&[("a", &[b'x'; 1000])]);
    // The uncompressed size in both headers: 1000 becomes 10.
    let size = 1000_u32.to_le_bytes();
    let places: Vec<usize> =
        (0..bytes.len() - 4).filter(|at| bytes[*at..].starts_with(&size)).collect();
    for at in places {
        bytes[at..at + 4].copy_from_slice(&10_u32.to_le_bytes());
    }
    assert!(inspect(&bytes).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_zips_never_panic_nor_leave_their_folder(at in 0usize..200, value in any::<u8>(), cut in 0usize..200) {
        let mut bytes = zip_of(&[("app.py", b"x = 1\n"), ("d/e.py", b"y = 2\n")]);
        let at = at % bytes.len();
        bytes[at] = value;
        bytes.truncate(bytes.len() - cut % 30);
        let inspected = inspect(&bytes);
        let dir = tempfile::tempdir().unwrap();
        let unpacked = unpack(Cursor::new(&bytes), &dir.path().join("out"));
        prop_assert!(inspected.is_err() || unpacked.is_ok());
        let beside = fs::read_dir(dir.path()).unwrap().count();
        prop_assert!(beside <= 1);
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(inspect(&bytes).is_err());
    }
}
