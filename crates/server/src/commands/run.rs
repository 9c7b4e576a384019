//! `gatemill dev` and `gatemill serve`: start, say so, serve until a signal, stop.
//!
//! SIGHUP restarts: the running calls end, everything is closed but the listening sockets, and the process becomes the
//! program that now stands where its own did, which takes the sockets over. Clients that connect meanwhile wait for an
//! answer and are not refused; the process keeps its id, so that a supervisor sees nothing. An upgrade is: put the new file
//! in the old one's place, send SIGHUP.

use std::{
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use gatemill_identity::NewRootCredentials;

use crate::{
    cli::{self, ServerOptions},
    configuration::{Configuration, Mode},
    error::Error,
    logging, machine, output,
    server::Server,
    signals::{self, Asked, Signals},
    wiring::{Ground, Running},
};

/// How long a server is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Until SIGINT or SIGTERM.
    Signal,
    /// Until what is done meanwhile is done.
    Done,
}

/// Runs a server until a signal ends it.
///
/// # Errors
/// Why it does not start.
pub(crate) fn run(options: ServerOptions, mode: Mode) -> Result<(), Error> {
    let configuration = options.resolve(mode, machine::cores().len())?;
    logging::start(&configuration.log_level);
    for variable in cli::unknown_variables(std::env::vars_os().map(|(name, _)| name)) {
        tracing::warn!(%variable, "this variable is no setting; `gatemill help dev` lists them");
    }
    serve(configuration, Until::Signal, async |_| Ok(()))
}

/// Starts a server, does `meanwhile` when it is ready, and stops it in the end.
///
/// # Errors
/// Why it does not start, why `meanwhile` failed, or that it cannot go on.
pub(crate) fn serve(
    configuration: Configuration,
    until: Until,
    meanwhile: impl AsyncFnOnce(Arc<Server>) -> Result<(), Error>,
) -> Result<(), Error> {
    machine::raise_open_files();
    let ground = Ground::prepare(configuration)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| Error::System { doing: "make a reactor", source })?;
    let served = runtime.block_on(serve_on(ground, until, meanwhile));
    // A program that the demo waits for must not hold up the end.
    runtime.shutdown_background();
    match served? {
        Some(listeners) => Err(become_successor(&listeners)),
        None => Ok(()),
    }
}

/// Becomes the program that has our name now. Returns only when that fails.
fn become_successor(listeners: &[TcpListener]) -> Error {
    let failed = |source| Error::System { doing: "start the successor", source };
    let program = match std::env::current_exe() {
        Ok(program) => successor(&program),
        Err(error) => return failed(error),
    };
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1));
    match gatemill_sandbox::handover::pass_on(listeners) {
        Ok(variables) => failed(command.envs(variables).exec()),
        Err(error) => failed(error),
    }
}

/// The path of a program; of one whose file was replaced, Linux says that it is deleted.
fn successor(program: &Path) -> PathBuf {
    let text = program.to_str().and_then(|text| text.strip_suffix(" (deleted)"));
    text.map_or_else(|| program.to_owned(), PathBuf::from)
}

async fn serve_on(
    ground: Ground,
    until: Until,
    meanwhile: impl AsyncFnOnce(Arc<Server>) -> Result<(), Error>,
) -> Result<Option<Vec<TcpListener>>, Error> {
    let mut signals = Signals::listen()?;
    let mut running = Running::start(ground).await?;
    let server = Arc::clone(running.server());
    let sandboxes = server.sandboxes.clone();
    if let Some(url) = server.tls_url() {
        output::print(&format!("Gatemill speaks TLS at {url}\n"))?;
    }
    output::print(&format!("Gatemill is ready at {}\n", server.url()))?;
    if let Some(credentials) = running.take_new_credentials() {
        output::print(&first_words(&server, &credentials))?;
    }
    let work = async {
        let done = meanwhile(server).await;
        if done.is_ok() && until == Until::Signal {
            // What ends it then is one of the other two.
            std::future::pending::<()>().await;
        }
        done
    };
    let mut restart = false;
    let done = tokio::select! {
        done = work => done,
        asked = signals.next() => {
            restart = asked == Asked::Restart;
            Ok(())
        }
        () = sandboxes.ended() => Err(Error::SandboxesEnded),
    };
    let listeners = if restart { Some(running.keep_listeners()?) } else { None };
    signals::stop_or_end(running.stop(), &mut signals).await;
    done.map(|()| listeners)
}

/// What the first start of `serve` says, once.
fn first_words(server: &Server, credentials: &NewRootCredentials) -> String {
    let NewRootCredentials { account, access_key_id, secret_access_key } = credentials;
    let region = &server.configuration.region;
    let url = server.url();
    format!(
        "
These are the root credentials of account {account}. They are shown this once and stored encrypted; keep them safe.

    aws configure set aws_access_key_id {access_key_id} --profile gatemill
    aws configure set aws_secret_access_key {secret_access_key} --profile gatemill
    aws configure set region {region} --profile gatemill
    aws configure set endpoint_url {url} --profile gatemill
    aws --profile gatemill sts get-caller-identity

"
    )
}

#[cfg(test)]
mod tests {
    use super::successor;

    #[test]
    fn a_program_that_was_replaced_is_found_by_its_name() {
        for (said, meant) in [("/usr/bin/g", "/usr/bin/g"), ("/usr/bin/g (deleted)", "/usr/bin/g")]
        {
            assert_eq!(successor(std::path::Path::new(said)), std::path::Path::new(meant));
        }
    }
}
