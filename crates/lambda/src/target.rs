//! Which function a call is for.
//!
//! [`FunctionTarget`] is what callers name; [`FunctionKey`] is the function without its qualifier, under which
//! records, snapshots and environments are found. Neither says whether the function exists.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use gatemill_store::Key;
use gatemill_wire::{Arn, FunctionRef, Qualifier, function_ref::function_arn};

/// A function, and which version of it, as a caller of [`Lambda::invoke`](crate::Lambda::invoke) names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FunctionTarget {
    /// The twelve digits of the account that owns it.
    pub account: String,
    /// Its region.
    pub region: String,
    /// Its bare name.
    pub name: String,
    /// The version or alias; `None` means `$LATEST` without saying so.
    pub qualifier: Option<Qualifier>,
}

impl FunctionTarget {
    /// Reads a function's full ARN, with or without a qualifier; `None` for any other text.
    pub fn from_arn(text: &str) -> Option<Self> {
        let arn: Arn = text.parse().ok()?;
        let reference = FunctionRef::parse(text, None).ok()?;
        Some(Self {
            account: arn.account,
            region: arn.region,
            name: reference.name,
            qualifier: reference.qualifier,
        })
    }

    /// Reads what an integration of API Gateway names: a function's ARN, or the invocation path
    /// `arn:aws:apigateway:<region>:lambda:path/2015-03-31/functions/<function ARN>/invocations`.
    pub fn from_integration_uri(uri: &str) -> Option<Self> {
        let Ok(arn) = uri.parse::<Arn>() else { return None };
        if arn.service != "apigateway" {
            return Self::from_arn(uri);
        }
        if arn.account != "lambda" {
            return None;
        }
        let path = arn.resource.strip_prefix("path/2015-03-31/functions/")?;
        Self::from_arn(path.strip_suffix("/invocations")?)
    }

    /// The ARN, with the qualifier where one was named.
    pub fn arn(&self) -> String {
        function_arn(&self.account, &self.region, &self.name, self.qualifier.as_ref())
    }

    /// The function itself.
    pub(crate) fn key(&self) -> KeyRef<'_> {
        KeyRef { account: &self.account, region: &self.region, name: &self.name }
    }
}

/// A function without a qualifier: account, region, name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FunctionKey {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) name: String,
}

impl FunctionKey {
    pub(crate) fn new(account: &str, region: &str, name: &str) -> Self {
        Self { account: account.to_owned(), region: region.to_owned(), name: name.to_owned() }
    }

    pub(crate) fn by_ref(&self) -> KeyRef<'_> {
        KeyRef { account: &self.account, region: &self.region, name: &self.name }
    }

    /// The key of the function's records.
    pub(crate) fn record(&self) -> Key {
        self.by_ref().record()
    }

    pub(crate) fn arn(&self, qualifier: Option<&Qualifier>) -> String {
        function_arn(&self.account, &self.region, &self.name, qualifier)
    }

    /// Reads back [`Self::record`].
    pub(crate) fn from_record(key: &Key) -> Option<Self> {
        Some(Self {
            account: key.text(0)?.into_owned(),
            region: key.text(1)?.into_owned(),
            name: key.text(2)?.into_owned(),
        })
    }
}

impl fmt::Display for FunctionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arn(None))
    }
}

/// A [`FunctionKey`] that is borrowed, so that the invoke path finds a function without copying its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyRef<'a> {
    pub(crate) account: &'a str,
    pub(crate) region: &'a str,
    pub(crate) name: &'a str,
}

impl KeyRef<'_> {
    pub(crate) fn record(&self) -> Key {
        Key::new([self.account, self.region, self.name])
    }

    pub(crate) fn to_owned(self) -> FunctionKey {
        FunctionKey::new(self.account, self.region, self.name)
    }
}

impl Hash for KeyRef<'_> {
    // As the derived hash of `FunctionKey`: a `String` hashes as its `str`.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.account.hash(state);
        self.region.hash(state);
        self.name.hash(state);
    }
}

impl papaya::Equivalent<FunctionKey> for KeyRef<'_> {
    fn equivalent(&self, key: &FunctionKey) -> bool {
        *self == key.by_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Option<(String, Option<String>)> {
        let target = FunctionTarget::from_integration_uri(text)?;
        Some((target.name, target.qualifier.map(|qualifier| qualifier.to_string())))
    }

    #[test]
    fn integration_uris() {
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:f";
        let path = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions";
        assert_eq!(check(arn), Some(("f".into(), None)));
        assert_eq!(check(&format!("{arn}:live")), Some(("f".into(), Some("live".into()))));
        assert_eq!(check(&format!("{path}/{arn}/invocations")), Some(("f".into(), None)));
        assert_eq!(
            check(&format!("{path}/{arn}:1/invocations")),
            Some(("f".into(), Some("1".into())))
        );
        for text in ["f", "https://example.com", "arn:aws:sqs:us-east-1:000000000000:q"] {
            assert_eq!(check(text), None, "{text}");
        }
        assert_eq!(check("arn:aws:apigateway:us-east-1:s3:path/x"), None);
    }

    #[test]
    fn a_borrowed_key_is_found_as_the_owned_one() {
        let map = papaya::HashMap::new();
        let key = FunctionKey::new("000000000000", "us-east-1", "f");
        map.pin().insert(key.clone(), 1);
        assert_eq!(map.pin().get(&key.by_ref()), Some(&1));
        assert_eq!(FunctionKey::from_record(&key.record()), Some(key));
    }
}
