//! Why the server does not start, or a command does not end well: each a sentence that says what to do.
//!
//! `Display` says this level; `main` prints the chain of sources after it. No error of an API call is here: those are
//! AWS's and belong to the services.

use std::{error::Error as StdError, fmt, io, net::SocketAddr, path::PathBuf};

use crate::demo::DemoError;

/// Why a command ended with status 1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The configuration file is not there or not readable.
    #[error("cannot read the configuration file {}", .path.display())]
    ConfigUnreadable { path: PathBuf, source: io::Error },
    /// The configuration file is no TOML or has an unknown key.
    #[error("the configuration file {} is wrong; its keys are the long flags of `gatemill serve --help`:\n{reason}", .path.display())]
    ConfigWrong { path: PathBuf, reason: String },
    /// A setting has a value that cannot hold.
    #[error("{setting} cannot be {value:?}: {rule}")]
    Setting { setting: &'static str, rule: String, value: String },
    /// A public address without TLS.
    #[error(
        "{address} can be reached from other machines, and calls there are not encrypted: give the address to \
         --tls-listen with --tls-certificates, listen on 127.0.0.1 behind a TLS proxy, or accept the risk with \
         --insecure-public"
    )]
    PublicAddress { address: SocketAddr },
    /// A public address of a server that believes everybody.
    #[error(
        "{address} can be reached from other machines, and `gatemill dev` takes any credentials, encrypted or not: \
         use `gatemill serve`, listen on 127.0.0.1, or accept the risk with --insecure-public"
    )]
    PublicDev { address: SocketAddr },
    /// One of the two settings of TLS without the other.
    #[error(
        "{has} says nothing without {lacks}: TLS needs an address and a directory of certificates"
    )]
    HalfTls { has: &'static str, lacks: &'static str },
    /// A certificate is broken.
    #[error("TLS cannot be spoken with these certificates")]
    Certificates { source: crate::tls::PairError },
    /// There is none.
    #[error(
        "{} has no certificate: put NAME.crt and NAME.key there, or a folder with fullchain.pem and privkey.pem",
        .directory.display()
    )]
    NoCertificates { directory: PathBuf },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls { source: rustls::Error },
    /// Someone else listens there.
    #[error(
        "port {} of {} is in use: stop the program that listens there, or choose another port with \
         --listen {}:PORT (port 0 picks a free one)", .address.port(), .address.ip(), bracketed(.address)
    )]
    PortBusy { address: SocketAddr },
    /// The address cannot be listened on for another reason.
    #[error("cannot listen on {address}; choose another address with --listen ADDR:PORT")]
    Listen { address: SocketAddr, source: io::Error },
    /// The data directory cannot be made or written.
    #[error(
        "the data directory {} cannot be written; choose another with --data-dir DIR, or let this user write there",
        .dir.display()
    )]
    DataDirectory { dir: PathBuf, source: io::Error },
    /// Another server has the data directory.
    #[error(
        "the data directory {} is in use by another Gatemill; stop that one, or choose another directory with \
         --data-dir DIR", .dir.display()
    )]
    DataDirectoryInUse { dir: PathBuf },
    /// The client of other services cannot be made.
    #[error("the configured services cannot be called")]
    Services { source: gatemill_aws::Error },
    /// Spans cannot be exported.
    #[error("spans cannot be exported: {reason}")]
    Otlp { reason: String },
    /// The store does not open for another reason.
    #[error("the data in {} cannot be opened", .dir.display())]
    Store { dir: PathBuf, source: gatemill_store::Error },
    /// The runtime clients cannot be written.
    #[error("the data directory {} cannot take what runs functions", .dir.display())]
    Runtimes { dir: PathBuf, source: gatemill_sandbox::runtime::Error },
    /// A runtime cannot be added or removed.
    #[error("the runtimes stay as they are")]
    AddRuntime {
        #[from]
        source: gatemill_sandbox::runtime::AddError,
    },
    /// What should be an image's name is none.
    #[error(
        "{name} is no image; it is written oci:REGISTRY/REPOSITORY:TAG or oci-layout:FOLDER:TAG, and a folder's \
         own name has lower-case letters, digits, dots, dashes and underscores"
    )]
    ImageName { name: String },
    /// The image of a runtime cannot be had.
    #[error("the image {reference} cannot be used")]
    RuntimeImage { reference: String, source: gatemill_image::Error },
    /// A runtime was added that nothing on this machine can start.
    #[error(
        "{name} was added, but this machine has no compiler (javac, mcs or a .NET SDK) for its runtime client"
    )]
    RuntimeLeftOut { name: String },
    /// The machine cannot isolate functions.
    #[error(
        "functions cannot be isolated on this machine; start as root, allow user namespaces \
         (sysctl kernel.unprivileged_userns_clone=1), or run trusted code alone with --isolation process"
    )]
    Sandboxes { source: gatemill_sandbox::Error },
    /// Functions cannot have the network that was asked for.
    #[error(
        "egress cannot be {policy} on this machine: {reason}. Put that right, or keep functions from the network \
         with --egress none"
    )]
    Egress { policy: &'static str, reason: String },
    /// sandboxd ended while the server ran, and no other could take its place.
    #[error(
        "sandboxd, which makes and keeps the sandboxes, has ended and cannot be started again: no function can run, so \
         the server stops"
    )]
    SandboxesEnded,
    /// A step of the demo failed.
    #[error("the demo stopped")]
    Demo(#[source] DemoError),
    /// Lambda cannot be set up.
    #[error("the functions in {} cannot be opened", .dir.display())]
    Lambda { dir: PathBuf, source: gatemill_lambda::Error },
    /// The gateway cannot be set up.
    #[error("the gateway cannot be set up")]
    Gateway { source: gatemill_gateway::Error },
    /// The access keys cannot be opened.
    #[error("the access keys in {} cannot be opened", .dir.display())]
    Identity { dir: PathBuf, source: gatemill_identity::Error },
    /// The system refused something that the server needs.
    #[error("cannot {doing}")]
    System { doing: &'static str, source: io::Error },
}

/// An error with its causes, on one line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

fn bracketed(address: &SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}
