//! What the server is told: file < environment < flag.
//!
//! Two steps. [`Settings`] is what was said, parsed without touching anything: the same struct is the file (its
//! keys), the environment (`GATEMILL_…`) and the flags, so that the three cannot drift apart. [`Configuration`] is
//! what holds, with every default filled in and every rule checked; the commands see only that.

use std::{
    fs,
    io::Read as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};
use gatemill_sandbox::{MAX_RESOLVERS, Pool, PoolError};
use http::Uri;
use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    limits,
    services::{self, ServiceTables},
};

/// Settings, each of which can stand in the file (same name), in the environment and among the flags.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Address and port to listen on; port 0 picks a free one and prints it [default: 127.0.0.1:4566]
    #[arg(long, value_name = "ADDR:PORT", env = "GATEMILL_LISTEN", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<SocketAddr>,

    /// Address and port to speak TLS on, beside the plain address; port 0 picks a free one and prints it [default: none]
    #[arg(long, value_name = "ADDR:PORT", env = "GATEMILL_TLS_LISTEN", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_listen: Option<SocketAddr>,

    /// A directory of certificates for TLS: NAME.crt with NAME.key, or folders with fullchain.pem and privkey.pem. Each is
    /// for the names in it; clients that ask for another are shown the one called default, or else the first by name.
    /// Changed files are read without a restart
    #[arg(long, value_name = "DIR", env = "GATEMILL_TLS_CERTIFICATES", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_certificates: Option<PathBuf>,

    /// A directory that stands in for buckets of trust stores of mutual TLS: s3://BUCKET/KEY is DIR/BUCKET/KEY
    /// [default: the S3 among the services]
    #[arg(long, value_name = "DIR", env = "GATEMILL_TLS_TRUSTSTORES", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_truststores: Option<PathBuf>,

    /// Where everything durable lives; made if it is not there [default: ./.gatemill]
    #[arg(long, value_name = "DIR", env = "GATEMILL_DATA_DIR", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_dir: Option<PathBuf>,

    /// The account, twelve digits; in dev, the account of callers whose access key id is not an account itself
    /// [default: 000000000000]
    #[arg(long, value_name = "ID", env = "GATEMILL_ACCOUNT", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,

    /// The region. serve accepts only calls that are signed for it; dev accepts any and keeps their resources apart
    /// [default: us-east-1]
    #[arg(long, value_name = "NAME", env = "GATEMILL_REGION", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,

    /// What is logged to stderr: error, warn, info, debug, trace, or a filter such as info,gatemill_lambda=debug
    /// [default: info]
    #[arg(long, value_name = "LEVEL", env = "GATEMILL_LOG_LEVEL", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_level: Option<String>,

    /// How functions are kept apart from this machine and from each other [default: sandbox]
    #[arg(long, value_name = "CLASS", env = "GATEMILL_ISOLATION", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) isolation: Option<IsolationClass>,

    /// What functions reach of the network; never this host's own addresses, link-local ones (metadata services) and
    /// each other. Takes root and the program nft: this host then forwards packets from its sandboxes and translates
    /// their addresses [default: all in dev where that can be had, none in serve]
    #[arg(long, value_name = "POLICY", env = "GATEMILL_EGRESS", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) egress: Option<EgressPolicy>,

    /// Private addresses that functions have among themselves and this host, and that nothing else here uses
    /// [default: 10.187.0.0/16]
    #[arg(long, value_name = "RANGE", env = "GATEMILL_EGRESS_POOL", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) egress_pool: Option<String>,

    /// Name servers of functions that reach the network, at most three [default: this host's, as far as they are not on
    /// it]
    #[arg(
        long,
        value_name = "IP",
        env = "GATEMILL_RESOLVERS",
        hide_env = true,
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resolvers: Option<Vec<Ipv4Addr>>,

    /// What functions may do with the credentials of their role in AWS's APIs of this server: roles have no policies yet
    /// [default: account in dev, none in serve]
    #[arg(long, value_name = "ACCESS", env = "GATEMILL_FUNCTION_ACCESS", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) function_access: Option<FunctionAccess>,

    /// Further directories to look for interpreters in, such as /opt/python3.13/bin
    #[arg(
        long,
        value_name = "DIR",
        env = "GATEMILL_RUNTIME_DIR",
        hide_env = true,
        value_delimiter = ':'
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) runtime_dir: Option<Vec<PathBuf>>,

    /// Registries that container images of functions may come from, with their port as in an ImageUri; one on this
    /// machine is spoken to over plain HTTP [default: any in dev, none in serve]
    #[arg(
        long,
        value_name = "HOST",
        env = "GATEMILL_IMAGE_REGISTRY",
        hide_env = true,
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_registry: Option<Vec<String>>,

    /// Credentials for registries, a file in the form of Docker's config.json; read anew for every image
    #[arg(long, value_name = "FILE", env = "GATEMILL_IMAGE_CREDENTIALS", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_credentials: Option<PathBuf>,

    /// A directory with OCI image layouts; an ImageUri names a folder in it as oci-layout:FOLDER:TAG
    #[arg(long, value_name = "DIR", env = "GATEMILL_IMAGE_LAYOUTS", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_layouts: Option<PathBuf>,

    /// Allow a plain address that is not loopback, which whoever is in the network between can read; and for `gatemill dev`
    /// any address that is not loopback, although it takes every credential
    #[arg(
        long,
        value_name = "BOOL",
        env = "GATEMILL_INSECURE_PUBLIC",
        hide_env = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) insecure_public: Option<bool>,

    /// Threads that serve requests, each with a listener of its own [default: one per core]
    #[arg(long, value_name = "N", env = "GATEMILL_THREADS", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) threads: Option<usize>,

    /// Keep each of these threads on a core of its own [default: true with two cores or more]
    #[arg(
        long,
        value_name = "BOOL",
        env = "GATEMILL_PIN_THREADS",
        hide_env = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pin_threads: Option<bool>,

    /// How long stopping waits for calls that are running [default: 30]
    #[arg(long, value_name = "SECONDS", env = "GATEMILL_DRAIN_SECONDS", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drain_seconds: Option<u64>,

    /// Calls of one account that run at one time; further ones get 429, as with AWS [default: 1000]
    #[arg(long, value_name = "N", env = "GATEMILL_CONCURRENCY", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) concurrency: Option<u32>,

    /// How long an execution environment without calls is kept [default: 600]
    #[arg(long, value_name = "SECONDS", env = "GATEMILL_IDLE_SECONDS", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idle_seconds: Option<u64>,

    /// Memory that idle execution environments may hold together; those that are cheapest to make again go first [default: 4096]
    #[arg(long, value_name = "MB", env = "GATEMILL_IDLE_MEMORY_MB", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idle_memory_mb: Option<u64>,

    /// Environments per runtime in use that wait for a function, booted where there is something to boot; of runtimes that have to be started one by one, 2 at most. 0 for none [default: 4 per core]
    #[arg(long, value_name = "COUNT", env = "GATEMILL_PARKED", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parked: Option<usize>,

    /// Environments of each function in use that wait initialised, if its initialisation is long (50 ms and more), or its package large when it becomes Active [default: 0]
    #[arg(long, value_name = "COUNT", env = "GATEMILL_INITIALISED_AHEAD", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) initialised_ahead: Option<usize>,

    /// How long an asynchronous event waits after its first and its second failure, in seconds [default: 60,120]
    #[arg(
        long,
        value_name = "SECONDS",
        env = "GATEMILL_EVENT_WAITS",
        hide_env = true,
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event_waits: Option<Vec<u32>>,

    /// Requests a second that the APIs of an account take together, as AWS's 10,000 [default: no limit]
    #[arg(long, value_name = "COUNT", env = "GATEMILL_API_RATE", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_rate: Option<u32>,

    /// Requests that may come to the APIs of an account at once, as AWS's 5,000 [default: no limit, or 5,000 with a rate]
    #[arg(long, value_name = "COUNT", env = "GATEMILL_API_BURST", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_burst: Option<u32>,

    /// How long a client may say nothing, or read nothing of what it is sent, before its connection is ended; WebSocket
    /// connections have settings of their own [default: 75]
    #[arg(long, value_name = "SECONDS", env = "GATEMILL_CLIENT_WAIT_SECONDS", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_wait_seconds: Option<u64>,

    /// How long a WebSocket connection may be idle [default: 600, as AWS's]
    #[arg(long, value_name = "SECONDS", env = "GATEMILL_WEBSOCKET_IDLE_SECONDS", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) websocket_idle_seconds: Option<u64>,

    /// How long a WebSocket connection lives [default: 7200, as AWS's]
    #[arg(long, value_name = "SECONDS", env = "GATEMILL_WEBSOCKET_LIFE_SECONDS", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) websocket_life_seconds: Option<u64>,

    /// A directory of root certificates, *.pem, that vouch for the servers behind HTTP integrations, beside the public ones
    #[arg(long, value_name = "DIR", env = "GATEMILL_INTEGRATION_ROOTS", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) integration_roots: Option<PathBuf>,

    /// Give streamed answers the bandwidth that AWS gives them: 6 MB at once, then 2 MB a second [default: false]
    #[arg(
        long,
        value_name = "BOOL",
        env = "GATEMILL_LIMIT_STREAM_BANDWIDTH",
        hide_env = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit_stream_bandwidth: Option<bool>,

    /// Take settings of functions that nothing here can enforce: VPCs, file systems, KMS keys. They are shown again and have no
    /// effect, and the log says so; without this they are refused [default: false]
    #[arg(
        long,
        value_name = "BOOL",
        env = "GATEMILL_ACCEPT_UNENFORCEABLE",
        hide_env = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) accept_unenforceable: Option<bool>,

    /// A directory of root certificates, *.pem: packages that are signed below them are signed code for code signing
    /// configurations
    #[arg(long, value_name = "DIR", env = "GATEMILL_SIGNING_ROOTS", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signing_roots: Option<PathBuf>,

    /// A domain of yours, below which every name API-ID.execute-api.DOMAIN and URL-ID.lambda-url.REGION.DOMAIN leads
    /// here: the ApiEndpoint and FunctionUrl of answers are made of it
    #[arg(long, value_name = "DOMAIN", env = "GATEMILL_API_DOMAIN", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_domain: Option<String>,

    /// A receiver of OpenTelemetry's OTLP over HTTP, such as http://127.0.0.1:4318, that each request is told of as a span with
    /// the stages of its path [default: none]
    #[arg(long, value_name = "URL", env = "GATEMILL_OTLP_ENDPOINT", hide_env = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) otlp_endpoint: Option<String>,

    /// The services that functions are fed from and answer to; in the file alone, because there are keys among it.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) services: Option<ServiceTables>,
}

