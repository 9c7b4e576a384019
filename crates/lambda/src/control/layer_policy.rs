//! Policies of layer versions: `AddLayerVersionPermission`, `GetLayerVersionPolicy`, `RemoveLayerVersionPermission`.
//!
//! They say which other accounts may read a version, and by that use it in their functions. Statements are kept as those
//! of functions are: as the text that clients read.

use gatemill_api::lambda as api;
use gatemill_wire::{Cx, Operation as _};
use serde_json::json;

use super::{layer, permission};
use crate::{
    Error, Lambda,
    layer_record::{LAYER_POLICIES, LayerKey},
    limits::POLICY_BYTES_MAX,
    record::{PolicyRecord, StatementRecord},
};

/// What a reader is told of a version that is not there.
pub(crate) fn missing(arn: &str) -> String {
    format!("Layer version {arn} does not exist.")
}

/// `AddLayerVersionPermission`.
pub(crate) async fn add(
    lambda: &Lambda,
    cx: &Cx,
    request: api::AddLayerVersionPermissionRequest,
) -> Result<api::AddLayerVersionPermissionResponse, Error> {
    let action = api::AddLayerVersionPermission::INFO.action;
    let place = (request.layer_name.as_str(), request.version_number);
    let (key, number) = version(cx, action, place)?;
    let statement = StatementRecord {
        sid: request.statement_id.clone(),
        json: statement(&request, &key.version_arn(number))?,
    };
    let answer = statement.json.clone();
    let (given, revision) = (request.revision_id, cx.uuid().to_string());
    let policy = PolicyRecord { revision_id: revision.clone(), id: None, statements: Vec::new() };
    lambda
        .store
        .write(move |tx| {
            layer::check_exists(tx, &key, number)?;
            let old = LAYER_POLICIES.get(tx, &key.version(number))?;
            check_revision(old.as_ref(), given.as_deref())?;
            let mut policy = policy.clone();
            policy.statements = old.map(|old| old.statements).unwrap_or_default();
            if policy.statements.iter().any(|known| known.sid == statement.sid) {
                return Err(Error::Conflict(format!(
                    "The statement id ({}) provided already exists. Please provide a new statement id, or remove the \
                     existing statement.",
                    statement.sid
                )));
            }
            policy.statements.push(statement.clone());
            let bytes = permission::text(&policy).len();
            if bytes > POLICY_BYTES_MAX {
                return Err(Error::PolicyTooLong { bytes, max: POLICY_BYTES_MAX });
            }
            Ok(LAYER_POLICIES.put(tx, &key.version(number), &policy)?)
        })
        .await?;
    Ok(api::AddLayerVersionPermissionResponse {
        statement: Some(answer),
        revision_id: Some(revision),
    })
}

/// `GetLayerVersionPolicy`.
pub(crate) async fn get(
    lambda: &Lambda,
    cx: &Cx,
    request: api::GetLayerVersionPolicyRequest,
) -> Result<api::GetLayerVersionPolicyResponse, Error> {
    let action = api::GetLayerVersionPolicy::INFO.action;
    let place = (request.layer_name.as_str(), request.version_number);
    let (key, number) = version(cx, action, place)?;
    let policy = lambda.store.read(|tx| {
        layer::check_exists(tx, &key, number)?;
        Ok::<_, Error>(LAYER_POLICIES.get(tx, &key.version(number))?)
    })?;
    let policy = policy.ok_or_else(no_policy)?;
    Ok(api::GetLayerVersionPolicyResponse {
        policy: Some(permission::text(&policy)),
        revision_id: Some(policy.revision_id),
    })
}

/// `RemoveLayerVersionPermission`.
pub(crate) async fn remove(
    lambda: &Lambda,
    cx: &Cx,
    request: api::RemoveLayerVersionPermissionRequest,
) -> Result<(), Error> {
    let action = api::RemoveLayerVersionPermission::INFO.action;
    let place = (request.layer_name.as_str(), request.version_number);
    let (key, number) = version(cx, action, place)?;
    let revision = cx.uuid().to_string();
    lambda
        .store
        .write(move |tx| {
            layer::check_exists(tx, &key, number)?;
            let place = key.version(number);
            let mut policy = LAYER_POLICIES.get(tx, &place)?.ok_or_else(no_policy)?;
            permission::take_out(&mut policy, &request.statement_id)?;
            check_revision(Some(&policy), request.revision_id.as_deref())?;
            if policy.statements.is_empty() {
                LAYER_POLICIES.delete(tx, &place)?;
                return Ok(());
            }
            policy.revision_id.clone_from(&revision);
            Ok(LAYER_POLICIES.put(tx, &place, &policy)?)
        })
        .await
}

fn no_policy() -> Error {
    Error::NotFound("No policy is associated with the given resource.".to_owned())
}

/// The version of the caller's own account that a request names.
fn version(cx: &Cx, action: &str, (name, number): (&str, i64)) -> Result<(LayerKey, u64), Error> {
    let key = layer::named(cx, action, name)?;
    let number = layer::numbered(number)?;
    layer::own(cx, action, &key, &key.version_arn(number))?;
    Ok((key, number))
}

fn check_revision(policy: Option<&PolicyRecord>, given: Option<&str>) -> Result<(), Error> {
    match given {
        Some(given) if policy.is_none_or(|policy| policy.revision_id != given) => {
            Err(Error::Revision { operation: "GetLayerPolicy" })
        }
        Some(_) | None => Ok(()),
    }
}

/// One statement, its keys in AWS's order.
fn statement(
    request: &api::AddLayerVersionPermissionRequest,
    resource: &str,
) -> Result<String, Error> {
    let mut statement = json!({
        "Sid": request.statement_id,
        "Effect": "Allow",
        "Principal": permission::principal(&request.principal)?,
        "Action": request.action,
        "Resource": resource,
    });
    if let Some(organization) = &request.organization_id {
        if request.principal != "*" {
            return Err(Error::InvalidParameter(
                "An OrganizationId can only be given when the Principal is *.".to_owned(),
            ));
        }
        statement["Condition"] = json!({ "StringEquals": { "aws:PrincipalOrgID": organization } });
    }
    Ok(statement.to_string())
}
