//! Bytes that are on disks: they may not change, and earlier versions are read for ever.

use gatemill_store::{Digest, Error, Key, Part, Record, decode, decode_as, encode};
use serde::{Deserialize, Serialize};

#[test]
fn keys() {
    let check = |key: &Key, golden: &[u8]| assert_eq!(key.as_bytes(), golden, "{key}");
    check(&Key::empty(), b"");
    check(&Key::new([""]), b"\x00\x01");
    check(&Key::new(["eu-west-1", "über"]), b"eu-west-1\x00\x01\xc3\xbcber\x00\x01");
    check(&Key::new(["a\0b", "\0"]), b"a\x00\xffb\x00\x01\x00\xff\x00\x01");
    check(&Key::new(["v"]).and_u64(258), b"v\x00\x01\xff\0\0\0\0\0\0\x01\x02");
    check(&Key::empty().and_u64(u64::MAX), b"\xff\xff\xff\xff\xff\xff\xff\xff\xff");
}

#[test]
fn keys_show_and_read_back_their_parts() {
    let key = Key::new(["000000000000", "resize"]).and_u64(7).and("live");
    assert_eq!(key.to_string(), "000000000000/resize/7/live");
    assert_eq!(key.text(1).as_deref(), Some("resize"));
    assert_eq!((key.text(2), key.number(2), key.number(3)), (None, Some(7), None));
    assert_eq!(key.parts()[3], Part::Text("live".into()));
    assert_eq!(key.text(4), None);
}

/// As it was first: a number of seconds.
mod v1 {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub(crate) struct Limit {
        pub(crate) seconds: u64,
    }
    impl gatemill_store::Record for Limit {
        const VERSION: u8 = 1;
    }
}

/// Then in milliseconds.
mod v2 {
    use gatemill_store::{Error, Record, decode_as};

    #[derive(serde::Serialize, serde::Deserialize)]
    pub(crate) struct Limit {
        pub(crate) ms: u64,
    }
    impl Record for Limit {
        const VERSION: u8 = 2;
        fn upgrade(version: u8, json: &[u8]) -> Result<Self, Error> {
            let old: super::v1::Limit = decode_as(version, json)?;
            Ok(Limit { ms: old.seconds * 1000 })
        }
    }
}

/// And now with a name.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Limit {
    name: String,
    ms: u64,
}

impl Record for Limit {
    const VERSION: u8 = 3;
    fn upgrade(version: u8, json: &[u8]) -> Result<Self, Error> {
        let old: v2::Limit = decode_as(version, json)?;
        Ok(Limit { name: "unnamed".to_owned(), ms: old.ms })
    }
}

#[test]
fn records_of_every_version_decode() {
    let unnamed = |ms| Limit { name: "unnamed".to_owned(), ms };
    let now = Limit { name: "init".to_owned(), ms: 10 };
    assert_eq!(encode(&v1::Limit { seconds: 3 }).unwrap(), b"\x01{\"seconds\":3}");
    assert_eq!(decode::<Limit>(b"\x01{\"seconds\":3}").unwrap(), unnamed(3000));
    assert_eq!(encode(&v2::Limit { ms: 5 }).unwrap(), b"\x02{\"ms\":5}");
    assert_eq!(decode::<Limit>(b"\x02{\"ms\":5}").unwrap(), unnamed(5));
    assert_eq!(encode(&now).unwrap(), b"\x03{\"name\":\"init\",\"ms\":10}");
    assert_eq!(decode::<Limit>(b"\x03{\"name\":\"init\",\"ms\":10}").unwrap(), now);
}

#[test]
fn what_is_no_record_is_refused() {
    assert!(matches!(decode::<Limit>(b"\x04{}"), Err(Error::UnknownVersion { version: 4 })));
    assert!(matches!(decode::<Limit>(b"\x00{}"), Err(Error::UnknownVersion { version: 0 })));
    assert!(matches!(decode::<Limit>(b""), Err(Error::Damaged { .. })));
    assert!(matches!(decode::<Limit>(b"\x03{\"ms\":"), Err(Error::Decode { version: 3, .. })));
    assert!(matches!(decode::<Limit>(b"\x01{}"), Err(Error::Decode { version: 1, .. })));
}

#[test]
fn digests() {
    let digest = Digest::of(b"");
    let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{hex}\""));
    assert_eq!(serde_json::from_str::<Digest>(&format!("\"{hex}\"")).unwrap(), digest);
    assert_eq!(hex.parse::<Digest>().unwrap(), digest);
    for wrong in ["", "e3", &hex[1..], &format!("{hex}0"), &hex.to_uppercase(), &"é".repeat(32)] {
        assert!(matches!(wrong.parse::<Digest>(), Err(Error::NotADigest)), "{wrong}");
    }
}
