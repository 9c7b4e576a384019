//! The table: which operation of Lambda is served by which handler. Everything else of the model answers 501.

use gatemill_api::lambda as api;
use gatemill_wire::Table;

use super::{
    account, alias, code, code_signing, concurrency, configuration, function, invoke, layer,
    layer_policy, permission, resource_policy, runtime_management, stream, tag, url, version,
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
        .on::<api::PutResourcePolicy>(resource_policy::put)
        .on::<api::GetResourcePolicy>(resource_policy::get)
        .on::<api::DeleteResourcePolicy>(resource_policy::delete)
        .on::<api::PutRuntimeManagementConfig>(runtime_management::put)
        .on::<api::GetRuntimeManagementConfig>(runtime_management::get)
        .on::<api::TagResource>(tag::tag)
        .on::<api::UntagResource>(tag::untag)
        .on::<api::ListTags>(tag::list)
        .on::<api::CreateCodeSigningConfig>(code_signing::create)
        .on::<api::GetCodeSigningConfig>(code_signing::get)
        .on::<api::ListCodeSigningConfigs>(code_signing::list)
        .on::<api::UpdateCodeSigningConfig>(code_signing::update)
        .on::<api::DeleteCodeSigningConfig>(code_signing::delete)
        .on::<api::ListFunctionsByCodeSigningConfig>(code_signing::list_functions)
        .on::<api::PutFunctionCodeSigningConfig>(code_signing::put_function)
        .on::<api::GetFunctionCodeSigningConfig>(code_signing::get_function)
        .on::<api::DeleteFunctionCodeSigningConfig>(code_signing::delete_function)
        .on::<api::GetAccountSettings>(account::get_settings)
        .on::<api::Invoke>(invoke::invoke)
        .on_streamed::<api::InvokeWithResponseStream>(stream::invoke)
        .on::<api::CreateFunctionUrlConfig>(url::create)
        .on::<api::GetFunctionUrlConfig>(url::get)
        .on::<api::UpdateFunctionUrlConfig>(url::update)
        .on::<api::DeleteFunctionUrlConfig>(url::delete)
        .on::<api::ListFunctionUrlConfigs>(url::list)
}
