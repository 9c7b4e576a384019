//! Keys: ordered bytes made of parts.
//!
//! A key is a path such as (account, region, function, version). Its bytes sort as its parts do, and
//! a prefix of parts is a prefix of bytes that never ends within a part: a scan below `("a")` does not
//! meet `("ab")`. That is what lets one ordered table answer "all aliases of this function".
//!
//! The form, which is on disk for ever and pinned by golden tests:
//!
//! * text: its UTF-8 bytes, each `00` written as `00 FF`, then `00 01`
//! * number: `FF`, then eight bytes, big endian (no UTF-8 text starts with `FF`)
//!
//! So texts sort by their bytes, numbers by value, and every text before every number.

use std::borrow::Cow;
use std::fmt;

use crate::Error;

const ZERO: u8 = 0x00;
const ZERO_INSIDE: u8 = 0xFF;
const TEXT_END: u8 = 0x01;
const NUMBER: u8 = 0xFF;

/// The place of a record in its table: a path of texts and numbers. Keys sort as their parts do, and
/// a prefix of parts never matches half a part.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(Vec<u8>);

/// One part of a [`Key`], read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A text part; borrowed unless it holds a zero character.
    Text(Cow<'a, str>),
    /// A number.
    Number(u64),
}

impl Key {
    /// A key of text parts, outermost first.
    ///
    /// ```
    /// # use gatemill_store::Key;
    /// let alias = Key::new(["000000000000", "us-east-1", "resize", "live"]);
    /// assert_eq!(alias.to_string(), "000000000000/us-east-1/resize/live");
    /// assert!(alias.starts_with(&Key::new(["000000000000", "us-east-1"])));
    /// ```
    pub fn new<P: AsRef<str>>(parts: impl IntoIterator<Item = P>) -> Self {
        parts.into_iter().fold(Key::default(), |key, part| key.and(part))
    }

    /// The key of no parts: as a prefix, the whole table.
    pub fn empty() -> Self {
        Key::default()
    }

    /// This key with a text part added.
    #[must_use]
    pub fn and(mut self, part: impl AsRef<str>) -> Self {
        for &byte in part.as_ref().as_bytes() {
            self.0.push(byte);
            if byte == ZERO {
                self.0.push(ZERO_INSIDE);
            }
        }
        self.0.extend([ZERO, TEXT_END]);
        self
    }

    /// This key with a number added, which sorts by its value.
    #[must_use]
    pub fn and_u64(mut self, number: u64) -> Self {
        self.0.push(NUMBER);
        self.0.extend(number.to_be_bytes());
        self
    }

    /// Whether this key's first parts are those of `prefix`.
    pub fn starts_with(&self, prefix: &Key) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// The parts, outermost first.
    pub fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = Vec::new();
        let mut rest = self.0.as_slice();
        while let Some((part, after)) = split(rest) {
            parts.push(part);
            rest = after;
        }
        parts
    }

    /// The text of part `index`, unless there is none or it is a number.
    pub fn text(&self, index: usize) -> Option<Cow<'_, str>> {
        match self.parts().into_iter().nth(index) {
            Some(Part::Text(text)) => Some(text),
            Some(Part::Number(_)) | None => None,
        }
    }

    /// The number in part `index`, unless there is none or it is a text.
    pub fn number(&self, index: usize) -> Option<u64> {
        match self.parts().into_iter().nth(index) {
            Some(Part::Number(number)) => Some(number),
            Some(Part::Text(_)) | None => None,
        }
    }

    /// The bytes as stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A key read from an engine; refuses bytes that no key has.
    pub(crate) fn from_stored(bytes: Vec<u8>) -> Result<Self, Error> {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            (_, rest) = split(rest).ok_or(Error::Damaged { what: "a key" })?;
        }
        Ok(Key(bytes))
    }
}

/// The first part and what follows it; nothing if the bytes hold no whole part.
fn split(bytes: &[u8]) -> Option<(Part<'_>, &[u8])> {
    if *bytes.first()? == NUMBER {
        let (number, rest) = bytes[1..].split_first_chunk::<8>()?;
        return Some((Part::Number(u64::from_be_bytes(*number)), rest));
    }
    let mut from = 0;
    let mut escaped = false;
    loop {
        let zero = from + bytes[from..].iter().position(|&byte| byte == ZERO)?;
        match *bytes.get(zero + 1)? {
            TEXT_END => {
                let text = text_of(&bytes[..zero], escaped)?;
                return Some((Part::Text(text), &bytes[zero + 2..]));
            }
            ZERO_INSIDE => {
                escaped = true;
                from = zero + 2;
            }
            _ => return None,
        }
    }
}

fn text_of(bytes: &[u8], escaped: bool) -> Option<Cow<'_, str>> {
    if !escaped {
        return std::str::from_utf8(bytes).ok().map(Cow::Borrowed);
    }
    let mut plain = Vec::with_capacity(bytes.len());
    let mut after_zero = false;
    for &byte in bytes {
        if !(after_zero && byte == ZERO_INSIDE) {
            plain.push(byte);
        }
        after_zero = byte == ZERO;
    }
    String::from_utf8(plain).ok().map(Cow::Owned)
}

/// For logs: the parts, joined by slashes.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts().iter().enumerate() {
            if index > 0 {
                f.write_str("/")?;
            }
            match part {
                Part::Text(text) => f.write_str(text)?,
                Part::Number(number) => write!(f, "{number}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}
