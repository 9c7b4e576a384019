//! Resource policies by statements: `AddPermission`, `RemovePermission`, `GetPolicy`. As whole documents they are in
//! `resource_policy`; both change the same record.
//!
//! Statements are stored as the JSON text that clients read, so that what was added comes back byte for byte.

use std::sync::Arc;

use gatemill_api::lambda as api;
use gatemill_iam as iam;
use gatemill_store::{Key, Reader};
use gatemill_wire::{Arn, Cx, Operation as _, OperationInfo, Qualifier, arn::is_account};
use serde_json::{Map, Value, json};

use super::{function::forget_on_commit, reference};
use crate::{
    Error, Lambda,
    limits::POLICY_BYTES_MAX,
    record::{
        ALIASES, FUNCTIONS, POLICIES, PolicyRecord, StatementRecord, VERSIONS, alias_key,
        policy_key, version_key,
    },
    target::FunctionKey,
};

pub(crate) const NO_RESOURCE: &str = "The resource you requested does not exist.";
pub(super) const NO_POLICY: &str = "No policy is associated with the given resource.";

/// `AddPermission`.
pub(crate) async fn add(
    lambda: &Lambda,
    cx: &Cx,
    request: api::AddPermissionRequest,
) -> Result<api::AddPermissionResponse, Error> {
    let named = (request.function_name.as_str(), request.qualifier.as_deref());
    let place = Place::of(cx, api::AddPermission::INFO, named)?;
    let statement = StatementRecord {
        sid: request.statement_id.clone(),
        json: statement(&request, &place.arn())?.to_string(),
    };
    let answer = statement.json.clone();
    let given = request.revision_id;
    change(lambda, cx, place, move |policy| {
        check_revision(policy.as_ref(), given.as_deref())?;
        let mut statements = policy.map(|policy| policy.statements).unwrap_or_default();
        if statements.iter().any(|known| known.sid == statement.sid) {
            return Err(Error::Conflict(format!(
                "The statement id ({}) provided already exists. Please provide a new statement id, or remove the \
                 existing statement.",
                statement.sid
            )));
        }
        statements.push(statement.clone());
        Ok(statements)
    })
    .await?;
    Ok(api::AddPermissionResponse { statement: Some(answer) })
}

/// `RemovePermission`.
pub(crate) async fn remove(
    lambda: &Lambda,
    cx: &Cx,
    request: api::RemovePermissionRequest,
) -> Result<(), Error> {
    let named = (request.function_name.as_str(), request.qualifier.as_deref());
    let place = Place::of(cx, api::RemovePermission::INFO, named)?;
    change(lambda, cx, place, move |policy| {
        let mut policy = policy.ok_or_else(|| Error::NotFound(NO_POLICY.to_owned()))?;
        take_out(&mut policy, &request.statement_id)?;
        check_revision(Some(&policy), request.revision_id.as_deref())?;
        Ok(policy.statements)
    })
    .await
}

/// Takes a statement out of a policy, in which it has to be.
pub(super) fn take_out(policy: &mut PolicyRecord, sid: &str) -> Result<(), Error> {
    let before = policy.statements.len();
    policy.statements.retain(|known| known.sid != sid);
    if policy.statements.len() == before {
        return Err(Error::NotFound(format!("Statement {sid} is not found in resource policy.")));
    }
    Ok(())
}

/// `GetPolicy`.
pub(crate) async fn get(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetPolicyRequest,
) -> Result<api::GetPolicyResponse, Error> {
    let named = (request.function_name.as_str(), request.qualifier.as_deref());
    let target = reference::resolve(cx, api::GetPolicy::INFO, named.0, named.1)?;
    // Nothing can be added for `$LATEST`, so nothing is found there.
    let place = Place { key: target.key().to_owned(), qualifier: target.qualifier };
    let policy = lambda.store.read(|tx| {
        place.check(tx)?;
        Ok::<_, Error>(POLICIES.get(tx, &place.record())?)
    })?;
    let policy = policy.ok_or_else(|| Error::NotFound(NO_RESOURCE.to_owned()))?;
    Ok(api::GetPolicyResponse {
        policy: Some(text(&policy)),
        revision_id: Some(policy.revision_id),
    })
}

/// What a policy belongs to: a function, or one published version or alias of it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) key: FunctionKey,
    pub(super) qualifier: Option<Qualifier>,
}

