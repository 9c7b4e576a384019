//! Where interpreters are looked for: what the configuration names, then where people install them.

use std::{
    env, io,
    path::PathBuf,
    thread::{self, JoinHandle},
};

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

/// A discovery that goes on while other parts of the server start: asking new interpreters takes their time.
#[derive(Debug)]
pub(crate) struct Discovery(JoinHandle<Result<Runtimes, Error>>);

impl Discovery {
    /// Begins, on a thread of its own.
    ///
    /// # Errors
    /// When the system refuses the thread.
    pub(crate) fn start(configuration: Configuration) -> Result<Self, Error> {
        let thread = thread::Builder::new().name("discovery".to_owned());
        thread
            .spawn(move || discover(&configuration))
            .map(Self)
            .map_err(|source| Error::System { doing: "start a thread", source })
    }

    /// What was found.
    ///
    /// # Errors
    /// When the data directory cannot be written.
    pub(crate) fn wait(self) -> Result<Runtimes, Error> {
        let lost = || io::Error::other("the discovery panicked");
        let failed = |_| Error::System { doing: "look for interpreters", source: lost() };
        self.0.join().map_err(failed)?
    }
}
