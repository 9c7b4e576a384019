//! `gatemill runtime list`: the interpreters of this machine, by the name that functions ask for.

use std::{fmt::Write as _, sync::Arc};

use gatemill_sandbox::runtime::Pack;
use serde_json::json;

use crate::{
    cli::{ListFormat, RuntimeCommand, RuntimeListOptions},
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

fn list(options: RuntimeListOptions) -> Result<(), Error> {
    let configuration = options.server.resolve(Mode::Serve, machine::cores().len())?;
    let found = runtimes::discover(&configuration)?.list();
    match options.format {
        ListFormat::Json => output::print(&as_json(&found)),
        ListFormat::Table => output::print(&as_table(&found)),
    }
}

fn as_json(found: &[Arc<Pack>]) -> String {
    let packs: Vec<_> = found
        .iter()
        .map(|pack| {
            let program = pack.on_host(&pack.program);
            json!({ "name": pack.name, "version": pack.version.to_string(), "program": program })
        })
        .collect();
    let text = serde_json::to_string_pretty(&packs).expect("plain values have a form in JSON");
    text + "\n"
}

fn as_table(found: &[Arc<Pack>]) -> String {
    if found.is_empty() {
        return "No interpreter was found. Install one (Debian: apt install python3 nodejs), or name \
                its directory with --runtime-dir DIR.\n"
            .to_owned();
    }
    let mut text = format!("{:<14} {:<12} PROGRAM\n", "RUNTIME", "VERSION");
    for pack in found {
        let program = pack.on_host(&pack.program);
        let version = pack.version.to_string();
        writeln!(text, "{:<14} {version:<12} {}", pack.name, program.display())
            .expect("a String takes everything");
    }
    text
}
