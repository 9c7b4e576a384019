//! The client for HTTP integrations: HTTP/1.1 as AWS's gateway speaks it, TLS with the public roots and the operator's,
//! and connections that are kept for the next request.
//!
//! A connection is read and written by whoever waits for its answer, in the same task, and between two requests by nobody:
//! a proxied request costs no task, no wake-up and no message between threads (`link`). Where connections may go is
//! decided where they are made (`egress`). Redirects are not followed, and a request that may have reached its server is not
//! sent a second time.

mod egress;
mod link;
#[cfg(test)]
mod tests;

use std::{fmt, fs, io, mem, path::Path, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use thread_local::ThreadLocal;
use tower_service::Service as _;

use self::{
    egress::{Dial, Forbidden},
    link::{Asked, Kept, Link, Origin},
};
use crate::error::Error;

pub use egress::{Egress, Network};
pub(crate) use link::UpstreamBody;

/// Why a server gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the integration's address is forbidden")]
    Forbidden,
    #[error("the integration cannot be reached: {0}")]
    Unreachable(String),
    #[error("the answer has the status {0}")]
    Status(u16),
    #[error("the answer cannot be read: {0}")]
    Unread(String),
}

/// The client.
pub(crate) struct Upstream {
    /// Each thread has connections of its own: one that another thread's reactor watches would cost every request that
    /// takes it two wake-ups of that thread.
    kept: ThreadLocal<Arc<Kept>>,
    dial: Dial,
    tls: ClientConfig,
    /// Asks servers for the name of their host.
    connector: HttpsConnector<Dial>,
}

impl Upstream {
    /// `roots` is a directory of certificates that vouch for servers beside the public ones.
    pub(crate) fn new(egress: &Egress, roots: Option<&Path>) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Error::Tls)?
            .with_root_certificates(trusted(roots).map_err(Error::Roots)?)
            .with_no_client_auth();
        let dial = Dial::new(egress);
        let connector = connector(tls.clone(), dial.clone(), None);
        Ok(Self { kept: ThreadLocal::new(), dial, tls, connector })
    }

    /// Sends a request and waits for the head of its answer. `name` is whose certificate the server has to have in place of
    /// its host's.
    pub(crate) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        name: Option<&str>,
    ) -> Result<Response<UpstreamBody>, Failure> {
        let uri = mem::take(request.uri_mut());
        let origin = address(&mut request, &uri, name)?;
        let kept = self.kept.get_or_default();
        while let Some(link) = kept.take(&origin) {
            match link.ask(request).await {
                Asked::Answered(response) => return Ok(response),
                // It was closed while it waited; the next one may not be.
                Asked::NotSent(unsent) => request = unsent,
                Asked::Failed(error) => return Err(failure(&error)),
            }
        }
        // Boxed: most requests find a connection, and are moved without the room for making one.
        let link = Box::pin(self.connect(uri, origin, kept)).await?;
        match link.ask(request).await {
            Asked::Answered(response) => Ok(response),
            Asked::NotSent(_) => Err(Failure::Unreachable("it closes new connections".to_owned())),
            Asked::Failed(error) => Err(failure(&error)),
        }
    }

    /// Reads a document of at most this size.
    pub(crate) async fn fetch(&self, uri: Uri, bytes_max: usize) -> Result<Bytes, Failure> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri;
        let response = self.send(request, None).await?;
        if response.status() != StatusCode::OK {
            return Err(Failure::Status(response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), bytes_max).collect().await;
        body.map(|body| body.to_bytes()).map_err(|error| Failure::Unread(error.to_string()))
    }

    async fn connect(
        &self,
        uri: Uri,
        origin: Origin,
        kept: &Arc<Kept>,
    ) -> Result<Box<Link>, Failure> {
        let mut connector = match &origin.name {
            None => self.connector.clone(),
            Some(name) => connector(self.tls.clone(), self.dial.clone(), Some(name.clone())),
        };
        let stream = connector.call(uri).await.map_err(|error| failure(&*error))?;
        Link::open(stream, origin, kept).await.map_err(|error| failure(&error))
    }
}

/// Gives a request the form that it has on the wire, and says where it goes.
fn address(
    request: &mut Request<Full<Bytes>>,
    uri: &Uri,
    name: Option<&str>,
) -> Result<Origin, Failure> {
    let unfit = |why: &str| Failure::Unreachable(format!("{uri}: {why}"));
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(unfit("no server is named"));
    };
    // What follows would be a tunnel and no answer.
    if request.method() == http::Method::CONNECT {
        return Err(unfit("CONNECT is for proxies"));
    }
    let is_tls = scheme == "https";
    let name = name.map(|name| ServerName::try_from(name.to_owned())).transpose();
    let name = name.map_err(|error| unfit(&error.to_string()))?.filter(|_| is_tls);
    if !request.headers().contains_key(header::HOST) {
        let port = authority.port_u16().filter(|port| *port != if is_tls { 443 } else { 80 });
        let host = match port {
            None => HeaderValue::from_str(authority.host()),
            Some(port) => HeaderValue::from_str(&format!("{}:{port}", authority.host())),
        };
        let host = host.map_err(|error| unfit(&error.to_string()))?;
        request.headers_mut().insert(header::HOST, host);
    }
    let path = uri.path_and_query().cloned();
    *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    Ok(Origin { is_tls, authority: authority.clone(), name })
}

/// The public roots, and those of a directory.
fn trusted(roots: Option<&Path>) -> io::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let Some(roots) = roots else { return Ok(store) };
    for entry in fs::read_dir(roots)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "pem") {
            continue;
        }
        let unread = |why: String| io::Error::other(format!("{}: {why}", path.display()));
        let certificates = CertificateDer::pem_file_iter(&path);
        for certificate in certificates.map_err(|error| unread(error.to_string()))? {
            let certificate = certificate.map_err(|error| unread(error.to_string()))?;
            store.add(certificate).map_err(|error| unread(error.to_string()))?;
        }
    }
    Ok(store)
}

/// Makes connections; `name` is what servers are asked for in place of their host.
fn connector(
    tls: ClientConfig,
    dial: Dial,
    name: Option<ServerName<'static>>,
) -> HttpsConnector<Dial> {
    let mut https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    if let Some(name) = name {
        https = https.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    https.enable_http1().wrap_connector(dial)
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}

/// The error with its causes; among them may be the guard's.
fn failure(error: &(dyn std::error::Error + 'static)) -> Failure {
    let mut text = error.to_string();
    let mut cause = Some(error);
    while let Some(error) = cause {
        // An `io::Error` shows its own cause's source, not the cause itself.
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if error.is::<Forbidden>() || inside.is_some_and(|inside| inside.is::<Forbidden>()) {
            return Failure::Forbidden;
        }
        cause = error.source();
        if let Some(cause) = cause {
            text = format!("{text}: {cause}");
        }
    }
    Failure::Unreachable(text)
}