/// How functions are isolated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum IsolationClass {
    /// Namespaces, a filter of system calls, a root file system and a uid of its own, limits by cgroup
    Sandbox,
    /// The same, and each process is started by itself and forked from nobody: first calls take longer
    Strict,
    /// None: functions run as ordinary processes of the server's user. For machines that can do nothing else
    Process,
}

/// What functions reach of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EgressPolicy {
    /// Nothing but Gatemill itself
    None,
    /// What has a public address, and the resolvers
    Internet,
    /// What this host reaches, private networks as well
    All,
}

impl EgressPolicy {
    /// The word for it, as on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Internet => "internet",
            Self::All => "all",
        }
    }
}

/// What functions may do in AWS's APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FunctionAccess {
    /// Nothing but ask who they are
    None,
    /// Everything in their own account
    Account,
}

/// The two ways in which the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// For a laptop or CI: any credentials, nearest runtime, reset
    Dev,
    /// Production: real credentials, one region, exact runtimes
    Serve,
}

impl Mode {
    /// What functions reach of the network where nothing is said. As with AWS on a developer's machine; in production
    /// only what was asked for, because it changes the host.
    fn egress(self) -> EgressPolicy {
        match self {
            Self::Dev => EgressPolicy::All,
            Self::Serve => EgressPolicy::None,
        }
    }

