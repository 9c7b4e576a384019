//! What is measured: metrics, and the subjects that have them.

/// A unit as CloudWatch names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// Things.
    Count,
    /// Thousandths of a second.
    Milliseconds,
    /// Bytes.
    Bytes,
    /// No unit, as of shares.
    None,
}

impl Unit {
    /// As CloudWatch writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
            Self::Bytes => "Bytes",
            Self::None => "None",
        }
    }
}

/// A metric. Each is one `static`.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Metric {
    /// Its name, such as `Invocations`.
    pub name: &'static str,
    /// The unit of its values.
    pub unit: Unit,
}

/// Whose measurements they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// The namespace, such as `AWS/Lambda`.
    pub namespace: &'static str,
    /// What it is called by, from the general to the special.
    pub dimensions: Vec<(&'static str, String)>,
    /// Under how many of its first dimensions a measurement counts, each: `[0, 1]` is the namespace as a whole, and the first
    /// dimension. In this way one measurement serves every combination that CloudWatch lists.
    pub levels: &'static [usize],
}
