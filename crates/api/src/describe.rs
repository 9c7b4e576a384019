//! The vocabulary in which the generated shapes are written: short constructors for long constants.

use gatemill_wire::{Kind, Member};
pub(crate) use gatemill_wire::{Location, Shape, TimestampFormat};

const fn shape(name: &'static str, kind: Kind) -> Shape {
    Shape { name, kind, sensitive: false }
}

/// The same shape, whose value appears in no message and no log.
pub(crate) const fn sensitive(shape: Shape) -> Shape {
    Shape { name: shape.name, kind: shape.kind, sensitive: true }
}

pub(crate) const fn structure(name: &'static str, members: &'static [Member]) -> Shape {
    shape(name, Kind::Structure { members })
}

pub(crate) const fn list(
    name: &'static str,
    member: &'static Shape,
    min: Option<u64>,
    max: Option<u64>,
) -> Shape {
    shape(name, Kind::List { member, min, max })
}

pub(crate) const fn map(
    name: &'static str,
    key: &'static Shape,
    value: &'static Shape,
    min: Option<u64>,
    max: Option<u64>,
) -> Shape {
    shape(name, Kind::Map { key, value, min, max })
}

pub(crate) const fn string(
    name: &'static str,
    min: Option<u64>,
    max: Option<u64>,
    pattern: Option<&'static str>,
    values: &'static [&'static str],
) -> Shape {
    shape(name, Kind::String { min, max, pattern, values })
}

/// An enum.
pub(crate) const fn one_of(name: &'static str, values: &'static [&'static str]) -> Shape {
    string(name, None, None, None, values)
}

pub(crate) const fn integer(name: &'static str, min: Option<i64>, max: Option<i64>) -> Shape {
    shape(name, Kind::Integer { long: false, min, max })
}

pub(crate) const fn long(name: &'static str, min: Option<i64>, max: Option<i64>) -> Shape {
    shape(name, Kind::Integer { long: true, min, max })
}

pub(crate) const fn double(name: &'static str, min: Option<f64>, max: Option<f64>) -> Shape {
    shape(name, Kind::Double { min, max })
}

pub(crate) const fn boolean(name: &'static str) -> Shape {
    shape(name, Kind::Boolean)
}

pub(crate) const fn blob(name: &'static str, min: Option<u64>, max: Option<u64>) -> Shape {
    shape(name, Kind::Blob { min, max })
}

pub(crate) const fn timestamp(name: &'static str, format: TimestampFormat) -> Shape {
    shape(name, Kind::Timestamp { format })
}

/// A member that has to be there.
pub(crate) const fn required(
    name: &'static str,
    wire: &'static str,
    location: Location,
    shape: &'static Shape,
) -> Member {
    Member { name, wire, location, required: true, shape }
}

/// A member that may be absent.
pub(crate) const fn optional(
    name: &'static str,
    wire: &'static str,
    location: Location,
    shape: &'static Shape,
) -> Member {
    Member { name, wire, location, required: false, shape }
}

/// What `Debug` shows in place of a sensitive value.
pub(crate) struct Hidden;

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<hidden>")
    }
}