    /// What functions may do in AWS's APIs where nothing is said. In dev everybody may do everything anyway.
    fn function_access(self) -> FunctionAccess {
        match self {
            Self::Dev => FunctionAccess::Account,
            Self::Serve => FunctionAccess::None,
        }
    }

    /// The word for it, as on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Serve => "serve",
        }
    }
}

/// What holds. Printed by `check-config`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Configuration {
    /// Which of the two ways.
    pub(crate) mode: Mode,
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Where to speak TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_listen: Option<SocketAddr>,
    /// With which certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_certificates: Option<PathBuf>,
    /// Where trust stores are, if not in S3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_truststores: Option<PathBuf>,
    /// Where everything durable lives.
    pub(crate) data_dir: PathBuf,
    /// Twelve digits.
    pub(crate) account: String,
    /// Such as `us-east-1`.
    pub(crate) region: String,
    /// A filter in the form of `tracing`.
    pub(crate) log_level: String,
    /// How functions are isolated.
    pub(crate) isolation: IsolationClass,
    /// What functions reach of the network.
    pub(crate) egress: EgressPolicy,
    /// Whether that was asked for, and is not merely the default.
    #[serde(skip)]
    pub(crate) egress_asked: bool,
    /// The addresses that functions have.
    #[serde(serialize_with = "as_text")]
    pub(crate) egress_pool: Pool,
    /// Their name servers; none means this host's.
    pub(crate) resolvers: Vec<Ipv4Addr>,
    /// What functions may do in AWS's APIs.
    pub(crate) function_access: FunctionAccess,
    /// Where else interpreters are looked for.
    pub(crate) runtime_dir: Vec<PathBuf>,
    /// Registries that images may come from; `None` is any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_registry: Option<Vec<String>>,
    /// Where credentials for them are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_credentials: Option<PathBuf>,
    /// Where OCI image layouts are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_layouts: Option<PathBuf>,
    /// Whether an address that is not loopback is allowed.
    pub(crate) insecure_public: bool,
    /// Threads that serve requests.
    pub(crate) threads: usize,
    /// Whether each keeps to a core of its own.
    pub(crate) pin_threads: bool,
    /// How long stopping waits for running calls.
    pub(crate) drain_seconds: u64,
    /// Calls of one account at one time.
    pub(crate) concurrency: u32,
    /// How long an idle environment is kept.
    pub(crate) idle_seconds: u64,
    /// Memory of idle environments together.
    pub(crate) idle_memory_mb: u64,
    /// How many environments wait for a function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parked: Option<usize>,
    /// How many environments of a function wait initialised.
    pub(crate) initialised_ahead: usize,
    /// How long an event waits after each failure, in seconds.
    pub(crate) event_waits: Vec<u32>,
    /// Requests a second of an account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_rate: Option<u32>,
    /// Requests of an account at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_burst: Option<u32>,
    /// How long a client may say or read nothing.
    pub(crate) client_wait_seconds: u64,
    /// How long a WebSocket connection may be idle.
    pub(crate) websocket_idle_seconds: u64,
    /// How long a WebSocket connection lives.
    pub(crate) websocket_life_seconds: u64,
    /// Who vouches for servers behind integrations, beside the public roots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) integration_roots: Option<PathBuf>,
    /// Whether streamed answers have AWS's bandwidth.
    pub(crate) limit_stream_bandwidth: bool,
    /// Whether settings of functions are taken that nothing enforces.
    pub(crate) accept_unenforceable: bool,
    /// Where the roots of signed code are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signing_roots: Option<PathBuf>,
    /// Where spans are exported to.
    #[serde(serialize_with = "as_optional_text", skip_serializing_if = "Option::is_none")]
    pub(crate) otlp_endpoint: Option<Uri>,
    /// The domain of `ApiEndpoint` and `FunctionUrl`, where one is ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_domain: Option<String>,
    /// The services that functions are fed from and answer to.
    #[serde(
        serialize_with = "services::without_secrets",
        skip_serializing_if = "services::is_none"
    )]
    pub(crate) services: gatemill_aws::Services,
}

