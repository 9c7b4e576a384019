//! Event source mappings as everybody sees them: what is stored of one, and who knows event sources.
//!
//! The operations are in `control/event_source_mapping.rs`. Reading sources and calling functions for what they hold is
//! not this crate's: it is done above, by whoever takes the records from here, acts on [`Mapping::state`], and says with
//! [`settle`] that it has.

mod record;
mod source;
#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;

use gatemill_store::{Key, Reader, Write};

pub use record::{
    MAPPING_RESULTS, MAPPING_WORK, MAPPINGS, Mapping, MappingKey, MappingResult, Pollers, Settings,
    StartingPosition, State, StreamSettings, Work,
};
pub(crate) use record::{MAPPINGS_BY_FUNCTION, MAPPINGS_BY_SOURCE, by_function, by_source};
pub use source::{EventSources, Service, SourceArn, SourceFacts, SourceProblem};

use crate::{Error, FunctionTarget, record::FUNCTIONS};

impl Mapping {
    /// The function that it calls; `None` would be a fault of ours, since it was checked when it was stored.
    pub fn target(&self) -> Option<FunctionTarget> {
        FunctionTarget::from_arn(&self.function_arn)
    }

    /// The event source; `None` would be a fault of ours.
    pub fn source(&self) -> Option<SourceArn> {
        SourceArn::parse(&self.source_arn)
    }
}

/// Stores a mapping whose state asks for work, and marks it.
pub(crate) fn ask(tx: &mut Write, key: &MappingKey, mapping: &Mapping) -> Result<(), Error> {
    let place = key.record();
    MAPPINGS.put(tx, &place, mapping)?;
    Ok(MAPPING_WORK.put(tx, &place, &Work {})?)
}

/// Says that what `seen` asks for was done: its state becomes the one that it leads to, and a mapping that is being
/// deleted is gone. Nothing happens when the mapping has changed since; the mark stays then. Whether it was settled.
///
/// # Errors
/// Those of the store.
pub fn settle(
    tx: &mut Write,
    key: &MappingKey,
    seen: &Mapping,
) -> Result<bool, gatemill_store::Error> {
    let place = key.record();
    let Some(mut mapping) = MAPPINGS.get(tx, &place)? else {
        MAPPING_WORK.delete(tx, &place)?;
        return Ok(true);
    };
    if mapping.revision != seen.revision {
        return Ok(false);
    }
    MAPPING_WORK.delete(tx, &place)?;
    match mapping.state.after() {
        Some(state) => {
            mapping.state = state;
            MAPPINGS.put(tx, &place, &mapping)?;
        }
        None => {
            MAPPINGS.delete(tx, &place)?;
            MAPPING_RESULTS.delete(tx, &place)?;
            MAPPINGS_BY_SOURCE.delete(tx, &by_source(key, &mapping.source_arn))?;
            if let Some(target) = mapping.target() {
                MAPPINGS_BY_FUNCTION.delete(tx, &by_function(key, &target.name))?;
            }
        }
    }
    Ok(true)
}

/// The role of a function as it is now, which records of Kinesis name; empty where there is no such function.
///
/// # Errors
/// Those of the store.
pub fn role_of(tx: &impl Reader, target: &FunctionTarget) -> Result<String, gatemill_store::Error> {
    let function = FUNCTIONS.get(tx, &target.key().record())?;
    Ok(function.map(|function| function.configuration.role).unwrap_or_default())
}

/// At most `limit` mappings of all accounts after a place, in key order.
///
/// # Errors
/// Those of the store.
pub fn all(
    tx: &impl Reader,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<(Key, Mapping)>, gatemill_store::Error> {
    MAPPINGS.scan(tx, &Key::empty(), after, limit)
}