impl Place {
    /// What a request that changes a policy names.
    pub(super) fn of(
        cx: &Cx,
        operation: &OperationInfo,
        (name, qualifier): (&str, Option<&str>),
    ) -> Result<Self, Error> {
        let target = reference::resolve(cx, operation, name, qualifier)?;
        if target.qualifier == Some(Qualifier::Latest) {
            return Err(Error::InvalidParameter(
                "We currently do not support adding policies for $LATEST.".to_owned(),
            ));
        }
        Ok(Self { key: target.key().to_owned(), qualifier: target.qualifier })
    }

    pub(super) fn arn(&self) -> String {
        self.key.arn(self.qualifier.as_ref())
    }

    pub(super) fn record(&self) -> Key {
        let qualifier = self.qualifier.as_ref().map(ToString::to_string).unwrap_or_default();
        policy_key(&self.key, &qualifier)
    }

    /// Refuses what does not exist.
    pub(super) fn check(&self, tx: &impl Reader) -> Result<(), Error> {
        let exists = FUNCTIONS.contains(tx, &self.key.record())?
            && match &self.qualifier {
                None | Some(Qualifier::Latest) => true,
                Some(Qualifier::Version(number)) => {
                    VERSIONS.contains(tx, &version_key(&self.key, *number))?
                }
                Some(Qualifier::Alias(name)) => {
                    ALIASES.contains(tx, &alias_key(&self.key, name))?
                }
            };
        if exists { Ok(()) } else { Err(Error::FunctionNotFound(self.arn())) }
    }
}

/// Puts what `change` makes of a policy in its place, or removes a policy without statements.
async fn change(
    lambda: &Lambda,
    cx: &Cx,
    place: Place,
    change: impl Fn(Option<PolicyRecord>) -> Result<Vec<StatementRecord>, Error> + Send + 'static,
) -> Result<(), Error> {
    let change = move |old: Option<PolicyRecord>| {
        let id = old.as_ref().and_then(|policy| policy.id.clone());
        Ok(Contents { id, statements: change(old)? })
    };
    replace(lambda, cx, place, change).await.map(drop)
}

/// What a policy says.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) id: Option<String>,
    pub(super) statements: Vec<StatementRecord>,
}

/// Puts what `change` makes of a policy in its place, or removes a policy without statements. Gives the policy as it is then.
pub(super) async fn replace(
    lambda: &Lambda,
    cx: &Cx,
    place: Place,
    change: impl Fn(Option<PolicyRecord>) -> Result<Contents, Error> + Send + 'static,
) -> Result<PolicyRecord, Error> {
    let revision = cx.uuid().to_string();
    let snapshots = Arc::clone(&lambda.snapshots);
    lambda
        .store
        .write(move |tx| {
            place.check(tx)?;
            let record = place.record();
            let Contents { id, statements } = change(POLICIES.get(tx, &record)?)?;
            let policy = PolicyRecord { revision_id: revision.clone(), id, statements };
            if policy.statements.is_empty() {
                POLICIES.delete(tx, &record)?;
            } else {
                let bytes = text(&policy).len();
                if bytes > POLICY_BYTES_MAX {
                    return Err(Error::PolicyTooLong { bytes, max: POLICY_BYTES_MAX });
                }
                POLICIES.put(tx, &record, &policy)?;
            }
            forget_on_commit(tx, &snapshots, &place.key);
            Ok(policy)
        })
        .await
}

/// The policy as the evaluation reads it.
pub(crate) fn document(policy: &PolicyRecord) -> Result<iam::Document, Error> {
    iam::Document::parse(&text(policy)).map_err(|_| Error::Internal("a stored policy is malformed"))
}

