//! Keys, for all parts: read back, ordered as their parts are, prefixes by whole parts.

use gatemill_store::{Key, Part};
use proptest::collection::vec;
use proptest::prelude::*;

/// Texts sort by their bytes, numbers by value, texts before numbers; as the variants stand here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Model {
    Text(String),
    Number(u64),
}

pub(crate) fn key_of(parts: &[Model]) -> Key {
    parts.iter().fold(Key::empty(), |key, part| match part {
        Model::Text(text) => key.and(text),
        Model::Number(number) => key.and_u64(*number),
    })
}

/// Parts that are near each other, so that orders and prefixes are put to the test.
pub(crate) fn part() -> impl Strategy<Value = Model> {
    const TEXTS: &[&str] =
        &["", "a", "ab", "b", "a\0", "a\0b", "\0", "\u{1}", "\u{ff}", "\u{10ffff}"];
    const NUMBERS: &[u64] = &[0, 1, 254, 255, 256, u64::MAX - 1, u64::MAX];
    prop_oneof![
        4 => proptest::sample::select(TEXTS).prop_map(|text| Model::Text(text.to_owned())),
        2 => proptest::sample::select(NUMBERS).prop_map(Model::Number),
        1 => vec(any::<char>(), 0..6).prop_map(|text| Model::Text(text.into_iter().collect())),
        1 => any::<u64>().prop_map(Model::Number),
    ]
}

proptest! {
    #[test]
    fn parts_are_read_back(parts in vec(part(), 0..5)) {
        let key = key_of(&parts);
        let read: Vec<Model> = key.parts().into_iter().map(|part| match part {
            Part::Text(text) => Model::Text(text.into_owned()),
            Part::Number(number) => Model::Number(number),
        }).collect();
        prop_assert_eq!(read, parts);
    }

    #[test]
    fn bytes_sort_as_parts_do(one in vec(part(), 0..4), other in vec(part(), 0..4)) {
        prop_assert_eq!(key_of(&one).cmp(&key_of(&other)), one.cmp(&other));
        prop_assert_eq!(key_of(&one) == key_of(&other), one == other);
    }

    #[test]
    fn prefixes_are_of_whole_parts(one in vec(part(), 0..3), other in vec(part(), 0..4)) {
        prop_assert_eq!(key_of(&other).starts_with(&key_of(&one)), other.starts_with(&one));
    }
}
