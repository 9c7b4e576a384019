//! The family of API mappings: which path of a domain leads to which stage of which API.

use gatemill_api::apigatewayv2::{
    ApiMapping, CreateApiMappingRequest, CreateApiMappingResponse, DeleteApiMappingRequest,
    GetApiMappingRequest, GetApiMappingResponse, GetApiMappingsRequest, GetApiMappingsResponse,
    UpdateApiMappingRequest, UpdateApiMappingResponse,
};
use gatemill_store::Table;
use gatemill_wire::Cx;

use crate::{
    Gateway,
    control::{
        domain::{self, DomainPlace},
        lead::{self, Lead, Stored},
        length,
        page::page,
    },
    error::{Error, Result},
    limits::{MAPPING_KEY_MAX, MAPPINGS_PER_DOMAIN_MAX},
    record::{API_MAPPINGS, ApiMappingRecord},
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
    lead::store(gateway, cx, req.domain_name, mapping, Stored::New).await?;
    Ok(answer)
}

/// `GetApiMapping`.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: &Cx,
    req: GetApiMappingRequest,
) -> Result<GetApiMappingResponse> {
    let place = DomainPlace::new(cx);
    let mapping: ApiMappingRecord =
        gateway.store.read(|tx| lead::find(tx, &place, &req.domain_name, &req.api_mapping_id))?;
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
    let before: ApiMappingRecord =
        gateway.store.read(|tx| lead::find(tx, &place, &req.domain_name, &req.api_mapping_id))?;
    let mapping = ApiMappingRecord {
        key: req.api_mapping_key.unwrap_or(before.key),
        api: req.api_id,
        stage: req.stage.unwrap_or(before.stage),
        id: before.id,
    };
    check_key(&mapping.key)?;
    let answer = members!(UpdateApiMappingResponse, &mapping);
    lead::store(gateway, cx, req.domain_name, mapping, Stored::Anew).await?;
    Ok(answer)
}

/// `DeleteApiMapping`.
pub(crate) async fn delete(gateway: &Gateway, cx: &Cx, req: DeleteApiMappingRequest) -> Result<()> {
    lead::remove::<ApiMappingRecord>(gateway, cx, req.domain_name, req.api_mapping_id).await
}

impl Lead for ApiMappingRecord {
    const TABLE: Table<Self> = API_MAPPINGS;
    const LIMIT: (usize, &'static str) = (MAPPINGS_PER_DOMAIN_MAX, "API Mappings");

    fn id(&self) -> &str {
        &self.id
    }

    fn api(&self) -> &str {
        &self.api
    }

    fn stage(&self) -> &str {
        &self.stage
    }

    fn none() -> Error {
        Error::NoSuchMapping
    }

    fn clash(&self, other: &Self) -> Option<Error> {
        (self.key == other.key).then_some(Error::MappingExists)
    }

    /// As in AWS, a domain is for WebSocket APIs or for others.
    fn check_kind(is_websocket: bool, others: &mut dyn Iterator<Item = bool>) -> Result<()> {
        for other in others {
            if other != is_websocket {
                return Err(Error::invalid(
                    "WebSocket APIs cannot be mapped to a domain name that HTTP or REST APIs are mapped to.",
                ));
            }
        }
        Ok(())
    }
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
