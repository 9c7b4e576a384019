//! The family of API mappings: which path of a domain leads to which stage of which API.

use gatemill_api::apigatewayv2::{
    ApiMapping, CreateApiMappingRequest, CreateApiMappingResponse, DeleteApiMappingRequest,
    GetApiMappingRequest, GetApiMappingResponse, GetApiMappingsRequest, GetApiMappingsResponse,
    UpdateApiMappingRequest, UpdateApiMappingResponse,
};
use gatemill_store::Reader;
use gatemill_wire::Cx;

use crate::{
    Gateway,
    control::{
        domain::{self, DomainPlace},
        edition, gaps, length,
        page::page,
        stage,
    },
    error::{Error, Result},
    limits::{MAPPING_KEY_MAX, MAPPINGS_PER_DOMAIN_MAX},
    record::{API_MAPPINGS, ApiKey, ApiMappingRecord},
};

/// The members of a mapping in an answer; the answers of four operations have the same.
macro_rules! members {
    ($answer:ident, $record:expr) => {{
        let record: &ApiMappingRecord = $record;
        $answer {
            api_id: record.api.clone().into(),
            api_mapping_id: Some(record.id.clone()),
            api_mapping_key: Some(record.key.clone()),
            stage: record.stage.clone().into(),
        }
    }};
}

/// `CreateApiMapping`.
pub(crate) async fn create(
    gateway: &Gateway,
    cx: &Cx,
    req: CreateApiMappingRequest,
) -> Result<CreateApiMappingResponse> {
    let mapping = ApiMappingRecord {
        id: cx.id(6),
        key: req.api_mapping_key.unwrap_or_default(),
        api: req.api_id,
        stage: req.stage,
    };
    check_key(&mapping.key)?;
    let answer = members!(CreateApiMappingResponse, &mapping);
    store(gateway, cx, req.domain_name, mapping).await?;
    Ok(answer)
}

/// `GetApiMapping`.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: &Cx,
    req: GetApiMappingRequest,
) -> Result<GetApiMappingResponse> {
    let place = DomainPlace::new(cx);
    let mapping =
        gateway.store.read(|tx| find(tx, &place, &req.domain_name, &req.api_mapping_id))?;
    Ok(members!(GetApiMappingResponse, &mapping))
}

/// `GetApiMappings`.
pub(crate) async fn list(
    gateway: &Gateway,
    cx: &Cx,
    req: GetApiMappingsRequest,
) -> Result<GetApiMappingsResponse> {
    let place = DomainPlace::new(cx);
    let (mappings, next_token) = gateway.store.read(|tx| {
        let domain = domain::find(tx, &place, &req.domain_name)?;
        let below = place.of(&domain.name);
        page(&API_MAPPINGS, tx, &below, req.max_results.as_deref(), req.next_token.as_deref())
    })?;
    let items = mappings.iter().map(|mapping| members!(ApiMapping, mapping)).collect();
    Ok(GetApiMappingsResponse { items: Some(items), next_token })
}

/// `UpdateApiMapping`.
pub(crate) async fn update(
    gateway: &Gateway,
    cx: &Cx,
    req: UpdateApiMappingRequest,
) -> Result<UpdateApiMappingResponse> {
    let place = DomainPlace::new(cx);
    let before =
        gateway.store.read(|tx| find(tx, &place, &req.domain_name, &req.api_mapping_id))?;
    let mapping = ApiMappingRecord {
        key: req.api_mapping_key.unwrap_or(before.key),
        api: req.api_id,
        stage: req.stage.unwrap_or(before.stage),
        id: before.id,
    };
    check_key(&mapping.key)?;
    let answer = members!(UpdateApiMappingResponse, &mapping);
    store(gateway, cx, req.domain_name, mapping).await?;
    Ok(answer)
}

/// `DeleteApiMapping`.
pub(crate) async fn delete(gateway: &Gateway, cx: &Cx, req: DeleteApiMappingRequest) -> Result<()> {
    let place = DomainPlace::new(cx);
    gateway
        .change_domains(move |tx| {
            let mapping = find(tx, &place, &req.domain_name, &req.api_mapping_id)?;
            let name = req.domain_name.to_ascii_lowercase();
            API_MAPPINGS.delete(tx, &place.of(&name).and(&mapping.id))?;
            Ok(())
        })
        .await
}

/// Stores a mapping: its API and stage have to be there and its key to be no other's.
async fn store(
    gateway: &Gateway,
    cx: &Cx,
    domain_name: String,
    mapping: ApiMappingRecord,
) -> Result<()> {
    let place = DomainPlace::new(cx);
    let api = ApiKey::new(cx, &mapping.api);
    gateway
        .change_domains(move |tx| {
            let domain = domain::find(tx, &place, &domain_name)?;
            if edition::api(tx, &api)?.settings.websocket.is_some() {
                return Err(Error::NotBuilt(&gaps::MAPPING_OF_WEBSOCKET));
            }
            stage::find(tx, &api, &mapping.stage)?;
            let below = place.of(&domain.name);
            let others = API_MAPPINGS.scan(tx, &below, None, MAPPINGS_PER_DOMAIN_MAX)?;
            let is_new = !others.iter().any(|(_, other)| other.id == mapping.id);
            if is_new && others.len() >= MAPPINGS_PER_DOMAIN_MAX {
                return Err(Error::TooMany("API Mappings"));
            }
            if others.iter().any(|(_, other)| other.id != mapping.id && other.key == mapping.key) {
                return Err(Error::MappingExists);
            }
            Ok(API_MAPPINGS.put(tx, &below.and(&mapping.id), &mapping)?)
        })
        .await
}

fn find(
    from: &impl Reader,
    place: &DomainPlace,
    domain: &str,
    id: &str,
) -> Result<ApiMappingRecord> {
    let domain = domain::find(from, place, domain)?;
    let mapping = API_MAPPINGS.get(from, &place.of(&domain.name).and(id))?;
    mapping.ok_or(Error::NoSuchMapping)
}

fn check_key(key: &str) -> Result<()> {
    length("apiMappingKey", key, 0, MAPPING_KEY_MAX)?;
    if key.starts_with('/') || key.contains("//") {
        return Err(Error::invalid(
            "API mapping key should not start with a '/' or have consecutive '/'s.",
        ));
    }
    if key.ends_with('/') {
        return Err(Error::invalid("API mapping key should not end with a '/'."));
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"$-_.+!*'()/".contains(&byte);
    if !key.bytes().all(legal) {
        return Err(Error::invalid(
            "API mapping key only allows alphanumeric characters and $-_.+!*'()/",
        ));
    }
    Ok(())
}
