//! Concise Binary Object Representation (RFC 8949), as far as Smithy's RPC v2 protocol uses it: between bytes and the JSON
//! values that all protocols meet in.
//!
//! Reading needs no shape: byte strings become base64, a tagged time becomes its seconds. Writing follows the shape, which
//! tells whole numbers from others and times from numbers. Big numbers, decimal fractions and simple values that JSON has
//! no word for are refused; so is what is nested too deep.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Number, Value};

use crate::{Kind, Shape, limits::CBOR_DEPTH_MAX};

const EPOCH_SECONDS: u64 = 1;
/// Tags whose content means another value than it shows: big numbers, decimal fractions and big floats.
const NUMBER_TAGS: std::ops::RangeInclusive<u64> = 2..=5;
const INDEFINITE: u8 = 31;
const BREAK: u8 = 0xff;

/// Why bytes are no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// They end within a value.
    #[error("the body ends within a value")]
    CutOff,
    /// They go on after the value.
    #[error("something follows the value")]
    MoreThanOne,
    /// They hold what JSON has no word for.
    #[error("the body holds a kind of value that this protocol does not have")]
    Unknown,
    /// They are nested too deep.
    #[error("the body is nested too deep")]
    TooDeep,
}

/// Reads one value that is all of `bytes`.
///
/// # Errors
/// Why it is none.
pub fn read(bytes: &[u8]) -> Result<Value, Unreadable> {
    let mut reader = Reader { rest: bytes };
    let value = reader.value(0)?;
    if reader.rest.is_empty() { Ok(value) } else { Err(Unreadable::MoreThanOne) }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, Unreadable> {
        let (first, rest) = self.rest.split_first().ok_or(Unreadable::CutOff)?;
        self.rest = rest;
        Ok(*first)
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Unreadable> {
        let count = usize::try_from(count).map_err(|_| Unreadable::CutOff)?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Unreadable::CutOff)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number_of_bytes(&mut self, count: u64) -> Result<u64, Unreadable> {
        Ok(self.take(count)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The argument of an initial byte; `None` for an indefinite length.
    fn argument(&mut self, info: u8) -> Result<Option<u64>, Unreadable> {
        Ok(Some(match info {
            0..=23 => u64::from(info),
            24..=27 => self.number_of_bytes(1 << (info - 24))?,
            INDEFINITE => return Ok(None),
            _ => return Err(Unreadable::Unknown),
        }))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Unreadable> {
        if depth > CBOR_DEPTH_MAX {
            return Err(Unreadable::TooDeep);
        }
        let initial = self.byte()?;
        let (major, info) = (initial >> 5, initial & 31);
        match major {
            0 => Ok(Value::from(self.definite(info)?)),
            1 => {
                let less = i64::try_from(self.definite(info)?).map_err(|_| Unreadable::Unknown)?;
                Ok(Value::from(-1 - less))
            }
            2 => Ok(Value::from(STANDARD.encode(self.string(info, 2)?))),
            3 => self.text(info).map(Value::from),
            4 => self.array(info, depth),
            5 => self.map(info, depth),
            6 => match self.definite(info)? {
                tag if NUMBER_TAGS.contains(&tag) => Err(Unreadable::Unknown),
                _ => self.value(depth + 1),
            },
            _ => self.simple(info),
        }
    }

    fn definite(&mut self, info: u8) -> Result<u64, Unreadable> {
        self.argument(info)?.ok_or(Unreadable::Unknown)
    }

    /// The bytes of a string, whole or in pieces.
    fn string(&mut self, info: u8, major: u8) -> Result<Vec<u8>, Unreadable> {
        if let Some(length) = self.argument(info)? {
            return Ok(self.take(length)?.to_vec());
        }
        let mut bytes = Vec::new();
        loop {
            let initial = self.byte()?;
            if initial == BREAK {
                return Ok(bytes);
            }
            if initial >> 5 != major {
                return Err(Unreadable::Unknown);
            }
            let length = self.definite(initial & 31)?;
            bytes.extend_from_slice(self.take(length)?);
        }
    }

    fn text(&mut self, info: u8) -> Result<String, Unreadable> {
        String::from_utf8(self.string(info, 3)?).map_err(|_| Unreadable::Unknown)
    }

    /// Whether another entry follows; counts `left` down where the length is known.
    fn another(&mut self, left: &mut Option<u64>) -> Result<bool, Unreadable> {
        match left {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if self.rest.first() == Some(&BREAK) => {
                self.byte()?;
                Ok(false)
            }
            None => Ok(true),
        }
    }

    fn array(&mut self, info: u8, depth: usize) -> Result<Value, Unreadable> {
        let (mut left, mut items) = (self.argument(info)?, Vec::new());
        while self.another(&mut left)? {
            items.push(self.value(depth + 1)?);
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, info: u8, depth: usize) -> Result<Value, Unreadable> {
        let (mut left, mut members) = (self.argument(info)?, Map::new());
        while self.another(&mut left)? {
            let initial = self.byte()?;
            if initial >> 5 != 3 {
                return Err(Unreadable::Unknown);
            }
            let name = self.text(initial & 31)?;
            members.insert(name, self.value(depth + 1)?);
        }
        Ok(Value::Object(members))
    }

    fn simple(&mut self, info: u8) -> Result<Value, Unreadable> {
        let float = match info {
            20 => return Ok(Value::Bool(false)),
            21 => return Ok(Value::Bool(true)),
            // Null, and what is not defined.
            22 | 23 => return Ok(Value::Null),
            25 => half(self.number_of_bytes(2)?),
            26 => f64::from(f32::from_be_bytes(self.array_of()?)),
            27 => f64::from_be_bytes(self.array_of()?),
            _ => return Err(Unreadable::Unknown),
        };
        Number::from_f64(float).map(Value::Number).ok_or(Unreadable::Unknown)
    }

    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Unreadable::CutOff)?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// A number of 16 bits: one of sign, five of exponent, ten of fraction.
fn half(bits: u64) -> f64 {
    let (sign, exponent, fraction) = (bits >> 15, bits >> 10 & 31, bits & 1023);
    let fraction = f64::from(u32::try_from(fraction).unwrap_or_default());
    let magnitude = match i32::try_from(exponent).unwrap_or_default() {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if sign == 1 { -magnitude } else { magnitude }
}

/// Writes a value as its shape says; without a shape, as it looks. Members that are null are left out.
pub fn write(shape: Option<&Shape>, value: &Value, to: &mut Vec<u8>) {
    match (shape.map(|shape| &shape.kind), value) {
        (Some(Kind::Timestamp { .. }), Value::Number(seconds)) => {
            head(6, EPOCH_SECONDS, to);
            number(seconds, false, to);
        }
        (Some(Kind::Blob { .. }), Value::String(text)) => {
            let bytes = STANDARD.decode(text).unwrap_or_default();
            head(2, bytes.len() as u64, to);
            to.extend(bytes);
        }
        (kind, Value::Number(it)) => number(it, matches!(kind, Some(Kind::Double { .. })), to),
        (_, Value::Null) => to.push(0xf6),
        (_, Value::Bool(it)) => to.push(if *it { 0xf5 } else { 0xf4 }),
        (_, Value::String(text)) => text_to(text, to),
        (kind, Value::Array(items)) => {
            let member = match kind {
                Some(Kind::List { member, .. }) => Some(*member),
                _ => None,
            };
            head(4, items.len() as u64, to);
            items.iter().for_each(|item| write(member, item, to));
        }
        (kind, Value::Object(members)) => {
            let written = || members.iter().filter(|(_, value)| !value.is_null());
            head(5, written().count() as u64, to);
            for (name, value) in written() {
                text_to(name, to);
                let shape = match kind {
                    Some(Kind::Map { value, .. }) => Some(*value),
                    Some(Kind::Structure { members }) => {
                        members.iter().find(|member| member.wire == name).map(|it| it.shape)
                    }
                    _ => None,
                };
                write(shape, value, to);
            }
        }
    }
}

fn number(number: &Number, double: bool, to: &mut Vec<u8>) {
    match (number.as_u64(), number.as_i64()) {
        (Some(it), _) if !double => head(0, it, to),
        // The bits of a negative number, turned over, are what it is less than minus one by.
        (None, Some(it)) if !double => head(1, !it.cast_unsigned(), to),
        _ => {
            to.push(0xfb);
            to.extend(number.as_f64().unwrap_or_default().to_be_bytes());
        }
    }
}

fn text_to(text: &str, to: &mut Vec<u8>) {
    head(3, text.len() as u64, to);
    to.extend(text.as_bytes());
}

/// An initial byte and its argument, as short as it can be.
fn head(major: u8, argument: u64, to: &mut Vec<u8>) {
    let bytes = argument.to_be_bytes();
    let (info, from) = match argument {
        0..=23 => (bytes[7], 8),
        24..=0xff => (24, 7),
        0x100..=0xffff => (25, 6),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 0),
    };
    to.push(major << 5 | info);
    to.extend(&bytes[from..]);
}

#[cfg(test)]
#[path = "cbor_tests.rs"]
mod tests;
