//! Where interpreters are looked for: what the configuration names, then where people install them.

use std::{env, path::PathBuf};

use gatemill_sandbox::runtime::{Runtimes, Search};

use crate::{configuration::Configuration, error::Error};

/// Finds the interpreters of this machine; what an earlier start learned is remembered in the data directory.
///
/// # Errors
/// When the data directory cannot be written.
pub(crate) fn discover(configuration: &Configuration) -> Result<Runtimes, Error> {
    let path = env::var_os("PATH").unwrap_or_default();
    let search = Search {
        extra: configuration.runtime_dir.clone(),
        path: env::split_paths(&path).collect(),
        home: env::var_os("HOME").map(PathBuf::from),
        data_dir: configuration.data_dir.clone(),
        ..Search::default()
    };
    Runtimes::discover(&search)
        .map_err(|source| Error::Runtimes { dir: configuration.data_dir.clone(), source })
}
