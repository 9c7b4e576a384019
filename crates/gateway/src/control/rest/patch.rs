//! Patches: the operations that change a resource, in their order, all of them or none.

use gatemill_api::apigateway::PatchOperation;

use crate::error::{Error, Result};

/// What a patch does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Add,
    Replace,
    Remove,
}

/// One operation of a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Patch {
    pub(super) op: Op,
    /// As it came, with its escapes.
    pub(super) path: String,
    pub(super) value: Option<String>,
}

impl Op {
    /// As it is on the wire.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Replace => "replace",
            Self::Remove => "remove",
        }
    }
}

impl Patch {
    /// The value, as text; nothing is the empty text.
    pub(super) fn text(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }

    /// A text that is removed where it is empty.
    pub(super) fn optional(&self) -> Option<String> {
        self.value.clone().filter(|text| !text.is_empty())
    }

    /// As in AWS, whatever does not say `true` is not.
    pub(super) fn flag(&self) -> bool {
        self.text().eq_ignore_ascii_case("true")
    }

    /// A number.
    pub(super) fn number<N: std::str::FromStr>(&self) -> Result<N> {
        self.text().trim().parse().map_err(|_| {
            Error::invalid(format!("Invalid value specified for patch path {}", self.path))
        })
    }

    /// Refuses every operation but `replace`.
    pub(super) fn only_replace(&self) -> Result<()> {
        match self.op {
            Op::Replace => Ok(()),
            Op::Add | Op::Remove => {
                Err(Error::invalid("Invalid patch operation specified. Must be one of: [replace]"))
            }
        }
    }

    /// That there is nothing to change at its path.
    pub(super) fn unknown(&self) -> Error {
        Error::invalid(format!("Invalid patch path {}", self.path))
    }
}

/// Reads the operations of a patch.
pub(super) fn read(operations: Option<&[PatchOperation]>) -> Result<Vec<Patch>> {
    operations.unwrap_or_default().iter().map(read_one).collect()
}

fn read_one(operation: &PatchOperation) -> Result<Patch> {
    let Some(path) = operation.path.clone().filter(|path| !path.is_empty()) else {
        return Err(Error::invalid("Invalid patch path null"));
    };
    let op = match operation.op.as_deref() {
        Some("add") => Op::Add,
        Some("replace") => Op::Replace,
        Some("remove") => Op::Remove,
        Some("copy") => {
            let from = operation.from.as_deref().unwrap_or("null");
            return Err(Error::invalid(format!(
                "Invalid copy operation with path: {path} and from {from}."
            )));
        }
        Some(_) | None => {
            return Err(Error::invalid(
                "Invalid patch operation specified. Must be 'add'|'remove'|'replace'",
            ));
        }
    };
    Ok(Patch { op, path, value: operation.value.clone() })
}

/// A part of a path without its escapes: `~1` is a slash and `~0` a tilde.
pub(super) fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(op: Option<&str>, path: Option<&str>, from: Option<&str>) -> String {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let operation =
            PatchOperation { op: text(op), path: text(path), value: None, from: text(from) };
        match read(Some(&[operation])) {
            Ok(patches) => format!("{} {}", patches[0].op.text(), patches[0].path),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn operations_are_read_or_named() {
        assert_eq!(read_text(Some("add"), Some("/a"), None), "add /a");
        assert_eq!(read_text(Some("add"), None, None), "Invalid patch path null");
        assert_eq!(
            read_text(Some("copy"), Some("/a"), Some("/b")),
            "Invalid copy operation with path: /a and from /b."
        );
        for op in [None, Some("move"), Some("test")] {
            let text = "Invalid patch operation specified. Must be 'add'|'remove'|'replace'";
            assert_eq!(read_text(op, Some("/a"), None), text);
        }
        assert_eq!(unescaped("~1a~01"), "/a~1");
        assert_eq!(read(None).unwrap(), []);
    }

    #[test]
    fn values_are_read_leniently_where_aws_does() {
        let patch = |value: Option<&str>| Patch {
            op: Op::Replace,
            path: "/x".to_owned(),
            value: value.map(str::to_owned),
        };
        assert!(patch(Some("True")).flag() && !patch(Some("notabool")).flag());
        assert!(!patch(None).flag());
        assert_eq!(patch(Some(" 5")).number::<i32>().unwrap(), 5);
        assert!(
            patch(Some("5.5")).number::<i32>().is_err() && patch(None).number::<f64>().is_err()
        );
    }
}
