//! OpenAPI 3.0 definitions of HTTP APIs: read for `ImportApi` and `ReimportApi`, written for `ExportApi`.
//!
//! | module | what it holds |
//! |---|---|
//! | `text` | JSON or YAML, as one kind of value, within bounds |
//! | `yaml` | YAML in both directions |
//! | `import` | a definition, read: what is to be made of it, and what is to be said about it |
//! | `operation` | what of a definition becomes routes |
//! | `extension` | `x-amazon-apigateway-integration` and `-authorizer`, in both directions |
//! | `export` | an API, written |
//!
//! What was exported is imported as the same API. What is read here is a request for `CreateIntegration` and its like,
//! so that an imported member is checked, and refused, exactly as one that a client sent; nothing is stored here, and
//! nothing else than HTTP APIs is known.

mod export;
mod extension;
mod import;
mod operation;
mod text;
mod yaml;

pub(crate) use export::{Content, Export, export};
pub(crate) use import::{Basepath, Definition, Guard, Importer, Integration, Route, read};
#[cfg(any(fuzzing, test))]
pub(crate) use yaml::read as from_yaml;
pub(crate) use yaml::write as to_yaml;

#[cfg(test)]
mod tests;
