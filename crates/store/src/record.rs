//! Records: what a table holds, and how it outlives the code that wrote it.
//!
//! A record is one version byte and JSON: readable with any tool, and the byte leaves room for what is
//! not JSON one day. The chain of versions is told at [`Record`].

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::limits::RECORD_BYTES_MAX;

/// A record is its own type, never the wire's and never runtime state. It is stored as one version
/// byte and JSON. When its shape changes, the old shape stays in the code as a type of its own, with
/// the version that it had, and the new one's [`Record::upgrade`] turns it into itself:
///
/// ```
/// use gatemill_store::{Error, Record, decode_as};
/// use serde::{Deserialize, Serialize};
///
/// mod v1 {
///     #[derive(serde::Serialize, serde::Deserialize)]
///     pub struct Alias { pub version: u64 }
///     impl gatemill_store::Record for Alias { const VERSION: u8 = 1; }
/// }
///
/// #[derive(Serialize, Deserialize)]
/// struct Alias { version: u64, description: String }
///
/// impl Record for Alias {
///     const VERSION: u8 = 2;
///     fn upgrade(version: u8, json: &[u8]) -> Result<Self, Error> {
///         // Walks the chain: `v1` would in its turn know what came before it.
///         let old: v1::Alias = decode_as(version, json)?;
///         Ok(Alias { version: old.version, description: String::new() })
///     }
/// }
/// ```
///
/// Golden bytes of every version belong into the tests of the crate that owns the record. A field
/// that is added with `#[serde(default)]` needs no new version.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The version that is written. Every earlier one is still read.
    const VERSION: u8;

    /// Decodes the JSON of another version than [`Self::VERSION`].
    ///
    /// # Errors
    /// [`Error::UnknownVersion`] unless overridden.
    fn upgrade(version: u8, json: &[u8]) -> Result<Self, Error> {
        let _ = json;
        Err(Error::UnknownVersion { version })
    }
}

/// Decodes the JSON of a record whose version byte was `version`: as it is, or by upgrade.
///
/// # Errors
/// [`Error::Decode`] for wrong JSON, [`Error::UnknownVersion`] at the end of the chain.
pub fn decode_as<R: Record>(version: u8, json: &[u8]) -> Result<R, Error> {
    if version != R::VERSION {
        return R::upgrade(version, json);
    }
    serde_json::from_slice(json).map_err(|source| Error::Decode { version, source })
}

/// The bytes that a table keeps: the version, then JSON.
///
/// # Errors
/// [`Error::Encode`] if the type does not serialize, [`Error::TooLarge`] above [`RECORD_BYTES_MAX`].
pub fn encode<R: Record>(record: &R) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![R::VERSION];
    serde_json::to_writer(&mut bytes, record).map_err(|source| Error::Encode { source })?;
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(Error::TooLarge {
            what: "a record",
            bytes: bytes.len(),
            max: RECORD_BYTES_MAX,
        });
    }
    Ok(bytes)
}

/// Reads back what [`encode`] wrote, in this or an earlier version.
///
/// # Errors
/// As [`decode_as`]; [`Error::Damaged`] if there is not even a version.
pub fn decode<R: Record>(bytes: &[u8]) -> Result<R, Error> {
    let (version, json) = bytes.split_first().ok_or(Error::Damaged { what: "an empty record" })?;
    decode_as(*version, json)
}
