//! `gatemill runtime list`: the interpreters of this machine, by the name that functions ask for.

use std::fmt::Write as _;

use crate::{
    cli::{RuntimeCommand, ServerOptions},
    configuration::Mode,
    error::Error,
    machine, output, runtimes,
};

/// Runs a command about runtimes.
///
/// # Errors
/// When the configuration is wrong or the data directory cannot be written.
pub(crate) fn runtime(command: RuntimeCommand) -> Result<(), Error> {
    match command {
        RuntimeCommand::List(options) => list(options),
    }
}

fn list(options: ServerOptions) -> Result<(), Error> {
    let configuration = options.resolve(Mode::Serve, machine::cores().len())?;
    let found = runtimes::discover(&configuration)?.list();
    if found.is_empty() {
        let advice = "No interpreter was found. Install one (Debian: apt install python3 nodejs), or \
                      name its directory with --runtime-dir DIR.\n";
        return output::print(advice);
    }
    let mut text = format!("{:<12} {:<12} PROGRAM\n", "RUNTIME", "VERSION");
    for pack in found {
        let program = pack.on_host(&pack.program);
        let version = pack.version.to_string();
        writeln!(text, "{:<12} {version:<12} {}", pack.name, program.display())
            .expect("a String takes everything");
    }
    output::print(&text)
}
