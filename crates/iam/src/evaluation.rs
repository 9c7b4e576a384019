//! The decision.
//!
//! Source: the evaluation logic of AWS's documentation, for one account and resource policies: an explicit deny wins,
//! an allow lets through, silence refuses.

use std::collections::BTreeMap;

use crate::{
    Document, condition,
    document::{Effect, Principals, Statement},
    pattern::matches,
};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Principal<'a> {
    /// A service, such as `apigateway.amazonaws.com`.
    Service(&'a str),
    /// An identity of an account.
    Aws {
        /// The account's twelve digits.
        account: &'a str,
        /// The identity's ARN.
        arn: &'a str,
    },
    /// Nobody known.
    Anonymous,
}

/// What the condition keys are: their names are compared without regard to case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context(BTreeMap<String, Vec<String>>);

impl Context {
    /// This context with a key added.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.entry(key.to_lowercase()).or_default().push(value.into());
        self
    }

    fn get(&self, key: &str) -> Option<&[String]> {
        self.0.get(&key.to_lowercase()).map(Vec::as_slice)
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: Principal<'a>,
    /// The action, such as `lambda:InvokeFunction`.
    pub action: &'a str,
    /// The ARN of what it is done to.
    pub resource: &'a str,
    /// The condition keys.
    pub context: &'a Context,
}

/// What the documents say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// A statement allows and none denies.
    Allow,
    /// A statement denies.
    ExplicitDeny,
    /// No statement says anything.
    ImplicitDeny,
}

impl Decision {
    /// Whether the request may go on.
    pub fn is_allow(self) -> bool {
        self == Self::Allow
    }
}

/// Decides a request by resource policies.
pub fn evaluate<'d>(
    documents: impl IntoIterator<Item = &'d Document>,
    request: &Request<'_>,
) -> Decision {
    let mut decision = Decision::ImplicitDeny;
    for statement in documents.into_iter().flat_map(|document| &document.statement) {
        if applies(statement, request) {
            match statement.effect {
                Effect::Deny => return Decision::ExplicitDeny,
                Effect::Allow => decision = Decision::Allow,
            }
        }
    }
    decision
}

fn applies(statement: &Statement, request: &Request<'_>) -> bool {
    principal_fits(statement, request.principal)
        && fits(statement.action.as_deref(), statement.not_action.as_deref(), |pattern| {
            matches(&pattern.to_lowercase(), &request.action.to_lowercase())
        })
        && fits(statement.resource.as_deref(), statement.not_resource.as_deref(), |pattern| {
            matches(pattern, request.resource)
        })
        && conditions_hold(statement, request.context)
}

/// One of the wanted, or none of the unwanted; a statement that names neither is about nothing.
fn fits(
    wanted: Option<&[String]>,
    unwanted: Option<&[String]>,
    test: impl Fn(&String) -> bool,
) -> bool {
    match (wanted, unwanted) {
        (Some(wanted), None) => wanted.iter().any(test),
        (None, Some(unwanted)) => !unwanted.iter().any(test),
        (None, None) | (Some(_), Some(_)) => false,
    }
}

fn principal_fits(statement: &Statement, principal: Principal<'_>) -> bool {
    match (&statement.principal, &statement.not_principal) {
        (Some(principals), None) => names(principals, principal),
        (None, Some(principals)) => !names(principals, principal),
        (None, None) | (Some(_), Some(_)) => false,
    }
}

fn names(principals: &Principals, principal: Principal<'_>) -> bool {
    let Principals::Named(named) = principals else { return true };
    named.iter().any(|(kind, values)| match (kind.as_str(), principal) {
        ("Service", Principal::Service(service)) => values.iter().any(|value| value == service),
        ("AWS", Principal::Aws { account, arn }) => {
            values.iter().any(|value| names_identity(value, account, arn))
        }
        // `"AWS": "*"` is everyone, as `"*"` is, but a service is no AWS identity.
        ("AWS", Principal::Anonymous) => values.iter().any(|value| value == "*"),
        _ => false,
    })
}

fn names_identity(value: &str, account: &str, arn: &str) -> bool {
    let root = value.strip_suffix(":root").and_then(|rest| rest.rsplit(':').next());
    value == "*" || value == account || root == Some(account) || value == arn
}

/// An operator that is not known here makes an allow fail and lets a deny stand.
fn conditions_hold(statement: &Statement, context: &Context) -> bool {
    statement.condition.iter().all(|(operator, keys)| {
        keys.iter().all(|(key, values)| {
            condition::holds(operator, &values.0, context.get(key))
                .unwrap_or(statement.effect == Effect::Deny)
        })
    })
}

#[cfg(test)]
#[path = "evaluation_tests.rs"]
mod tests;
