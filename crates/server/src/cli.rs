//! The command line, as data: help, man page and completions are derived from it.
//!
//! AWS's own tools are the user interface for what AWS names; here stands only what AWS has no verb for.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::{
    configuration::{Configuration, Mode, Settings},
    error::Error,
};

const EXAMPLES: &str = "\
Examples:
  See a real function behind a real URL, deployed through the ordinary AWS API:
      gatemill demo

  Start a server for this project, and talk to it with the AWS CLI:
      gatemill dev
      export AWS_ENDPOINT_URL=http://127.0.0.1:4566 AWS_DEFAULT_REGION=us-east-1
      export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
      aws lambda list-functions

  In CI: a free port, a directory of its own, empty before each suite:
      gatemill dev --listen 127.0.0.1:0 --data-dir \"$(mktemp -d)\"
      curl -X POST http://127.0.0.1:PORT/_gatemill/reset

  In production (credentials are made at the first start and shown once):
      gatemill serve --data-dir /var/lib/gatemill --region eu-central-1

Every setting can also stand in a file (--config FILE, TOML, the key is the long flag) and in the environment
(GATEMILL_LISTEN, GATEMILL_DATA_DIR, …). A flag wins over the environment, the environment over the file.";

/// AWS Lambda and API Gateway that you own: one program, plain Linux, no Docker, no account.
#[derive(Debug, Parser)]
#[command(name = "gatemill", version, after_long_help = EXAMPLES, max_term_width = 120)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server for a laptop or CI: any credentials are accepted, POST /_gatemill/reset empties it
    #[command(after_long_help = EXAMPLES)]
    Dev(ServerOptions),
    /// Run a server for production: real credentials, every signature verified
    #[command(after_long_help = EXAMPLES)]
    Serve(ServerOptions),
    /// Deploy an example through the AWS API of a fresh server, call its URL, and keep serving
    Demo(DemoOptions),
    /// List the AWS operations: which are built, and which answer 501
    Operations(OperationsOptions),
    /// Check file, environment and flags, and print what would hold
    CheckConfig(CheckConfigOptions),
    /// The interpreters that run functions
    #[command(subcommand)]
    Runtime(RuntimeCommand),
    /// Write the man page, shell completions or the configuration reference to stdout
    #[command(subcommand, hide = true)]
    Generate(GenerateCommand),
}

/// What `dev` and `serve` take.
#[derive(Debug, Args)]
pub(crate) struct ServerOptions {
    /// Read settings from this TOML file; its keys are the long flags, unknown ones are refused
    #[arg(long, value_name = "FILE", env = "GATEMILL_CONFIG", hide_env = true)]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

impl ServerOptions {
    /// What was said, in file, environment and flags.
    ///
    /// # Errors
    /// When the file cannot be read or has an unknown key.
    pub(crate) fn settings(self) -> Result<Settings, Error> {
        let file = self.config.as_deref().map(Settings::from_file).transpose()?;
        Ok(self.settings.over(file.unwrap_or_default()))
    }

    /// What holds.
    ///
    /// # Errors
    /// One sentence about what is wrong.
    pub(crate) fn resolve(self, mode: Mode, cores: usize) -> Result<Configuration, Error> {
        self.settings()?.resolve(mode, cores)
    }
}

/// Variables that look like settings and are none, out of the names in an environment: most likely misspelt.
///
/// They are named and not refused: an orchestrator may put variables of this prefix beside ours unasked, as service
/// links do.
pub(crate) fn unknown_variables(names: impl Iterator<Item = OsString>) -> Vec<String> {
    let command = ServerOptions::augment_args(clap::Command::new("gatemill"));
    let known: Vec<&OsStr> = command.get_arguments().filter_map(|flag| flag.get_env()).collect();
    let ours = names.filter(|name| name.to_string_lossy().starts_with("GATEMILL_"));
    let unknown = ours.filter(|name| !known.contains(&name.as_os_str()));
    unknown.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// What `demo` takes.
#[derive(Debug, Args)]
pub(crate) struct DemoOptions {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    /// Stop once the picture came back, instead of serving until Ctrl-C
    #[arg(long)]
    pub(crate) once: bool,
}

/// What `operations` takes.
#[derive(Debug, Args)]
pub(crate) struct OperationsOptions {
    /// How to print them; markdown is what docs/compatibility.md is
    #[arg(long, value_enum, default_value_t = OperationsFormat::Table)]
    pub(crate) format: OperationsFormat,
}

/// How operations are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OperationsFormat {
    /// For reading in a terminal
    Table,
    /// For programs
    Json,
    /// For the documentation
    Markdown,
}

/// What `check-config` takes.
#[derive(Debug, Args)]
pub(crate) struct CheckConfigOptions {
    /// Which command the configuration is for
    #[arg(long, value_enum, default_value_t = Mode::Serve)]
    pub(crate) mode: Mode,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

/// What can be asked about runtimes.
#[derive(Debug, Subcommand)]
pub(crate) enum RuntimeCommand {
    /// List the interpreters that were found on this machine
    List(RuntimeListOptions),
    /// Add an interpreter from a folder or a container image, under the runtime identifier that it is to serve
    Add(RuntimeAddOptions),
    /// Remove a runtime that was added
    Remove(RuntimeRemoveOptions),
}

/// What `runtime add` takes.
#[derive(Debug, Args)]
pub(crate) struct RuntimeAddOptions {
    /// The identifier, such as python3.12
    pub(crate) name: String,
    /// The folder of the interpreter, or the root of a system that has it; or an image that has it, as
    /// oci:REGISTRY/REPOSITORY:TAG in a registry or oci-layout:FOLDER:TAG in a folder of the OCI layout. It is copied
    pub(crate) source: String,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

/// What `runtime remove` takes.
#[derive(Debug, Args)]
pub(crate) struct RuntimeRemoveOptions {
    /// The identifier under which it was added
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

/// What `runtime list` takes.
#[derive(Debug, Args)]
pub(crate) struct RuntimeListOptions {
    /// How to print them
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) format: ListFormat,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// For reading in a terminal
    Table,
    /// For programs
    Json,
}

/// What is derived from this command line.
#[derive(Debug, Subcommand)]
pub(crate) enum GenerateCommand {
    /// The man page, in roff
    Man,
    /// The page docs/configuration.md
    Configuration,
    /// Completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn misspelt_variables_are_found() {
        let names = ["PATH", "GATEMILL_REGION", "GATEMILL_CONFIG", "GATEMILL_REGOIN"];
        let unknown = unknown_variables(names.into_iter().map(OsString::from));
        assert_eq!(unknown, ["GATEMILL_REGOIN"]);
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_help_and_an_environment_variable() {
        let command = Cli::command();
        let dev = command.find_subcommand("dev").unwrap();
        for flag in dev.get_arguments().filter(|flag| flag.get_id() != "help") {
            let long = flag.get_long().unwrap();
            assert!(flag.get_help().is_some(), "--{long} has no help");
            let variable = format!("GATEMILL_{}", long.replace('-', "_").to_uppercase());
            assert_eq!(flag.get_env().and_then(|name| name.to_str()), Some(&*variable));
        }
    }
}
