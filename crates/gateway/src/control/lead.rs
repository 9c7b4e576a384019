//! What leads from a domain to the stage of an API: mappings and rules, each stored below its domain and found by its id.

use gatemill_store::{Key, Reader, Record, Table};
use gatemill_wire::Cx;

use crate::{
    Gateway,
    control::{
        domain::{self, DomainPlace},
        edition, stage,
    },
    error::{Error, Result},
    record::{API_MAPPINGS, APIS, ApiKey, ApiMappingRecord},
};

/// Something that leads from a domain to the stage of an API.
pub(super) trait Lead: Record {
    /// Where it is kept.
    const TABLE: Table<Self>;
    /// How many of them a domain has, and what too many are called.
    const LIMIT: (usize, &'static str);

    fn id(&self) -> &str;
    fn api(&self) -> &str;
    fn stage(&self) -> &str;
    /// That there is none of an id.
    fn none() -> Error;
    /// Why both cannot be there, if they cannot.
    fn clash(&self, other: &Self) -> Option<Error>;
    /// Refuses APIs of a kind that it cannot lead to, or not beside the others.
    fn check_kind(is_websocket: bool, others: &mut dyn Iterator<Item = bool>) -> Result<()>;
}

/// Whether it has to be there when it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    New,
    Anew,
}

/// Stores a lead: its API and stage have to be there, and nothing that it clashes with.
pub(super) async fn store<L: Lead>(
    gateway: &Gateway,
    cx: &Cx,
    domain_name: String,
    lead: L,
    how: Stored,
) -> Result<()> {
    let place = DomainPlace::new(cx);
    let api = ApiKey::new(cx, lead.api());
    let (account, region) = (api.account.clone(), api.region.clone());
    gateway
        .change_domains(move |tx| {
            let domain = domain::find(tx, &place, &domain_name)?;
            let target = edition::api(tx, &api).map_err(as_named)?;
            let is_websocket = target.settings.websocket.is_some();
            stage::find(tx, &api, lead.stage()).map_err(as_named)?;
            let below = place.of(&domain.name);
            let (max, what) = L::LIMIT;
            let mut others = L::TABLE.scan(tx, &below, None, max)?;
            let count = others.len();
            others.retain(|(_, other)| other.id() != lead.id());
            match how {
                Stored::Anew if others.len() == count => return Err(L::none()),
                Stored::New if count >= max => return Err(Error::TooMany(what)),
                Stored::Anew | Stored::New => {}
            }
            let mut kinds = Vec::new();
            for (_, other) in &others {
                let (account, region) = (account.clone(), region.clone());
                let other = ApiKey { account, region, id: other.api().to_owned() };
                // One whose API is gone leads nowhere, and is in nobody's way.
                let other = APIS.get(tx, &other.key())?;
                kinds.extend(other.map(|api| api.settings.websocket.is_some()));
            }
            L::check_kind(is_websocket, &mut kinds.into_iter())?;
            if let Some(clash) = others.iter().find_map(|(_, other)| lead.clash(other)) {
                return Err(clash);
            }
            Ok(L::TABLE.put(tx, &below.and(lead.id()), &lead)?)
        })
        .await
}

/// An API or a stage that a lead names is no resource of the request, so that AWS says 400 where it is not there.
fn as_named(error: Error) -> Error {
    match error {
        Error::NoSuchApi { .. } | Error::NoSuchStage => Error::invalid(error.to_string()),
        other => other,
    }
}

/// Whether a mapping leads to an API, or to this stage of it.
pub(super) fn is_mapped(from: &impl Reader, at: &ApiKey, stage: Option<&str>) -> Result<bool> {
    let place = Key::new([&at.account, &at.region]);
    let mappings = API_MAPPINGS.scan(from, &place, None, usize::MAX)?;
    let leads = |mapping: &ApiMappingRecord| {
        mapping.api == at.id && stage.is_none_or(|stage| stage == mapping.stage)
    };
    Ok(mappings.iter().any(|(_, mapping)| leads(mapping)))
}

/// The lead of an id, which has to be there.
pub(super) fn find<L: Lead>(
    from: &impl Reader,
    place: &DomainPlace,
    domain: &str,
    id: &str,
) -> Result<L> {
    let domain = domain::find(from, place, domain)?;
    L::TABLE.get(from, &place.of(&domain.name).and(id))?.ok_or_else(L::none)
}

/// Removes the lead of an id.
pub(super) async fn remove<L: Lead>(
    gateway: &Gateway,
    cx: &Cx,
    domain_name: String,
    id: String,
) -> Result<()> {
    let place = DomainPlace::new(cx);
    gateway
        .change_domains(move |tx| {
            let lead: L = find(tx, &place, &domain_name, &id)?;
            let name = domain_name.to_ascii_lowercase();
            L::TABLE.delete(tx, &place.of(&name).and(lead.id()))?;
            Ok(())
        })
        .await
}
