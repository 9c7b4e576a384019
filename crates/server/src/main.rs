//! The gatemill program: one binary that is the server, its sandbox daemon and its command line.
//!
//! `main` is a story: become the sandbox daemon if that is what was asked for, parse, run the command. The map:
//!
//! | module | what it holds |
//! |---|---|
//! | `cli`, `configuration`, `services`, `commands` | what can be said, what then holds, what is done |
//! | `wiring` | how the server is put together, and the way back |
//! | `listener`, `dispatch`, `own_host`, `api_call`, `inside`, `admin` | a request, from the socket to a service |
//! | `functions`, `roles`, `log_lines` | what one service is for another |
//! | `egress` | what functions reach of the network |
//! | `supervisor`, `recorder`, `in_flight` | background work, what is counted, what a stop waits for |
//! | `demo` | the example, deployed through the server's own API |
//! | `runtimes`, `clock`, `machine`, `signals`, `logging`, `output` | the machine around it |

mod activity;
mod admin;
mod api_call;
mod callers;
mod cli;
mod clock;
mod commands;
mod configuration;
mod connections;
mod demo;
mod dispatch;
mod egress;
mod error;
mod function_url;
mod functions;
mod in_flight;
mod inside;
mod limits;
mod listener;
mod log_lines;
mod logging;
mod machine;
mod observed;
mod otlp;
mod output;
mod own_host;
mod peer;
mod recorder;
mod roles;
mod runtimes;
mod server;
mod services;
mod signals;
mod supervisor;
mod tls;
mod wiring;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{
    cli::{Cli, Command},
    configuration::Mode,
    error::{Chain, Error},
};

fn main() -> ExitCode {
    // This program is also its own sandbox daemon, which must begin before any thread exists.
    gatemill_jailer::run_if_called();
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gatemill: {}", Chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Dev(options) => commands::run::run(options, Mode::Dev),
        Command::Serve(options) => commands::run::run(options, Mode::Serve),
        Command::CheckConfig(options) => commands::check_config::check_config(options),
        Command::Generate(command) => commands::generate::generate(&command),
        Command::Demo(options) => commands::demo::demo(options),
        Command::Runtime(command) => commands::runtime::runtime(command),
        Command::Operations(options) => commands::operations::operations(&options),
    }
}
