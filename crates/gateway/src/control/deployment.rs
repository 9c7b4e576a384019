//! The family of deployments.

use gatemill_api::apigatewayv2::{
    CreateDeploymentRequest, CreateDeploymentResponse, DeleteDeploymentRequest, Deployment,
    GetDeploymentRequest, GetDeploymentResponse, GetDeploymentsRequest, GetDeploymentsResponse,
    UpdateDeploymentRequest, UpdateDeploymentResponse,
};
use gatemill_store::Reader;
use gatemill_wire::{Cx, Iso8601};

use crate::{
    Gateway,
    control::{length, page::page, stage, websocket},
    error::{Error, Result},
    record::{ApiKey, DEPLOYMENTS, DeploymentRecord},
};

/// The members of a deployment in an answer; the answers of four operations have the same.
macro_rules! members {
    ($answer:ident, $record:expr) => {{
        let record: &DeploymentRecord = $record;
        $answer {
            auto_deployed: Some(record.automatic),
            created_date: Some(Iso8601(record.created)),
            deployment_id: Some(record.id.clone()),
            deployment_status: Some("DEPLOYED".to_owned()),
            deployment_status_message: None,
            description: record.description.clone(),
        }
    }};
}

/// `CreateDeployment`, and where a stage is named, its move to it.
pub(crate) async fn create(
    gateway: &Gateway,
    cx: &Cx,
    req: CreateDeploymentRequest,
) -> Result<CreateDeploymentResponse> {
    length("description", req.description.as_deref().unwrap_or_default(), 0, 1024)?;
    let description = req.description.filter(|text| !text.is_empty());
    let deployment = gateway
        .edit(cx, &req.api_id, move |edition| {
            if edition.api.routes == 0 {
                return Err(Error::invalid(
                    "At least one route is required before deploying the Api.",
                ));
            }
            websocket::model::check_deployed(edition)?;
            let deployment = edition.deploy(description.clone(), false)?;
            if let Some(name) = req.stage_name.as_deref().filter(|name| !name.is_empty()) {
                let mut stage = stage::find(edition.tx, edition.at, name)?;
                if stage.auto_deploy {
                    return Err(Error::invalid(
                        "Deployment ID cannot be set on a stage with auto-deploy enabled",
                    ));
                }
                edition.point(&mut stage, &deployment)?;
            }
            Ok(deployment)
        })
        .await?;
    Ok(members!(CreateDeploymentResponse, &deployment))
}

/// `GetDeployment`.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: &Cx,
    req: GetDeploymentRequest,
) -> Result<GetDeploymentResponse> {
    let deployment = gateway.read(cx, &req.api_id, |tx, at, _| find(tx, at, &req.deployment_id))?;
    Ok(members!(GetDeploymentResponse, &deployment))
}

/// `GetDeployments`.
pub(crate) async fn list(
    gateway: &Gateway,
    cx: &Cx,
    req: GetDeploymentsRequest,
) -> Result<GetDeploymentsResponse> {
    let (deployments, next_token) = gateway.read(cx, &req.api_id, |tx, at, _| {
        page(&DEPLOYMENTS, tx, &at.key(), req.max_results.as_deref(), req.next_token.as_deref())
    })?;
    let items = deployments.iter().map(|record| members!(Deployment, record)).collect();
    Ok(GetDeploymentsResponse { items: Some(items), next_token })
}

/// `UpdateDeployment`: the description alone.
pub(crate) async fn update(
    gateway: &Gateway,
    cx: &Cx,
    req: UpdateDeploymentRequest,
) -> Result<UpdateDeploymentResponse> {
    length("description", req.description.as_deref().unwrap_or_default(), 0, 1024)?;
    let deployment = gateway
        .edit(cx, &req.api_id.clone(), move |edition| {
            let mut deployment = find(edition.tx, edition.at, &req.deployment_id)?;
            if let Some(text) = &req.description {
                deployment.description = Some(text.clone()).filter(|text| !text.is_empty());
            }
            DEPLOYMENTS.put(edition.tx, &edition.at.of(&deployment.id), &deployment)?;
            Ok(deployment)
        })
        .await?;
    Ok(members!(UpdateDeploymentResponse, &deployment))
}

/// `DeleteDeployment`; refused while a stage points at it.
pub(crate) async fn delete(gateway: &Gateway, cx: &Cx, req: DeleteDeploymentRequest) -> Result<()> {
    gateway
        .edit(cx, &req.api_id.clone(), move |edition| {
            let deployment = find(edition.tx, edition.at, &req.deployment_id)?;
            let id = Some(deployment.id.as_str());
            if edition.stages()?.iter().any(|stage| stage.deployment.as_deref() == id) {
                return Err(Error::DeploymentInUse);
            }
            edition.remove_deployment(&deployment)
        })
        .await
}

fn find(from: &impl Reader, at: &ApiKey, id: &str) -> Result<DeploymentRecord> {
    DEPLOYMENTS.get(from, &at.of(id))?.ok_or_else(|| Error::NoSuchDeployment(id.to_owned()))
}
