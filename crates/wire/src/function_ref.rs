//! The forms in which a function is named: name, partial ARN, full ARN, each with or without a qualifier.
//!
//! Source: the pattern of `FunctionName` in Lambda's service model, and the recorded answers for references that
//! contradict themselves or point to another region.

use std::fmt;

use crate::Arn;

/// A version or an alias of a function.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Qualifier {
    /// The unpublished version.
    Latest,
    /// A published version.
    Version(u64),
    /// An alias.
    Alias(String),
}

impl Qualifier {
    /// Reads a qualifier that has already passed the model's pattern.
    pub fn parse(text: &str) -> Self {
        if text == "$LATEST" {
            return Self::Latest;
        }
        match text.parse() {
            Ok(version) => Self::Version(version),
            Err(_) => Self::Alias(text.to_owned()),
        }
    }
}

impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("$LATEST"),
            Self::Version(version) => version.fmt(f),
            Self::Alias(alias) => f.write_str(alias),
        }
    }
}

/// A function as a caller named it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FunctionRef {
    /// The account, where the reference names one.
    pub account: Option<String>,
    /// The region, where the reference names one.
    pub region: Option<String>,
    /// The bare name.
    pub name: String,
    /// The qualifier, where the reference names one.
    pub qualifier: Option<Qualifier>,
}

/// Why a text and a qualifier are no reference to a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadReference {
    /// It has none of the forms.
    #[error("not a reference to a function")]
    Malformed,
    /// Name and parameter disagree about the qualifier.
    #[error("The derived qualifier from the function name does not match the specified qualifier.")]
    QualifierMismatch,
}

impl FunctionRef {
    /// Reads a name, partial ARN or full ARN, and joins the qualifier that came apart from it.
    pub fn parse(text: &str, qualifier: Option<&str>) -> Result<Self, BadReference> {
        let mut reference = Self::parse_one(text)?;
        let given = qualifier.map(Qualifier::parse);
        match (&reference.qualifier, given) {
            (Some(named), Some(given)) if *named != given => Err(BadReference::QualifierMismatch),
            (None, Some(given)) => {
                reference.qualifier = Some(given);
                Ok(reference)
            }
            (_, _) => Ok(reference),
        }
    }

    fn parse_one(text: &str) -> Result<Self, BadReference> {
        let (region, account, rest) = if text.starts_with("arn:") {
            let arn: Arn = text.parse().map_err(|_| BadReference::Malformed)?;
            if arn.service != "lambda" {
                return Err(BadReference::Malformed);
            }
            (Some(arn.region), Some(arn.account), arn.resource)
        } else {
            let (account, rest) = split_account(text);
            (None, account, rest.to_owned())
        };
        let named = rest.strip_prefix("function:");
        if region.is_some() && named.is_none() {
            return Err(BadReference::Malformed);
        }
        let rest = named.unwrap_or(&rest);
        let (name, qualifier) = match rest.split_once(':') {
            Some((name, qualifier)) => (name, Some(qualifier)),
            None => (rest, None),
        };
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let legal_qualifier =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| legal(byte) || byte == b'$');
        if name.is_empty() || !name.bytes().all(legal) || !qualifier.is_none_or(legal_qualifier) {
            return Err(BadReference::Malformed);
        }
        let qualifier = qualifier.map(Qualifier::parse);
        Ok(Self { account, region, name: name.to_owned(), qualifier })
    }
}

/// Splits the account off a partial ARN: `123456789012:function:f`. A bare `name:qualifier` has none.
fn split_account(text: &str) -> (Option<String>, &str) {
    match text.split_once(':') {
        Some((account, rest)) if crate::arn::is_account(account) => {
            (Some(account.to_owned()), rest)
        }
        _ => (None, text),
    }
}

/// The ARN of a function, with its qualifier where there is one.
pub fn function_arn(
    account: &str,
    region: &str,
    name: &str,
    qualifier: Option<&Qualifier>,
) -> String {
    match qualifier {
        None => format!("arn:aws:lambda:{region}:{account}:function:{name}"),
        Some(qualifier) => format!("arn:aws:lambda:{region}:{account}:function:{name}:{qualifier}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        text: &str,
        qualifier: Option<&str>,
    ) -> (Option<String>, Option<String>, String, Option<String>) {
        let r = FunctionRef::parse(text, qualifier).unwrap();
        (r.region, r.account, r.name, r.qualifier.map(|q| q.to_string()))
    }

    #[test]
    fn every_form() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(check("f", None), (None, None, "f".into(), None));
        assert_eq!(check("f:live", None), (None, None, "f".into(), some("live")));
        assert_eq!(check("function:f", None), (None, None, "f".into(), None));
        assert_eq!(check("f", Some("7")), (None, None, "f".into(), some("7")));
        assert_eq!(
            check("123456789012:function:f:$LATEST", None),
            (None, some("123456789012"), "f".into(), some("$LATEST"))
        );
        assert_eq!(
            check("arn:aws:lambda:eu-west-1:123456789012:function:f:1", Some("1")),
            (some("eu-west-1"), some("123456789012"), "f".into(), some("1"))
        );
    }

    #[test]
    fn contradictions_and_nonsense() {
        assert_eq!(FunctionRef::parse("f:1", Some("2")), Err(BadReference::QualifierMismatch));
        for text in
            ["", "a b", "arn:aws:s3:::b", "arn:aws:lambda:r:1:layer:l", "f:", "f:a b", "x:y:z"]
        {
            assert!(FunctionRef::parse(text, None).is_err(), "{text:?}");
        }
    }
}
