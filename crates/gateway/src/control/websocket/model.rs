//! The family of models: JSON schemas under names.
//!
//! A model can be read, a mapping template be made of it, and messages be checked by it where their route asks for that.

use std::collections::BTreeSet;

use gatemill_api::apigatewayv2::{
    CreateModelRequest, CreateModelResponse, DeleteModelRequest, GetModelRequest, GetModelResponse,
    GetModelTemplateRequest, GetModelTemplateResponse, GetModelsRequest, GetModelsResponse, Model,
    UpdateModelRequest, UpdateModelResponse,
};
use gatemill_store::Reader;
use gatemill_wire::Cx;
use serde_json::Value;

use crate::{
    Gateway,
    control::{
        edition::{Edition, Kind},
        length,
        page::page,
    },
    error::{Error, Result},
    limits::{MODEL_BYTES_MAX, MODELS_PER_API_MAX},
    record::{ApiKey, ApiRecord, IdRecord, MODEL_NAMES, MODELS, ModelRecord, ROUTES, Version},
    schema::{Models, Schema},
    websocket::sample,
};

/// The members of a model in an answer; the answers of four operations have the same.
macro_rules! members {
    ($answer:ident, $record:expr) => {{
        let record: &ModelRecord = $record;
        $answer {
            content_type: Some(record.content_type.clone()),
            description: record.description.clone(),
            model_id: Some(record.id.clone()),
            name: record.name.clone().into(),
            schema: Some(record.schema.clone()),
        }
    }};
}

const JSON: &str = "application/json";

/// `CreateModel`.
pub(crate) async fn create(
    gateway: &Gateway,
    cx: &Cx,
    req: CreateModelRequest,
) -> Result<CreateModelResponse> {
    gateway.need_websocket(cx, &req.api_id, "Model")?;
    let content_type = req.content_type.filter(|text| !text.is_empty());
    let model = ModelRecord {
        id: cx.id(6),
        name: req.name,
        content_type: content_type.unwrap_or_else(|| JSON.to_owned()),
        description: req.description.filter(|text| !text.is_empty()),
        schema: req.schema,
    };
    let answer = members!(CreateModelResponse, &model);
    gateway
        .edit(cx, &req.api_id, move |edition| {
            check(&model, &edition.api)?;
            let all = MODELS.scan(edition.tx, &edition.at.key(), None, MODELS_PER_API_MAX)?;
            if all.len() >= MODELS_PER_API_MAX {
                return Err(Error::TooMany("Models"));
            }
            take_name(edition, &model)?;
            store(edition, &model)
        })
        .await?;
    Ok(answer)
}

/// `GetModel`.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: &Cx,
    req: GetModelRequest,
) -> Result<GetModelResponse> {
    let model = gateway.read(cx, &req.api_id, |tx, at, _| find(tx, at, &req.model_id))?;
    Ok(members!(GetModelResponse, &model))
}

/// `GetModels`.
pub(crate) async fn list(
    gateway: &Gateway,
    cx: &Cx,
    req: GetModelsRequest,
) -> Result<GetModelsResponse> {
    let (models, next_token) = gateway.read(cx, &req.api_id, |tx, at, _| {
        page(&MODELS, tx, &at.key(), req.max_results.as_deref(), req.next_token.as_deref())
    })?;
    let items = models.iter().map(|model| members!(Model, model)).collect();
    Ok(GetModelsResponse { items: Some(items), next_token })
}

/// `GetModelTemplate`: a mapping template that makes what the schema describes.
pub(crate) async fn template(
    gateway: &Gateway,
    cx: &Cx,
    req: GetModelTemplateRequest,
) -> Result<GetModelTemplateResponse> {
    let model = gateway.read(cx, &req.api_id, |tx, at, _| find(tx, at, &req.model_id))?;
    let schema: Value = serde_json::from_str(&model.schema).unwrap_or_default();
    Ok(GetModelTemplateResponse { value: Some(sample::template(&schema)) })
}

