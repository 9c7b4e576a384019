//! The conditions of leaves.

use core::net::IpAddr;

use crate::{
    event::{Value, unquoted},
    wildcard::Wildcard,
};

/// What may hold of a plain value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    Null,
    Bool(bool),
    /// As the pattern writes it.
    Number(String),
    Text(TextCondition),
    /// Every bound has to hold.
    Numeric(Vec<Bound>),
    Cidr(Block),
    /// Decided by whoever walks the event: it is about absence.
    Exists(bool),
    AnythingBut(Vec<Condition>),
}

/// What may hold of a string.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TextCondition {
    Equal(String),
    /// In lower case.
    EqualIgnoringCase(String),
    Prefix(String),
    /// In lower case.
    PrefixIgnoringCase(String),
    Suffix(String),
    /// In lower case.
    SuffixIgnoringCase(String),
    Wildcard(Wildcard),
}

/// One comparison of a `numeric` condition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    Equal(f64),
    Less(f64),
    LessOrEqual(f64),
    Greater(f64),
    GreaterOrEqual(f64),
}

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    address: IpAddr,
    bits: u32,
}

impl Condition {
    pub(crate) fn matches(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::AnythingBut(not), value) => {
                is_leaf(value) && !not.iter().any(|one| one.matches(value))
            }
            (Self::Exists(wanted), value) => *wanted == is_leaf(value),
            (Self::Null, Value::Null) => true,
            (Self::Bool(wanted), Value::Bool(found)) => *wanted == found,
            (Self::Number(wanted), Value::Number(found)) => wanted == found,
            (Self::Numeric(bounds), Value::Number(found)) => {
                found.parse().is_ok_and(|number| bounds.iter().all(|bound| bound.holds_of(number)))
            }
            (Self::Text(condition), Value::String(found)) => {
                unquoted(found).is_some_and(|text| condition.matches(&text))
            }
            (Self::Cidr(block), Value::String(found)) => unquoted(found)
                .and_then(|text| text.parse().ok())
                .is_some_and(|address| block.contains(address)),
            (_, _) => false,
        }
    }
}

fn is_leaf(value: Value<'_>) -> bool {
    !matches!(value, Value::Absent | Value::Object(_) | Value::Array(_))
}

impl TextCondition {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Equal(wanted) => text == wanted,
            Self::EqualIgnoringCase(wanted) => text.to_lowercase() == *wanted,
            Self::Prefix(wanted) => text.starts_with(wanted.as_str()),
            Self::PrefixIgnoringCase(wanted) => text.to_lowercase().starts_with(wanted.as_str()),
            Self::Suffix(wanted) => text.ends_with(wanted.as_str()),
            Self::SuffixIgnoringCase(wanted) => text.to_lowercase().ends_with(wanted.as_str()),
            Self::Wildcard(wildcard) => wildcard.matches(text),
        }
    }
}

impl Bound {
    #[expect(clippy::float_cmp, reason = "the condition is about equal numbers")]
    fn holds_of(self, number: f64) -> bool {
        match self {
            Self::Equal(wanted) => number == wanted,
            Self::Less(limit) => number < limit,
            Self::LessOrEqual(limit) => number <= limit,
            Self::Greater(limit) => number > limit,
            Self::GreaterOrEqual(limit) => number >= limit,
        }
    }
}

impl Block {
    /// Reads `10.0.0.0/24` or `2001:db8::/32`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let bits = bits.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        (bits <= most).then_some(Self { address, bits })
    }

    fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(block), IpAddr::V4(address)) => {
                let differing = u32::from(block) ^ u32::from(address);
                differing.checked_shr(32 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(block), IpAddr::V6(address)) => {
                let differing = u128::from(block) ^ u128::from(address);
                differing.checked_shr(128 - self.bits).unwrap_or(0) == 0
            }
            (_, _) => false,
        }
    }
}
