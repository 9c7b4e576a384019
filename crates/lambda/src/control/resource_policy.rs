//! Resource policies as whole documents: `PutResourcePolicy`, `GetResourcePolicy`, `DeleteResourcePolicy`.
//!
//! They change the record that `permission` changes statement by statement, so both interfaces see one policy. A document
//! is taken only where its evaluation would honour all of it: nothing stands in a policy that has no effect.

use gatemill_api::lambda as api;
use gatemill_iam::{self as iam, condition, pattern};
use gatemill_store::Reader;
use gatemill_wire::{Cx, Operation as _, OperationInfo};
use serde_json::{Value, value::RawValue};

use super::permission::{self, Contents, NO_POLICY, NO_RESOURCE, Place};
use crate::{
    Error, Lambda,
    limits::POLICY_BYTES_MAX,
    record::{POLICIES, PolicyRecord, StatementRecord},
};

/// `PutResourcePolicy`: the document replaces everything that was there.
pub(crate) async fn put(
    lambda: &Lambda,
    cx: &Cx,
    request: api::PutResourcePolicyRequest,
) -> Result<api::PutResourcePolicyResponse, Error> {
    let place = place(cx, api::PutResourcePolicy::INFO, &request.resource_arn)?;
    let (id, statements) = read(&request.policy, &place.arn())?;
    let given = request.revision_id;
    let policy = permission::replace(lambda, cx, place, move |old| {
        check_revision(old.as_ref(), given.as_deref())?;
        Ok(Contents { id: id.clone(), statements: statements.clone() })
    })
    .await?;
    Ok(api::PutResourcePolicyResponse {
        policy: Some(permission::text(&policy)),
        revision_id: Some(policy.revision_id),
    })
}

/// `GetResourcePolicy`.
pub(crate) async fn get(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetResourcePolicyRequest,
) -> Result<api::GetResourcePolicyResponse, Error> {
    let place = place(cx, api::GetResourcePolicy::INFO, &request.resource_arn)?;
    let policy = lambda.store.read(|tx: &_| read_at(tx, &place))?;
    let policy = policy.ok_or_else(|| Error::NotFound(NO_POLICY.to_owned()))?;
    Ok(api::GetResourcePolicyResponse {
        policy: Some(permission::text(&policy)),
        revision_id: Some(policy.revision_id),
    })
}

/// `DeleteResourcePolicy`.
pub(crate) async fn delete(
    lambda: &Lambda,
    cx: &Cx,
    request: api::DeleteResourcePolicyRequest,
) -> Result<(), Error> {
    let place = place(cx, api::DeleteResourcePolicy::INFO, &request.resource_arn)?;
    let given = request.revision_id;
    let change = move |old: Option<PolicyRecord>| {
        let old = old.ok_or_else(|| Error::NotFound(NO_POLICY.to_owned()))?;
        check_revision(Some(&old), given.as_deref())?;
        Ok(Contents { id: None, statements: Vec::new() })
    };
    permission::replace(lambda, cx, place, change).await.map(drop)
}

fn read_at(tx: &impl Reader, place: &Place) -> Result<Option<PolicyRecord>, Error> {
    place.check(tx)?;
    Ok(POLICIES.get(tx, &place.record())?)
}

/// What an ARN names: a function, a version or an alias. There are no customer runtimes here, so none is found.
fn place(cx: &Cx, operation: &OperationInfo, arn: &str) -> Result<Place, Error> {
    if arn.contains(":runtime/") {
        return Err(Error::NotFound(NO_RESOURCE.to_owned()));
    }
    Place::of(cx, operation, (arn, None))
}

fn check_revision(policy: Option<&PolicyRecord>, given: Option<&str>) -> Result<(), Error> {
    if permission::is_latest(policy, given) {
        return Ok(());
    }
    Err(Error::Revision { operation: api::GetResourcePolicy::INFO.name })
}