/// The policy as clients read it.
pub(crate) fn text(policy: &PolicyRecord) -> String {
    let statements: Vec<&str> =
        policy.statements.iter().map(|statement| statement.json.as_str()).collect();
    let statements = statements.join(",");
    let id = json!(policy.id.as_deref().unwrap_or("default"));
    format!(r#"{{"Version":"2012-10-17","Id":{id},"Statement":[{statements}]}}"#)
}

fn check_revision(policy: Option<&PolicyRecord>, given: Option<&str>) -> Result<(), Error> {
    if is_latest(policy, given) {
        return Ok(());
    }
    Err(Error::Revision { operation: api::GetPolicy::INFO.name })
}

/// Whether a revision id, if there is one, is that of the policy.
pub(super) fn is_latest(policy: Option<&PolicyRecord>, given: Option<&str>) -> bool {
    given.is_none_or(|given| policy.is_some_and(|policy| policy.revision_id == given))
}

/// One statement, its keys in AWS's order.
fn statement(request: &api::AddPermissionRequest, resource: &str) -> Result<Value, Error> {
    let mut statement = json!({
        "Sid": request.statement_id,
        "Effect": "Allow",
        "Principal": principal(&request.principal)?,
        "Action": request.action,
        "Resource": resource,
    });
    let conditions = conditions(request);
    if !conditions.is_empty() {
        statement["Condition"] = Value::Object(conditions);
    }
    Ok(statement)
}

fn conditions(request: &api::AddPermissionRequest) -> Map<String, Value> {
    let mut equals = Map::new();
    for (key, value) in [
        ("AWS:SourceAccount", &request.source_account),
        ("lambda:EventSourceToken", &request.event_source_token),
        ("lambda:FunctionUrlAuthType", &request.function_url_auth_type),
        ("aws:PrincipalOrgID", &request.principal_org_id),
    ] {
        if let Some(value) = value {
            equals.insert(key.to_owned(), json!(value));
        }
    }
    let mut conditions = Map::new();
    if !equals.is_empty() {
        conditions.insert("StringEquals".to_owned(), Value::Object(equals));
    }
    if let Some(via_url) = request.invoked_via_function_url {
        let key = json!({ "lambda:InvokedViaFunctionUrl": via_url.to_string() });
        conditions.insert("Bool".to_owned(), key);
    }
    if let Some(source) = &request.source_arn {
        conditions.insert("ArnLike".to_owned(), json!({ "AWS:SourceArn": source }));
    }
    conditions
}

pub(crate) fn principal(given: &str) -> Result<Value, Error> {
    if given == "*" {
        return Ok(json!("*"));
    }
    if is_account(given) {
        return Ok(json!({ "AWS": format!("arn:aws:iam::{given}:root") }));
    }
    if let Ok(arn) = given.parse::<Arn>() {
        if matches!(arn.service.as_str(), "iam" | "sts") && is_account(&arn.account) {
            return Ok(json!({ "AWS": given }));
        }
    } else if is_service(given) {
        return Ok(json!({ "Service": given }));
    }
    Err(Error::InvalidParameter(
        "The provided principal was invalid. Please check the principal and try again.".to_owned(),
    ))
}

/// `apigateway.amazonaws.com` and its like.
fn is_service(text: &str) -> bool {
    let host = text.strip_suffix(".amazonaws.com").or(text.strip_suffix(".amazonaws.com.cn"));
    host.is_some_and(|host| {
        !host.is_empty()
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

    fn check(request: api::AddPermissionRequest, expected: &str) {
        let request = api::AddPermissionRequest {
            statement_id: "s".into(),
            action: "lambda:InvokeFunction".into(),
            ..request
        };
        assert_eq!(statement(&request, FUNCTION).unwrap().to_string(), expected);
    }

    fn of(principal: &str) -> api::AddPermissionRequest {
        api::AddPermissionRequest { principal: principal.into(), ..Default::default() }
    }

    #[test]
    fn statements() {
        let begin = r#"{"Sid":"s","Effect":"Allow","Principal":"#;
        let middle = format!(r#","Action":"lambda:InvokeFunction","Resource":"{FUNCTION}""#);
        let source = Some("arn:aws:s3:::b".to_owned());
        check(
            api::AddPermissionRequest { source_arn: source.clone(), ..of("s3.amazonaws.com") },
            &format!(
                r#"{begin}{{"Service":"s3.amazonaws.com"}}{middle},"Condition":{{"ArnLike":{{"AWS:SourceArn":"arn:aws:s3:::b"}}}}}}"#
            ),
        );
        check(
            of("111111111111"),
            &format!(r#"{begin}{{"AWS":"arn:aws:iam::111111111111:root"}}{middle}}}"#),
        );
        check(
            of("arn:aws:iam::111111111111:user/u"),
            &format!(r#"{begin}{{"AWS":"arn:aws:iam::111111111111:user/u"}}{middle}}}"#),
        );
        check(
            api::AddPermissionRequest {
                invoked_via_function_url: Some(true),
                principal_org_id: Some("o-1".into()),
                ..of("*")
            },
            &format!(
                r#"{begin}"*"{middle},"Condition":{{"StringEquals":{{"aws:PrincipalOrgID":"o-1"}},"Bool":{{"lambda:InvokedViaFunctionUrl":"true"}}}}}}"#
            ),
        );
        for bad in
            ["", "x", "12345", "arn:aws:s3:::b", "s3.amazonaws.com/x", ".amazonaws.com", "**"]
        {
            assert!(matches!(principal(bad), Err(Error::InvalidParameter(_))), "{bad}");
        }
    }
}
