//! Amazon Resource Names: `arn:partition:service:region:account:resource`.

use std::{fmt, str::FromStr};

/// An ARN in its six parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Arn {
    /// `aws`, `aws-cn`, …
    pub partition: String,
    /// Such as `lambda`.
    pub service: String,
    /// Empty for global resources.
    pub region: String,
    /// Twelve digits; empty for resources that belong to no account.
    pub account: String,
    /// What follows, with colons or slashes of its own.
    pub resource: String,
}

impl Arn {
    /// An ARN of the `aws` partition.
    pub fn new(service: &str, region: &str, account: &str, resource: impl Into<String>) -> Self {
        Self {
            partition: "aws".to_owned(),
            service: service.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
            resource: resource.into(),
        }
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, service, region, account, resource } = self;
        write!(f, "arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

/// The text is not an ARN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an ARN")]
pub struct NotAnArn;

impl FromStr for Arn {
    type Err = NotAnArn;

    fn from_str(text: &str) -> Result<Self, NotAnArn> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().ok_or(NotAnArn);
        let (prefix, partition, service) = (next()?, next()?, next()?);
        let (region, account, resource) = (next()?, next()?, next()?);
        if prefix != "arn" || partition.is_empty() || service.is_empty() || resource.is_empty() {
            return Err(NotAnArn);
        }
        Ok(Self {
            partition: partition.to_owned(),
            service: service.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
            resource: resource.to_owned(),
        })
    }
}

/// Whether `text` is the number of an account: twelve digits.
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints() {
        let text = "arn:aws:lambda:us-east-1:000000000000:function:f:live";
        let arn: Arn = text.parse().unwrap();
        assert_eq!(arn.resource, "function:f:live");
        assert_eq!(arn.to_string(), text);
        assert!("arn:aws:lambda".parse::<Arn>().is_err());
        assert!("urn:aws:lambda:r:a:x".parse::<Arn>().is_err());
        assert!(is_account("000000000000") && !is_account("00000000000x"));
    }
}
