//! The project's own commands: `cargo xtask <command>`.
//!
//! One file per command. This package depends on no crate of the product, so that `cargo xtask tidy` builds in
//! seconds.

mod bench;
mod ci;
mod codegen;
mod dotnet;
mod fuzz;
mod licences;
mod members;
mod tidy;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// A failed command says why in one text; nobody acts on the kind.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

struct Command {
    name: &'static str,
    about: &'static str,
    run: fn(&Path, &[String]) -> Result<()>,
}

const COMMANDS: &[Command] = &[
    Command { name: "ci", about: "run what CI runs, or only the steps named", run: ci::run },
    Command {
        name: "bench",
        about: "measure against the baselines in the same run [--quick] [--only NAME]",
        run: bench::run,
    },
    Command {
        name: "codegen",
        about: "write crates/api/src/generated from the service models [--check] [--models DIR]",
        run: codegen::run,
    },
    Command {
        name: "fuzz",
        about: "feed the parsers of hostile input, for a minute each [TARGET…] [--seconds N]",
        run: fuzz::run,
    },
    Command {
        name: "members",
        about: "find input members that are neither read nor listed as not honoured BINARY",
        run: members::run,
    },
    Command { name: "tidy", about: "check the rules that no other tool knows", run: tidy::run },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next() else {
        print_commands();
        return ExitCode::SUCCESS;
    };
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprintln!("xtask: no command `{name}`");
        print_commands();
        return ExitCode::from(2);
    };
    let arguments: Vec<String> = arguments.collect();
    match (command.run)(&repository(), &arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_commands() {
    println!("cargo xtask <command>\n");
    for command in COMMANDS {
        println!("  {:<10} {}", command.name, command.about);
    }
}

/// Where cargo puts what it makes.
pub(crate) fn target(repository: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository.join("target"), PathBuf::from)
}

/// The root of the repository, which is where this package's directory lies.
pub(crate) fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("xtask lies in the repository").to_path_buf()
}
