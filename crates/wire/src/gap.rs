//! What of an operation's input is not honoured, as data.
//!
//! A handler refuses such a member with an entry of its crate's list, which `gatemill operations` prints: a refusal that
//! is not listed cannot be written. [`gaps!`](crate::gaps) makes the entries and the list at once.

use std::fmt;

use crate::OperationInfo;

/// A member that is not honoured, or some of its values.
#[derive(Debug)]
pub struct Gap {
    /// The operations whose input it is in, all of one service.
    pub operations: &'static [&'static OperationInfo],
    /// Its path in the input, such as `DurableConfig.KMSKeyArn`.
    pub member: &'static str,
    /// Which values, in words that follow the member; empty for all but those that say "not used".
    pub when: &'static str,
    /// What a request gets that has it.
    pub treatment: Treatment,
    /// Why it is so, as a clause.
    pub why: &'static str,
}

/// What a request gets that asks for what is not honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// 501, and the member's name.
    Refused,
    /// The same, unless the operator has such settings taken (`accept-unenforceable`): then it has no effect.
    RefusedUnlessAccepted,
    /// It is taken and has no effect.
    WithoutEffect,
}

impl Treatment {
    /// For programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::RefusedUnlessAccepted => "refused-unless-accepted",
            Self::WithoutEffect => "without-effect",
        }
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Refused => "501",
            Self::RefusedUnlessAccepted => "501, or without effect under `accept-unenforceable`",
            Self::WithoutEffect => "without effect",
        }
    }
}

/// The text of a refusal.
impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.member)?;
        if !self.when.is_empty() {
            write!(f, " {}", self.when)?;
        }
        write!(f, " is not built in this version of Gatemill: {}.", self.why)
    }
}

/// Makes gaps, each a constant, and the list of them all.
///
/// ```
/// # use gatemill_wire::Gap;
/// gatemill_wire::gaps! {
///     /// Every gap of the crate.
///     pub GAPS;
/// }
/// assert!(GAPS.is_empty());
/// ```
#[macro_export]
macro_rules! gaps {
    (
        $(#[$of_list:meta])* pub $list:ident;
        $($name:ident: [$($operation:ty),+ $(,)?] $member:literal, $when:literal, $treatment:ident, $why:literal;)*
    ) => {
        $(pub(crate) static $name: $crate::Gap = $crate::Gap {
            operations: &[$(<$operation as $crate::Operation>::INFO),+],
            member: $member,
            when: $when,
            treatment: $crate::Treatment::$treatment,
            why: $why,
        };)*
        $(#[$of_list])*
        pub static $list: &[&$crate::Gap] = &[$(&$name),*];
    };
}
