//! Container images without a container engine: found in registries and OCI layouts, fetched, checked against their
//! digests, and unpacked into plain directories that a sandbox takes as its root.
//!
//! [`Images::resolve`] says which image a [`Reference`] means, [`Images::ensure`] makes it a directory. Which functions
//! use an image, and how its process is started, is not known here. Decision 0006 says why this is code of our own.

mod credentials;
mod decompress;
mod digest;
mod error;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod images;
mod layout;
pub mod limits;
mod manifest;
mod reference;
mod registry;
mod source;
mod tar;
#[cfg(test)]
mod testing;
mod unpack;

pub use credentials::{Registries, Settings};
pub use digest::{Digest, NotADigest};
pub use error::Error;
pub use images::{Images, Unpacked};
pub use manifest::Process;
pub use reference::Reference;