impl Settings {
    /// The settings of a file: TOML, whose keys are the long flags.
    ///
    /// # Errors
    /// When the file cannot be read, is no TOML, or has a key that no setting has.
    pub(crate) fn from_file(path: &Path) -> Result<Self, Error> {
        let unreadable = |source| Error::ConfigUnreadable { path: path.to_owned(), source };
        let file = fs::File::open(path).map_err(unreadable)?;
        let mut text = String::new();
        file.take(limits::CONFIG_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
        toml::from_str(&text).map_err(|error| Error::ConfigWrong {
            path: path.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        })
    }

    /// These settings, and for what they leave open, those of `lower`.
    pub(crate) fn over(self, lower: Self) -> Self {
        Self {
            listen: self.listen.or(lower.listen),
            tls_listen: self.tls_listen.or(lower.tls_listen),
            tls_certificates: self.tls_certificates.or(lower.tls_certificates),
            tls_truststores: self.tls_truststores.or(lower.tls_truststores),
            data_dir: self.data_dir.or(lower.data_dir),
            account: self.account.or(lower.account),
            region: self.region.or(lower.region),
            log_level: self.log_level.or(lower.log_level),
            isolation: self.isolation.or(lower.isolation),
            egress: self.egress.or(lower.egress),
            egress_pool: self.egress_pool.or(lower.egress_pool),
            resolvers: self.resolvers.or(lower.resolvers),
            function_access: self.function_access.or(lower.function_access),
            runtime_dir: self.runtime_dir.or(lower.runtime_dir),
            image_registry: self.image_registry.or(lower.image_registry),
            image_credentials: self.image_credentials.or(lower.image_credentials),
            image_layouts: self.image_layouts.or(lower.image_layouts),
            insecure_public: self.insecure_public.or(lower.insecure_public),
            threads: self.threads.or(lower.threads),
            pin_threads: self.pin_threads.or(lower.pin_threads),
            drain_seconds: self.drain_seconds.or(lower.drain_seconds),
            concurrency: self.concurrency.or(lower.concurrency),
            idle_seconds: self.idle_seconds.or(lower.idle_seconds),
            idle_memory_mb: self.idle_memory_mb.or(lower.idle_memory_mb),
            parked: self.parked.or(lower.parked),
            initialised_ahead: self.initialised_ahead.or(lower.initialised_ahead),
            event_waits: self.event_waits.or(lower.event_waits),
            api_rate: self.api_rate.or(lower.api_rate),
            api_burst: self.api_burst.or(lower.api_burst),
            client_wait_seconds: self.client_wait_seconds.or(lower.client_wait_seconds),
            websocket_idle_seconds: self.websocket_idle_seconds.or(lower.websocket_idle_seconds),
            websocket_life_seconds: self.websocket_life_seconds.or(lower.websocket_life_seconds),
            integration_roots: self.integration_roots.or(lower.integration_roots),
            limit_stream_bandwidth: self.limit_stream_bandwidth.or(lower.limit_stream_bandwidth),
            accept_unenforceable: self.accept_unenforceable.or(lower.accept_unenforceable),
            signing_roots: self.signing_roots.or(lower.signing_roots),
            otlp_endpoint: self.otlp_endpoint.or(lower.otlp_endpoint),
            api_domain: self.api_domain.or(lower.api_domain),
            services: self.services.or(lower.services),
        }
    }

    /// Fills in the defaults and checks the rules.
    ///
    /// # Errors
    /// One sentence about the first setting that cannot hold.
    pub(crate) fn resolve(self, mode: Mode, cores: usize) -> Result<Configuration, Error> {
        let insecure_public = self.insecure_public.unwrap_or(false);
        let listen = self.listen.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4566));
        if !listen.ip().is_loopback() && !insecure_public {
            return Err(Error::PublicAddress { address: listen });
        }
        check_tls(mode, self.tls_listen, self.tls_certificates.as_deref(), insecure_public)?;
        let account = account(self.account)?;
        let region = region(self.region)?;
        let log_level = log_level(self.log_level)?;
        let api_domain = self.api_domain.map(api_domain).transpose()?;
        let services = services::resolve(self.services, &region, environment)?;
        let event_waits = event_waits(self.event_waits)?;
        let egress_pool = egress_pool(self.egress_pool)?;
        let resolvers = resolvers(self.resolvers)?;
        let threads = self.threads.unwrap_or(cores.min(limits::THREADS_MAX));
        if !(1..=limits::THREADS_MAX).contains(&threads) {
            let rule = format!("there can be 1 to {} threads", limits::THREADS_MAX);
            return Err(wrong("threads", &rule, &threads.to_string()));
        }
        let drain_seconds = self.drain_seconds.unwrap_or(30);
        if drain_seconds > limits::DRAIN_SECONDS_MAX {
            let rule = format!("a drain takes at most {} seconds", limits::DRAIN_SECONDS_MAX);
            return Err(wrong("drain-seconds", &rule, &drain_seconds.to_string()));
        }
        let websocket = gatemill_gateway::WebSocketSettings::default();
        Ok(Configuration {
            mode,
            listen,
            tls_listen: self.tls_listen,
            tls_certificates: self.tls_certificates,
            tls_truststores: self.tls_truststores,
            data_dir: self.data_dir.unwrap_or_else(|| PathBuf::from(".gatemill")),
            account,
            region,
            log_level,
            isolation: self.isolation.unwrap_or(IsolationClass::Sandbox),
            egress: self.egress.unwrap_or(mode.egress()),
            egress_asked: self.egress.is_some(),
            egress_pool,
            resolvers,
            function_access: self.function_access.unwrap_or(mode.function_access()),
            runtime_dir: self.runtime_dir.unwrap_or_default(),
            image_registry: match mode {
                Mode::Dev => self.image_registry,
                // What is fetched is a caller's choice; in production the operator says from where.
                Mode::Serve => Some(self.image_registry.unwrap_or_default()),
            },
            image_credentials: self.image_credentials,
            image_layouts: self.image_layouts,
            insecure_public,
            threads,
            pin_threads: self.pin_threads.unwrap_or(cores >= 2),
            drain_seconds,
            concurrency: self.concurrency.unwrap_or(1_000),
            idle_seconds: self.idle_seconds.unwrap_or(600),
            idle_memory_mb: self.idle_memory_mb.unwrap_or(4096),
            parked: self.parked,
            initialised_ahead: self.initialised_ahead.unwrap_or(0),
            event_waits,
            api_rate: self.api_rate,
            api_burst: self.api_burst,
            client_wait_seconds: seconds(
                "client-wait-seconds",
                self.client_wait_seconds,
                limits::HEAD_WAIT_MAX,
            )?,
            websocket_idle_seconds: seconds(
                "websocket-idle-seconds",
                self.websocket_idle_seconds,
                websocket.idle,
            )?,
            websocket_life_seconds: seconds(
                "websocket-life-seconds",
                self.websocket_life_seconds,
                websocket.life,
            )?,
            integration_roots: self.integration_roots,
            limit_stream_bandwidth: self.limit_stream_bandwidth.unwrap_or(false),
            accept_unenforceable: self.accept_unenforceable.unwrap_or(false),
            signing_roots: self.signing_roots,
            otlp_endpoint: self.otlp_endpoint.as_deref().map(otlp_endpoint).transpose()?,
            api_domain,
            services,
        })
    }
}

