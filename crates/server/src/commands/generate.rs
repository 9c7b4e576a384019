//! `gatemill generate`: what packagers take from the command line's own description.

use clap::CommandFactory as _;

use crate::{
    cli::{Cli, GenerateCommand},
    error::Error,
    output,
};

/// Prints the man page, the completions or the configuration reference.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn generate(command: &GenerateCommand) -> Result<(), Error> {
    let mut bytes = Vec::new();
    match command {
        GenerateCommand::Man => man(&mut bytes)?,
        GenerateCommand::Configuration => bytes.extend(configuration().into_bytes()),
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

/// Every setting with its three names, as a page of the documentation.
fn configuration() -> String {
    let mut text = "# Configuration\n\nEvery setting can stand in a file (`--config FILE`, TOML, unknown keys are refused), in the \
                    environment and among the flags of `gatemill dev`, `serve` and `demo`. A flag wins over the environment, the \
                    environment over the file. `gatemill check-config` prints what holds.\n\nThis page is what `gatemill generate \
                    configuration` prints.\n\n| key in the file, flag | environment | value | what it is |\n|---|---|---|---|\n"
        .to_owned();
    let root = Cli::command();
    let dev = root.find_subcommand("dev").expect("`dev` is a command");
    for flag in dev.get_arguments() {
        let (Some(long), Some(variable)) = (flag.get_long(), flag.get_env()) else { continue };
        // The file cannot name a file.
        let key = if long == "config" { String::new() } else { format!("`{long}`, ") };
        let values: Vec<String> =
            flag.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        let named = flag.get_value_names().into_iter().flatten().map(ToString::to_string);
        let value = if values.is_empty() { named.collect() } else { values };
        let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
        text += &format!(
            "| {key}`--{long}` | `{}` | {} | {} |\n",
            variable.to_string_lossy(),
            value.join(", "),
            help.replace('|', "\\|").replace('<', "&lt;"),
        );
    }
    text + SERVICES
}

/// What only the file can say.
const SERVICES: &str = r#"
## Services

Functions are fed from and answer to, and routes of HTTP APIs call, services that speak AWS's protocols: AWS itself, or any compatible server. Each has a table in the file; without one it is not called, and what would need it is refused. The tables are `services.sqs`, `services.sns`, `services.s3`, `services.events`, `services.dynamodb`, `services.dynamodb-streams`, `services.kinesis`, `services.states` and `services.appconfig`.

```toml
[services.sqs]
endpoint = "http://127.0.0.1:9324"
access-key-id = "AKIDEXAMPLE"
secret-access-key = "..."

[services.s3]
region = "eu-west-1"
```

| key | what it is |
|---|---|
| `endpoint` | The URL of the service [default: AWS's own, in the region of the resource] |
| `region` | The region that requests are signed for [default: that of the resource's ARN, or `region` where the ARN has none] |
| `access-key-id`, `secret-access-key`, `session-token` | What requests are signed with [default: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` of the server's environment] |
"#;
