//! The static description of a shape: its members, where each travels, and its constraints.
//!
//! `xtask codegen` writes these as constants from the public service models; the binder, the validator and the
//! documentation interpret them. They are data, so that adding an operation adds no code here.

/// One shape of a service model.
#[derive(Debug)]
pub struct Shape {
    /// The name in the service model, such as `FunctionName`.
    pub name: &'static str,
    /// What it is, with its constraints.
    pub kind: Kind,
    /// The model marks it as sensitive: its value appears in no message and no log.
    pub sensitive: bool,
}

/// What a shape is. `min` and `max` are inclusive; lengths are in characters for strings, bytes for blobs,
/// entries for lists and maps.
#[derive(Debug)]
pub enum Kind {
    /// An object (or a union) with members.
    Structure {
        /// Its members, in the model's order.
        members: &'static [Member],
    },
    /// A list of one shape.
    List {
        /// The shape of each entry.
        member: &'static Shape,
        /// Fewest entries.
        min: Option<u64>,
        /// Most entries.
        max: Option<u64>,
    },
    /// A map from strings.
    Map {
        /// The shape of each key.
        key: &'static Shape,
        /// The shape of each value.
        value: &'static Shape,
        /// Fewest entries.
        min: Option<u64>,
        /// Most entries.
        max: Option<u64>,
    },
    /// Text.
    String {
        /// Shortest.
        min: Option<u64>,
        /// Longest.
        max: Option<u64>,
        /// A regular expression in Java's dialect that the whole value has to match.
        pattern: Option<&'static str>,
        /// The values of an enum; empty for free text.
        values: &'static [&'static str],
    },
    /// A whole number of 32 bits, or of 64 when `long`.
    Integer {
        /// Whether 64 bits are meant.
        long: bool,
        /// Smallest.
        min: Option<i64>,
        /// Largest.
        max: Option<i64>,
    },
    /// A floating point number.
    Double {
        /// Smallest.
        min: Option<f64>,
        /// Largest.
        max: Option<f64>,
    },
    /// True or false.
    Boolean,
    /// Bytes: base64 inside JSON, raw as a payload.
    Blob {
        /// Fewest bytes.
        min: Option<u64>,
        /// Most bytes.
        max: Option<u64>,
    },
    /// A point in time.
    Timestamp {
        /// How it is written in a body.
        format: TimestampFormat,
    },
    /// Any JSON value.
    Document,
}

/// How a timestamp is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampFormat {
    /// A JSON number of seconds, with a fraction.
    EpochSeconds,
    /// `2026-11-22T20:26:54Z`.
    Iso8601,
}

/// One member of a structure.
#[derive(Debug)]
pub struct Member {
    /// The member's name in the model, such as `FunctionName`; messages derive `functionName` from it.
    pub name: &'static str,
    /// The name on the wire: JSON key, label, query key or header.
    pub wire: &'static str,
    /// Where it travels.
    pub location: Location,
    /// Whether it has to be there.
    pub required: bool,
    /// Its shape.
    pub shape: &'static Shape,
}

/// Where a member travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// In the JSON or form body.
    Body,
    /// In the path.
    Uri,
    /// In the query string.
    Query,
    /// In a header.
    Header,
    /// In every header that starts with the wire name.
    Headers,
    /// As the status code of a response.
    Status,
    /// It is the body.
    Payload,
}

impl Shape {
    /// The members of a structure; nothing for other shapes.
    pub fn members(&self) -> &'static [Member] {
        match &self.kind {
            Kind::Structure { members } => members,
            Kind::List { .. }
            | Kind::Map { .. }
            | Kind::String { .. }
            | Kind::Integer { .. }
            | Kind::Double { .. }
            | Kind::Boolean
            | Kind::Blob { .. }
            | Kind::Timestamp { .. }
            | Kind::Document => &[],
        }
    }
}