impl Configuration {
    /// How long a client may say or read nothing.
    pub(crate) fn client_wait(&self) -> Duration {
        Duration::from_secs(self.client_wait_seconds)
    }

    /// How long stopping waits for running calls.
    pub(crate) fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where configuration is read")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// TLS has an address and certificates, or neither; and it does not make a server safe that believes everybody.
fn check_tls(
    mode: Mode,
    listen: Option<SocketAddr>,
    certificates: Option<&Path>,
    insecure_public: bool,
) -> Result<(), Error> {
    match (listen, certificates) {
        (Some(_), None) => Err(Error::HalfTls { has: "tls-listen", lacks: "tls-certificates" }),
        (None, Some(_)) => Err(Error::HalfTls { has: "tls-certificates", lacks: "tls-listen" }),
        (Some(address), Some(_))
            if mode == Mode::Dev && !address.ip().is_loopback() && !insecure_public =>
        {
            Err(Error::PublicDev { address })
        }
        _ => Ok(()),
    }
}

fn account(given: Option<String>) -> Result<String, Error> {
    let account = given.unwrap_or_else(|| "000000000000".to_owned());
    if gatemill_wire::arn::is_account(&account) {
        return Ok(account);
    }
    Err(wrong("account", "an account id has twelve digits", &account))
}

fn region(given: Option<String>) -> Result<String, Error> {
    let region = given.unwrap_or_else(|| "us-east-1".to_owned());
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=32).contains(&region.len()) && region.bytes().all(fits) {
        return Ok(region);
    }
    Err(wrong("region", "a region is named like us-east-1", &region))
}

