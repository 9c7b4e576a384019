//! Who asks, as an authorizer found out, and the forms in which the integration gets to know it.

use std::sync::Arc;

use gatemill_wire::Caller;
use serde_json::{Map, Value, json, value::RawValue};

use crate::authorizer::{answers::Verdict, jwt::Claims};

/// Who asks.
#[derive(Debug, Clone, Default)]
pub(crate) enum Identity {
    /// Nobody was asked for.
    #[default]
    Unasked,
    /// Who signed.
    Iam(Caller),
    /// Whom a token names; scopes only where the route asks for some.
    Jwt(Claims, Option<Vec<String>>),
    /// What a function said.
    Function(Arc<Verdict>),
}

impl Identity {
    /// The member `authorizer` of an event of format 2.0, but for signers, who have a form of their own.
    pub(crate) fn v2(&self) -> Option<Box<RawValue>> {
        let json = match self {
            Self::Unasked | Self::Iam(_) => return None,
            Self::Jwt(claims, scopes) => {
                json!({"jwt": {"claims": claims.claims, "scopes": scopes}})
            }
            Self::Function(verdict) => json!({"lambda": verdict.context}),
        };
        serde_json::value::to_raw_value(&json).ok()
    }

    /// The member `authorizer` of an event of format 1.0.
    pub(crate) fn v1(&self) -> Value {
        match self {
            Self::Unasked | Self::Iam(_) => json!({"claims": null, "scopes": null}),
            Self::Jwt(claims, scopes) => json!({"claims": claims.claims, "scopes": scopes}),
            Self::Function(verdict) => {
                let mut context = verdict.context.clone().unwrap_or_else(Map::new);
                if let Some(principal) = &verdict.principal {
                    context.insert("principalId".to_owned(), principal.clone().into());
                }
                context.into()
            }
        }
    }

    /// Who signed, if that was asked for.
    pub(crate) fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Iam(caller) => Some(caller),
            Self::Unasked | Self::Jwt(..) | Self::Function(_) => None,
        }
    }

    /// `$context.authorizer.<name>`; what is no text is shown as JSON.
    pub(crate) fn property(&self, name: &str) -> Option<String> {
        match self {
            Self::Unasked | Self::Iam(_) => None,
            Self::Jwt(claims, _) => claims.claims.get(name.strip_prefix("claims.")?).cloned(),
            Self::Function(verdict) => {
                if name == "principalId" && verdict.principal.is_some() {
                    return verdict.principal.clone();
                }
                match verdict.context.as_ref()?.get(name)? {
                    Value::Null => None,
                    Value::String(text) => Some(text.clone()),
                    other => Some(other.to_string()),
                }
            }
        }
    }
}
