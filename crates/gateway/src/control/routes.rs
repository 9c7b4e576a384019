//! The route table of `apigatewayv2`: which operation is served by which handler. What is not here answers 501.

use gatemill_api::apigatewayv2 as aws;
use gatemill_wire::Table;

use crate::{
    Error, Gateway,
    control::{
        api, cors, deployment, integration, route, stage, tag,
        websocket::{integration_response, model, route_response},
    },
};

/// Which operation is served by which handler.
pub fn table() -> Table<Gateway, Error> {
    Table::new(&aws::SERVICE)
        .on::<aws::CreateApi>(api::create)
        .on::<aws::GetApi>(api::get)
        .on::<aws::GetApis>(api::list)
        .on::<aws::UpdateApi>(api::update)
        .on::<aws::DeleteApi>(api::delete)
        .on::<aws::DeleteCorsConfiguration>(cors::delete)
        .on::<aws::CreateRoute>(route::create)
        .on::<aws::GetRoute>(route::get)
        .on::<aws::GetRoutes>(route::list)
        .on::<aws::UpdateRoute>(route::update)
        .on::<aws::DeleteRoute>(route::delete)
        .on::<aws::CreateIntegration>(integration::create)
        .on::<aws::GetIntegration>(integration::get)
        .on::<aws::GetIntegrations>(integration::list)
        .on::<aws::UpdateIntegration>(integration::update)
        .on::<aws::DeleteIntegration>(integration::delete)
        .on::<aws::CreateRouteResponse>(route_response::create)
        .on::<aws::GetRouteResponse>(route_response::get)
        .on::<aws::GetRouteResponses>(route_response::list)
        .on::<aws::UpdateRouteResponse>(route_response::update)
        .on::<aws::DeleteRouteResponse>(route_response::delete)
        .on::<aws::CreateIntegrationResponse>(integration_response::create)
        .on::<aws::GetIntegrationResponse>(integration_response::get)
        .on::<aws::GetIntegrationResponses>(integration_response::list)
        .on::<aws::UpdateIntegrationResponse>(integration_response::update)
        .on::<aws::DeleteIntegrationResponse>(integration_response::delete)
        .on::<aws::CreateModel>(model::create)
        .on::<aws::GetModel>(model::get)
        .on::<aws::GetModels>(model::list)
        .on::<aws::GetModelTemplate>(model::template)
        .on::<aws::UpdateModel>(model::update)
        .on::<aws::DeleteModel>(model::delete)
        .on::<aws::CreateStage>(stage::create)
        .on::<aws::GetStage>(stage::get)
        .on::<aws::GetStages>(stage::list)
        .on::<aws::UpdateStage>(stage::update)
        .on::<aws::DeleteStage>(stage::delete)
        .on::<aws::DeleteRouteSettings>(stage::delete_route_settings)
        .on::<aws::CreateDeployment>(deployment::create)
        .on::<aws::GetDeployment>(deployment::get)
        .on::<aws::GetDeployments>(deployment::list)
        .on::<aws::UpdateDeployment>(deployment::update)
        .on::<aws::DeleteDeployment>(deployment::delete)
        .on::<aws::TagResource>(tag::tag)
        .on::<aws::UntagResource>(tag::untag)
        .on::<aws::GetTags>(tag::get)
}