/// The parts of a document, each statement as it was written. The texts of refusals are ours: AWS's are not recorded.
fn read(text: &str, arn: &str) -> Result<(Option<String>, Vec<StatementRecord>), Error> {
    #[derive(serde::Deserialize)]
    struct Raw<'a> {
        #[serde(rename = "Statement", borrow)]
        statement: &'a RawValue,
    }
    let refused = |why: &str| Error::InvalidParameter(format!("The policy is not valid: {why}"));
    if text.len() > POLICY_BYTES_MAX {
        return Err(Error::PolicyTooLong { bytes: text.len(), max: POLICY_BYTES_MAX });
    }
    let malformed = || refused("it is malformed.");
    let document = iam::Document::parse(text).map_err(|_| malformed())?;
    if document.version.as_deref().is_some_and(|version| version != "2012-10-17") {
        return Err(refused("its version must be 2012-10-17."));
    }
    if document.statement.is_empty() {
        return Err(refused("it has no statement."));
    }
    let raw: Raw<'_> = serde_json::from_str(text).map_err(|_| malformed())?;
    let list: Vec<Value> = match serde_json::from_str(raw.statement.get()) {
        Ok(Value::Array(list)) => list,
        Ok(one) => vec![one],
        Err(_) => return Err(malformed()),
    };
    let mut statements: Vec<StatementRecord> = Vec::with_capacity(list.len());
    for (statement, value) in document.statement.iter().zip(&list) {
        check(statement, arn).map_err(|why| refused(&why))?;
        let sid = statement.sid.clone().unwrap_or_default();
        if !sid.is_empty() && statements.iter().any(|known| known.sid == sid) {
            return Err(refused(&format!("the statement id {sid} is there twice.")));
        }
        statements.push(StatementRecord { sid, json: value.to_string() });
    }
    Ok((document.id, statements))
}

/// Refuses a statement that nothing could ever match, or that says what its evaluation does not know.
fn check(statement: &iam::document::Statement, arn: &str) -> Result<(), String> {
    if statement.principal.is_some() == statement.not_principal.is_some() {
        return Err("a statement needs either Principal or NotPrincipal.".to_owned());
    }
    let actions = match (&statement.action, &statement.not_action) {
        (Some(actions), None) | (None, Some(actions)) => actions,
        (None, None) | (Some(_), Some(_)) => {
            return Err("a statement needs either Action or NotAction.".to_owned());
        }
    };
    if let Some(other) =
        actions.iter().find(|action| !action.starts_with("lambda:") && *action != "*")
    {
        return Err(format!("{other} is no action of Lambda."));
    }
    match (&statement.resource, &statement.not_resource) {
        (Some(resources), None) if resources.iter().any(|one| pattern::matches(one, arn)) => {}
        (Some(_), None) => return Err(format!("a statement has to be about the resource {arn}.")),
        (None, Some(_)) => {}
        (None, None) | (Some(_), Some(_)) => {
            return Err("a statement needs either Resource or NotResource.".to_owned());
        }
    }
    let unknown =
        statement.condition.keys().find(|operator| condition::holds(operator, &[], None).is_none());
    match unknown {
        Some(unknown) => Err(format!("{unknown} is no condition operator.")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

    fn of(statement: &str) -> Result<(Option<String>, Vec<StatementRecord>), Error> {
        read(&format!(r#"{{"Version":"2012-10-17","Id":"mine","Statement":{statement}}}"#), ARN)
    }

    #[test]
    fn statements_stay_as_they_were_written() {
        let statement = format!(
            r#"{{"Effect":"Allow","Sid":"a","Resource":"{ARN}","Principal":"*","Action":["lambda:InvokeFunction"]}}"#
        );
        let (id, statements) = of(&statement).unwrap();
        assert_eq!((id.as_deref(), statements[0].sid.as_str()), (Some("mine"), "a"));
        assert_eq!(statements[0].json, statement);
        assert!(of(&format!("[{statement},{statement}]")).is_err());
    }

    #[test]
    fn what_would_have_no_effect_is_refused() {
        let with = |members: &str| of(&format!(r#"[{{"Effect":"Allow",{members}}}]"#)).is_ok();
        let resource = format!(r#""Resource":"{ARN}""#);
        assert!(with(&format!(r#""Principal":"*","Action":"lambda:*",{resource}"#)));
        assert!(with(r#""Principal":"*","Action":"*","Resource":"*""#));
        for bad in [
            format!(r#""Action":"lambda:*",{resource}"#),
            format!(r#""Principal":"*",{resource}"#),
            r#""Principal":"*","Action":"lambda:*""#.to_owned(),
            r#""Principal":"*","Action":"lambda:*","Resource":"arn:aws:s3:::b""#.to_owned(),
            format!(r#""Principal":"*","Action":"s3:GetObject",{resource}"#),
            format!(
                r#""Principal":"*","Action":"lambda:*",{resource},"Condition":{{"Sounds":{{"a":"b"}}}}"#
            ),
            format!(
                r#""Principal":"*","Action":"lambda:*",{resource},"Condition":{{"ForNoValue:Null":{{"a":"b"}}}}"#
            ),
        ] {
            assert!(!with(&bad), "{bad}");
        }
        assert!(of("[]").is_err() && of("1").is_err());
        assert!(matches!(of(&" ".repeat(POLICY_BYTES_MAX)), Err(Error::PolicyTooLong { .. })));
    }
}
