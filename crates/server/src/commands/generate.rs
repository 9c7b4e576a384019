//! `gatemill generate`: what packagers take from the command line's own description.

use clap::CommandFactory as _;

use crate::{
    cli::{Cli, GenerateCommand},
    error::Error,
    output,
};

/// Prints the man page or the completions.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn generate(command: &GenerateCommand) -> Result<(), Error> {
    let mut bytes = Vec::new();
    match command {
        GenerateCommand::Man => man(&mut bytes)?,
        GenerateCommand::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "gatemill", &mut bytes);
        }
    }
    output::print(&String::from_utf8_lossy(&bytes))
}

/// One page with every command, so that `man gatemill` answers everything.
fn man(bytes: &mut Vec<u8>) -> Result<(), Error> {
    let failed = |source| Error::System { doing: "write the man page", source };
    let root = Cli::command();
    clap_mangen::Man::new(root.clone()).render(bytes).map_err(failed)?;
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = format!("gatemill {}", command.get_name());
        let page = clap_mangen::Man::new(command.clone().display_name(name.clone()).bin_name(name));
        bytes.extend_from_slice(
            format!(".SH \"{}\"\n", command.get_name().to_uppercase()).as_bytes(),
        );
        page.render_description_section(bytes).map_err(failed)?;
        page.render_options_section(bytes).map_err(failed)?;
    }
    Ok(())
}
