//! `gatemill runtime`: the interpreters of this machine, by the name that functions ask for, and those that the operator
//! adds. A server that runs goes on with what it found at its start.

use std::{fmt::Write as _, path::Path, sync::Arc};

use gatemill_sandbox::runtime::{self, Pack};
use serde_json::json;

use crate::{
    cli::{
        ListFormat, RuntimeAddOptions, RuntimeCommand, RuntimeListOptions, RuntimeRemoveOptions,
    },
    commands::runtime_image,
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
        RuntimeCommand::Add(options) => add(options),
        RuntimeCommand::Remove(options) => remove(options),
    }
}

fn add(options: RuntimeAddOptions) -> Result<(), Error> {
    let RuntimeAddOptions { name, source, server } = options;
    let configuration = server.resolve(Mode::Serve, machine::cores().len())?;
    let used = match runtime_image::named(&source) {
        Some(image) => {
            let credentials = configuration.image_credentials.clone();
            let pulled = runtime_image::pull(&configuration.data_dir, image?, credentials)?;
            runtime::add(&configuration.data_dir, &name, pulled.root())?
        }
        None => runtime::add(&configuration.data_dir, &name, Path::new(&source))?,
    };
    let found = runtimes::discover(&configuration)?.list();
    if !found.iter().any(|pack| pack.name == name) {
        return Err(Error::RuntimeLeftOut { name });
    }
    let difference = if used == name {
        String::new()
    } else {
        format!(" It is {used}, and serves {name} all the same.")
    };
    output::print(&format!(
        "Added {name}.{difference} A server that runs takes it at its next start.\n"
    ))
}

fn remove(options: RuntimeRemoveOptions) -> Result<(), Error> {
    let RuntimeRemoveOptions { name, server } = options;
    let configuration = server.resolve(Mode::Serve, machine::cores().len())?;
    runtime::remove(&configuration.data_dir, &name)?;
    output::print(&format!("Removed {name}. A server that runs keeps it until its next start.\n"))
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