/// `UpdateModel`.
pub(crate) async fn update(
    gateway: &Gateway,
    cx: &Cx,
    req: UpdateModelRequest,
) -> Result<UpdateModelResponse> {
    let model = gateway
        .edit(cx, &req.api_id.clone(), move |edition| {
            let before = find(edition.tx, edition.at, &req.model_id)?;
            let mut model = before.clone();
            if let Some(name) = &req.name {
                model.name.clone_from(name);
            }
            if let Some(schema) = &req.schema {
                model.schema.clone_from(schema);
            }
            if let Some(kind) = req.content_type.as_ref().filter(|text| !text.is_empty()) {
                model.content_type.clone_from(kind);
            }
            if let Some(text) = &req.description {
                model.description = Some(text.clone()).filter(|text| !text.is_empty());
            }
            check(&model, &edition.api)?;
            if model.name != before.name {
                take_name(edition, &model)?;
                MODEL_NAMES.delete(edition.tx, &edition.at.of(&before.name))?;
            }
            if model != before {
                store(edition, &model)?;
            }
            Ok(model)
        })
        .await?;
    Ok(members!(UpdateModelResponse, &model))
}

/// `DeleteModel`.
pub(crate) async fn delete(gateway: &Gateway, cx: &Cx, req: DeleteModelRequest) -> Result<()> {
    gateway
        .edit(cx, &req.api_id.clone(), move |edition| {
            let model = find(edition.tx, edition.at, &req.model_id)?;
            MODEL_NAMES.delete(edition.tx, &edition.at.of(&model.name))?;
            MODELS.delete(edition.tx, &edition.at.of(&model.id))?;
            edition.note(Kind::Model, &model.id, &Version::Removed)
        })
        .await
}

fn take_name(edition: &mut Edition<'_>, model: &ModelRecord) -> Result<()> {
    let key = edition.at.of(&model.name);
    if MODEL_NAMES.contains(edition.tx, &key)? {
        return Err(Error::ModelExists);
    }
    Ok(MODEL_NAMES.put(edition.tx, &key, &IdRecord { id: model.id.clone() })?)
}

fn store(edition: &mut Edition<'_>, model: &ModelRecord) -> Result<()> {
    MODELS.put(edition.tx, &edition.at.of(&model.id), model)?;
    edition.note(Kind::Model, &model.id, &Version::Model(model.clone()))
}

fn find(from: &impl Reader, at: &ApiKey, id: &str) -> Result<ModelRecord> {
    MODELS.get(from, &at.of(id))?.ok_or_else(|| Error::NoSuchModel(id.to_owned()))
}

/// Checks what a deployment will show: that the models that routes name are schemas, with all that they refer to.
pub(crate) fn check_deployed(edition: &Edition<'_>) -> Result<()> {
    if !validates(&edition.api) {
        return Ok(());
    }
    let prefix = edition.at.key();
    let models = MODELS.scan(edition.tx, &prefix, None, MODELS_PER_API_MAX)?;
    let texts: Models<'_> =
        models.iter().map(|(_, model)| (model.name.as_str(), model.schema.as_str())).collect();
    let routes = ROUTES.scan(edition.tx, &prefix, None, usize::MAX)?;
    let named: BTreeSet<&String> = routes
        .iter()
        .filter_map(|(_, route)| route.websocket.as_ref())
        .flat_map(|own| own.request_models.values())
        .collect();
    for name in named {
        let schema = texts.get(name.as_str()).ok_or_else(|| Error::NoSuchModel(name.clone()))?;
        Schema::compile(schema, &texts).map_err(|why| {
            Error::invalid(format!("Invalid model schema specified for model {name}: {why}"))
        })?;
    }
    Ok(())
}

fn validates(api: &ApiRecord) -> bool {
    api.settings.websocket.as_ref().is_some_and(|own| !own.disable_schema_validation)
}

fn check(model: &ModelRecord, api: &ApiRecord) -> Result<()> {
    length("name", &model.name, 1, 128)?;
    length("contentType", &model.content_type, 1, 256)?;
    length("description", model.description.as_deref().unwrap_or_default(), 0, 1024)?;
    if !model.name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Error::invalid("Model name must be alphanumeric"));
    }
    if model.schema.len() > MODEL_BYTES_MAX {
        return Err(Error::invalid("Model schema is limited to 32 KB"));
    }
    // What refers to other models can only be compiled with them.
    let alone = model.content_type != JSON || model.schema.contains("$ref") || !validates(api);
    match serde_json::from_str::<Value>(&model.schema) {
        Ok(Value::Object(_)) if alone => Ok(()),
        Ok(Value::Object(_)) => match Schema::compile(&model.schema, &Models::new()) {
            Ok(_) => Ok(()),
            Err(why) => Err(Error::invalid(format!("Invalid model schema specified: {why}"))),
        },
        Ok(_) | Err(_) => Err(Error::invalid("Invalid model schema specified")),
    }
}
