//! The table: which operation of Lambda is served by which handler. Everything else of the model answers 501.

use gatemill_api::lambda as api;
use gatemill_wire::Table;

use super::{
    account, alias, code, concurrency, configuration, function, invoke, layer, layer_policy,
    permission, stream, url, version,
};
use crate::{Error, Lambda};

/// Which operation is served by which handler.
pub fn table() -> Table<Lambda, Error> {
    Table::new(&api::SERVICE)
        .on::<api::CreateFunction>(function::create)
        .on::<api::GetFunction>(function::get)
        .on::<api::GetFunctionConfiguration>(function::get_configuration)
        .on::<api::ListFunctions>(function::list)
        .on::<api::DeleteFunction>(function::delete)
        .on::<api::UpdateFunctionCode>(code::update)
        .on::<api::UpdateFunctionConfiguration>(configuration::update)
        .on::<api::PublishVersion>(version::publish)
        .on::<api::ListVersionsByFunction>(version::list)
        .on::<api::CreateAlias>(alias::create)
        .on::<api::GetAlias>(alias::get)
        .on::<api::ListAliases>(alias::list)
        .on::<api::UpdateAlias>(alias::update)
        .on::<api::DeleteAlias>(alias::delete)
        .on::<api::PutFunctionConcurrency>(concurrency::put)
        .on::<api::GetFunctionConcurrency>(concurrency::get)
        .on::<api::DeleteFunctionConcurrency>(concurrency::delete)
        .on::<api::PutProvisionedConcurrencyConfig>(concurrency::put_provisioned)
        .on::<api::GetProvisionedConcurrencyConfig>(concurrency::get_provisioned)
        .on::<api::ListProvisionedConcurrencyConfigs>(concurrency::list_provisioned)
        .on::<api::DeleteProvisionedConcurrencyConfig>(concurrency::delete_provisioned)
        .on::<api::AddPermission>(permission::add)
        .on::<api::RemovePermission>(permission::remove)
        .on::<api::GetPolicy>(permission::get)
        .on::<api::PublishLayerVersion>(layer::publish)
        .on::<api::GetLayerVersion>(layer::get)
        .on::<api::GetLayerVersionByArn>(layer::get_by_arn)
        .on::<api::ListLayers>(layer::list)
        .on::<api::ListLayerVersions>(layer::list_versions)
        .on::<api::DeleteLayerVersion>(layer::delete)
        .on::<api::AddLayerVersionPermission>(layer_policy::add)
        .on::<api::GetLayerVersionPolicy>(layer_policy::get)
        .on::<api::RemoveLayerVersionPermission>(layer_policy::remove)
        .on::<api::GetAccountSettings>(account::get_settings)
        .on::<api::Invoke>(invoke::invoke)
        .on_streamed::<api::InvokeWithResponseStream>(stream::invoke)
        .on::<api::CreateFunctionUrlConfig>(url::create)
        .on::<api::GetFunctionUrlConfig>(url::get)
        .on::<api::UpdateFunctionUrlConfig>(url::update)
        .on::<api::DeleteFunctionUrlConfig>(url::delete)
        .on::<api::ListFunctionUrlConfigs>(url::list)
}