/// A time that is waited, which is one.
fn seconds(setting: &'static str, given: Option<u64>, default: Duration) -> Result<u64, Error> {
    match given.unwrap_or(default.as_secs()) {
        waits @ 1..=limits::WAIT_SECONDS_MAX => Ok(waits),
        other => {
            let rule = format!("it is 1 to {} seconds", limits::WAIT_SECONDS_MAX);
            Err(wrong(setting, &rule, &other.to_string()))
        }
    }
}

fn event_waits(given: Option<Vec<u32>>) -> Result<Vec<u32>, Error> {
    let waits = given.unwrap_or_else(|| vec![60, 120]);
    if waits.len() == 2 {
        return Ok(waits);
    }
    let rule = "an event is tried again at most twice, so there are two waits";
    Err(wrong("event-waits", rule, &waits.len().to_string()))
}

fn log_level(given: Option<String>) -> Result<String, Error> {
    let level = given.unwrap_or_else(|| "info".to_owned());
    if tracing_subscriber::EnvFilter::try_new(&level).is_ok() {
        return Ok(level);
    }
    let rule = "use error, warn, info, debug, trace, or a filter such as info,hyper=debug";
    Err(wrong("log-level", rule, &level))
}

fn api_domain(domain: String) -> Result<String, Error> {
    let label = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(fits)
    };
    if domain.len() <= 200 && domain.split('.').all(label) {
        return Ok(domain);
    }
    Err(wrong("api-domain", "a domain is named like apis.example.com", &domain))
}

