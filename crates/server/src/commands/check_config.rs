//! `gatemill check-config`: says what would hold, or what is wrong, and starts nothing.

use crate::{
    cli::{self, CheckConfigOptions},
    configuration::Configuration,
    error::Error,
    machine, output,
};

/// Prints the configuration as TOML, in the form that `--config` reads.
///
/// # Errors
/// What is wrong with the configuration.
pub(crate) fn check_config(options: CheckConfigOptions) -> Result<(), Error> {
    let configuration = options.server.resolve(options.mode, machine::cores().len())?;
    for variable in cli::unknown_variables(std::env::vars_os().map(|(name, _)| name)) {
        eprintln!("gatemill: {variable} in the environment is no setting");
    }
    output::print(&text(&configuration))
}

fn text(configuration: &Configuration) -> String {
    let mode = configuration.mode.name();
    let toml = toml::to_string(configuration).expect("every setting has a form in TOML");
    // The mode is the command that is run and no setting, so a file cannot name it.
    let settings: String =
        toml.split_inclusive('\n').filter(|line| !line.starts_with("mode = ")).collect();
    format!("# `gatemill {mode}` would run with:\n{settings}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::{Mode, Settings};

    #[test]
    fn what_is_printed_can_be_read_as_a_file() {
        let holds = Settings::default().resolve(Mode::Serve, 2).unwrap();
        let again: Settings = toml::from_str(&text(&holds)).unwrap();
        let again = again.resolve(Mode::Serve, 2).unwrap();
        // What is printed is said; what was not said before is the one difference.
        assert_eq!(Configuration { egress_asked: holds.egress_asked, ..again }, holds);
    }
}
