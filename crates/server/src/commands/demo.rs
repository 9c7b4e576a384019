//! `gatemill demo`: `dev` on an empty directory, then the story of the module `demo`.

use crate::{
    cli::DemoOptions, commands::run, configuration::Mode, demo, error::Error, logging, machine,
};

/// Runs the demo, and serves until a signal unless it was asked for one round only.
///
/// # Errors
/// Why the server does not start, or which step failed.
pub(crate) fn demo(options: DemoOptions) -> Result<(), Error> {
    let DemoOptions { server, once } = options;
    let mut settings = server.settings()?;
    let mut temporary = None;
    match &settings.data_dir {
        Some(dir) => demo::check_empty(dir)?,
        None => {
            temporary = Some(demo::temporary_directory()?);
            settings.data_dir.clone_from(&temporary);
        }
    }
    // The story is what the user wants to read, not the calls that it is made of.
    settings.log_level.get_or_insert_with(|| "warn".to_owned());
    let configuration = settings.resolve(Mode::Dev, machine::cores().len())?;
    logging::start(&configuration.log_level);
    let until = if once { run::Until::Done } else { run::Until::Signal };
    let served = run::serve(configuration, until, demo::run);
    if let (Err(_), Some(dir)) = (&served, temporary) {
        // Nothing came of it. This removes only an empty directory, and one that stays does no harm.
        let _ = std::fs::remove_dir(dir);
    }
    served
}
