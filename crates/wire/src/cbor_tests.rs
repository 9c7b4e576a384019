//! The examples of RFC 8949's appendix A that the protocol has, and that any bytes are survived.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{Location, Member, TimestampFormat};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .bytes()
        .map(|digit| u8::try_from(char::from(digit).to_digit(16).unwrap()).unwrap())
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn written(shape: Option<&Shape>, value: &Value) -> Vec<u8> {
    let mut to = Vec::new();
    write(shape, value, &mut to);
    to
}

#[test]
fn the_examples_of_the_standard() {
    for (hex, value) in [
        ("00", json!(0)),
        ("17", json!(23)),
        ("1818", json!(24)),
        ("1903e8", json!(1000)),
        ("1a000f4240", json!(1_000_000)),
        ("1b000000e8d4a51000", json!(1_000_000_000_000_i64)),
        ("1bffffffffffffffff", json!(u64::MAX)),
        ("20", json!(-1)),
        ("3903e7", json!(-1000)),
        ("3b7fffffffffffffff", json!(i64::MIN)),
        ("fb3ff199999999999a", json!(1.1)),
        ("f4", json!(false)),
        ("f5", json!(true)),
        ("f6", json!(null)),
        ("60", json!("")),
        ("62c3bc", json!("ü")),
        ("80", json!([])),
        ("8301820203820405", json!([1, [2, 3], [4, 5]])),
        ("a0", json!({})),
        ("a26161016162820203", json!({ "a": 1, "b": [2, 3] })),
    ] {
        assert_eq!(read(&bytes(hex)), Ok(value.clone()), "{hex}");
        assert_eq!(written(None, &value), bytes(hex), "{hex}");
    }
    for (hex, value) in [
        ("f90000", json!(0.0)),
        ("f93c00", json!(1.0)),
        ("f97bff", json!(65504.0)),
        ("f90001", json!(5.960_464_477_539_063e-8)),
        ("f9c400", json!(-4.0)),
        ("fa47c35000", json!(100_000.0)),
        ("c11a514b67b0", json!(1_363_896_240)),
        ("c1fb41d452d9ec200000", json!(1_363_896_240.5)),
        ("f7", json!(null)),
        ("4401020304", json!("AQIDBA==")),
        ("5f42010243030405ff", json!("AQIDBAU=")),
        ("7f657374726561646d696e67ff", json!("streaming")),
        ("9f018202039f0405ffff", json!([1, [2, 3], [4, 5]])),
        ("bf61610161629f0203ffff", json!({ "a": 1, "b": [2, 3] })),
        ("d74401020304", json!("AQIDBA==")),
    ] {
        assert_eq!(read(&bytes(hex)), Ok(value), "{hex}");
    }
}

#[test]
fn what_is_no_value_is_refused() {
    for (hex, why) in [
        ("", Unreadable::CutOff),
        ("19ff", Unreadable::CutOff),
        ("7bffffffffffffffff", Unreadable::CutOff),
        ("9bffffffffffffffff", Unreadable::CutOff),
        ("9f01", Unreadable::CutOff),
        ("0000", Unreadable::MoreThanOne),
        ("f97e00", Unreadable::Unknown),
        ("f97c00", Unreadable::Unknown),
        ("3bffffffffffffffff", Unreadable::Unknown),
        ("c249010000000000000000", Unreadable::Unknown),
        ("a10101", Unreadable::Unknown),
        ("61ff", Unreadable::Unknown),
        ("1f", Unreadable::Unknown),
        ("1c", Unreadable::Unknown),
        ("ff", Unreadable::Unknown),
        ("5f6161ff", Unreadable::Unknown),
        ("f0", Unreadable::Unknown),
    ] {
        assert_eq!(read(&bytes(hex)), Err(why), "{hex}");
    }
    for nest in ["81", "c1", "a16161"] {
        assert_eq!(read(&bytes(&nest.repeat(10_000))), Err(Unreadable::TooDeep), "{nest}");
    }
}

#[test]
fn a_shape_tells_times_bytes_and_doubles_apart() {
    static WHEN: Shape = Shape {
        name: "When",
        kind: Kind::Timestamp { format: TimestampFormat::EpochSeconds },
        sensitive: false,
    };
    static DATA: Shape =
        Shape { name: "Data", kind: Kind::Blob { min: None, max: None }, sensitive: false };
    static NUMBER: Shape =
        Shape { name: "Number", kind: Kind::Double { min: None, max: None }, sensitive: false };
    static NUMBERS: Shape = Shape {
        name: "Numbers",
        kind: Kind::List { member: &NUMBER, min: None, max: None },
        sensitive: false,
    };
    const fn member(name: &'static str, shape: &'static Shape) -> Member {
        Member { name, wire: name, location: Location::Body, required: false, shape }
    }
    static ALL: Shape = Shape {
        name: "All",
        kind: Kind::Structure {
            members: &[
                member("w", &WHEN),
                member("d", &DATA),
                member("n", &NUMBERS),
                member("o", &WHEN),
            ],
        },
        sensitive: false,
    };
    let value = json!({ "w": 1, "d": "AQI=", "n": [2], "o": null });
    let expected = "a3 6177 c101 6164 420102 616e 81fb4000000000000000".replace(' ', "");
    assert_eq!(written(Some(&ALL), &value), bytes(&expected));
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e300f64..1e300).prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let not_null =
            inner.clone().prop_filter("members that are null are left out", |it| !it.is_null());
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(Value::from),
            prop::collection::btree_map(".{0,8}", not_null, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(value in values()) {
        prop_assert_eq!(read(&written(None, &value)), Ok(value));
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }
}