fn egress_pool(given: Option<String>) -> Result<Pool, Error> {
    let Some(given) = given else { return Ok(Pool::default()) };
    given.parse().map_err(|rule: PoolError| wrong("egress-pool", &rule.to_string(), &given))
}

fn resolvers(given: Option<Vec<Ipv4Addr>>) -> Result<Vec<Ipv4Addr>, Error> {
    let given = given.unwrap_or_default();
    if given.len() > MAX_RESOLVERS {
        let rule = format!("programs ask at most {MAX_RESOLVERS} name servers");
        return Err(wrong("resolvers", &rule, &given.len().to_string()));
    }
    match given.iter().find(|address| address.is_loopback()) {
        Some(own) => {
            let rule = "functions do not reach this host's own addresses";
            Err(wrong("resolvers", rule, &own.to_string()))
        }
        None => Ok(given),
    }
}

fn as_text<S: serde::Serializer>(pool: &Pool, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(pool)
}

fn as_optional_text<S: serde::Serializer>(uri: &Option<Uri>, to: S) -> Result<S::Ok, S::Error> {
    match uri {
        Some(uri) => to.collect_str(uri),
        None => to.serialize_none(),
    }
}

/// The receiver of spans, which is a URL.
fn otlp_endpoint(text: &str) -> Result<Uri, Error> {
    let uri = text.parse::<Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
    });
    uri.ok_or_else(|| wrong("otlp-endpoint", "it is a URL like http://127.0.0.1:4318", text))
}

fn wrong(setting: &'static str, rule: &str, value: &str) -> Error {
    Error::Setting { setting, rule: rule.to_owned(), value: value.to_owned() }
}

#[cfg(test)]
#[path = "configuration_tests.rs"]
mod tests;
