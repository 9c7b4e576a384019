//! Parse: whose the request is, its limits, its stage, and the path that routes are chosen by.

use std::sync::Arc;

use gatemill_wire::{
    payload::host::{authority, split_port},
    percent,
};
use http::{Uri, header, request::Parts};

use super::{Exchange, Refusal, Refused};
use crate::{
    ClientCert, Gateway,
    domain::{Domains, Led},
    limits::HEAD_BYTES_MAX,
    snapshot::StageSnapshot,
};

/// The API that a request belongs to, and how it said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The API's id.
    pub(crate) api_id: String,
    pub(crate) form: Form,
}

/// How a request names its API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// By host: `<api-id>.execute-api.<domain>`.
    Host {
        /// The host without its port.
        domain_name: String,
    },
    /// By path: `/_aws/execute-api/<api-id>/<stage>/…`.
    Path {
        /// The stage, decoded.
        stage: String,
        /// Where in the URI's path the rest begins: at a slash, or at its end.
        rest: usize,
    },
    /// By a domain of a customer.
    Domain {
        /// The domain's name, as the request has it.
        domain_name: String,
        /// What of the path chose the API, without slashes around it; empty when nothing did.
        base_path: String,
        /// The stage that the domain leads to; `None` when it leads nowhere.
        stage: Option<String>,
        /// Where in the URI's path the rest begins.
        rest: usize,
        /// Whether its clients have shown a certificate.
        is_mutual: bool,
        /// Whether events show all names of headers in lower case.
        lower_case: bool,
    },
}

/// Where a request goes: its stage, and what of its path is for the routes.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) stage: Arc<StageSnapshot>,
    /// Where in the URI's path the route's path begins.
    from: usize,
    /// The path that events show, percent-encoded: a named stage stands before it.
    pub(crate) raw_path: String,
    /// The path that events of format 1.0 show: with it what a domain's mapping matched.
    pub(crate) full_path: String,
}

const PATH_FORMS: [&str; 2] = ["/_aws/execute-api/", "/execute-api/"];

impl Gateway {
    /// Whether a request belongs to the data plane: by its host `<api-id>.execute-api.<anything>`, or by the path form
    /// `/_aws/execute-api/<api-id>/<stage>/…` (also without `/_aws`), or by the host of a domain. Whether the API exists
    /// is not asked here.
    pub fn claims(&self, parts: &Parts) -> Option<Target> {
        self.claims_of(None, parts)
    }

    /// The same for a client that proved who it is. A domain with mutual TLS leads others nowhere.
    pub fn claims_of(&self, client: Option<&ClientCert>, parts: &Parts) -> Option<Target> {
        by_host(parts)
            .or_else(|| by_domain(&self.domains, client, parts))
            .or_else(|| by_path(&parts.uri))
    }
}

fn by_domain(domains: &Domains, client: Option<&ClientCert>, parts: &Parts) -> Option<Target> {
    let (host, _) = split_port(authority(parts)?);
    let domain_name = host.to_ascii_lowercase();
    let domain = domains.find(&domain_name)?;
    let is_mutual = domain.tls.trust.is_some();
    Some(match domain.lead(parts).filter(|_| domain.admits(client)) {
        None => {
            let form = Form::Domain {
                domain_name,
                base_path: String::new(),
                stage: None,
                rest: 0,
                is_mutual,
                lower_case: false,
            };
            Target { api_id: String::new(), form }
        }
        Some(Led { api, stage, base_path, rest, lower_case }) => {
            let (base_path, stage) = (base_path.to_owned(), Some(stage.to_owned()));
            Target {
                api_id: api.to_owned(),
                form: Form::Domain { domain_name, base_path, stage, rest, is_mutual, lower_case },
            }
        }
    })
}

impl Target {
    /// The stage that a URI's path names, decoded, and what follows it; for APIs whose stage is always named. With the
    /// host form a path without a segment is for `$default`.
    pub(crate) fn stage_of<'u>(&self, uri: &'u Uri) -> (String, &'u str) {
        let path = uri.path();
        let (stage, rest) = match &self.form {
            Form::Path { stage, rest } => (stage.clone(), &path[(*rest).min(path.len())..]),
            Form::Domain { stage, rest, .. } => {
                (stage.clone().unwrap_or_default(), &path[(*rest).min(path.len())..])
            }
            Form::Host { .. } => {
                let path = path.strip_prefix('/').unwrap_or(path);
                let (segment, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
                (percent::decode(segment).into_owned(), rest)
            }
        };
        if stage.is_empty() { (DEFAULT.to_owned(), rest) } else { (stage, rest) }
    }

    /// The host of the API, as its events show it.
    pub(crate) fn domain_name(&self) -> String {
        match &self.form {
            Form::Host { domain_name } | Form::Domain { domain_name, .. } => domain_name.clone(),
            Form::Path { .. } => format!("{}.execute-api.localhost", self.api_id),
        }
    }

    /// Whether requests show the certificate of their client: those of a domain that asks for one.
    pub fn shows_client(&self) -> bool {
        matches!(self.form, Form::Domain { is_mutual: true, .. })
    }

    /// Whether the API is reached under the name that it was given, and not one of its owner's.
    pub(crate) fn is_own_endpoint(&self) -> bool {
        matches!(self.form, Form::Host { .. } | Form::Path { .. })
    }
}

fn by_host(parts: &Parts) -> Option<Target> {
    let (domain_name, _) = split_port(authority(parts)?);
    let domain_name = domain_name.to_ascii_lowercase();
    let (api_id, rest) = domain_name.split_once('.')?;
    let domain = rest.strip_prefix("execute-api.")?;
    if domain.is_empty() || !is_api_id(api_id) {
        return None;
    }
    Some(Target { api_id: api_id.to_owned(), form: Form::Host { domain_name } })
}

fn by_path(uri: &Uri) -> Option<Target> {
    let path = uri.path();
    let prefix = PATH_FORMS.into_iter().find(|prefix| path.starts_with(prefix))?;
    let mut segments = path[prefix.len()..].splitn(3, '/');
    let (api_id, stage) = (segments.next()?, segments.next().unwrap_or_default());
    if !is_api_id(api_id) {
        return None;
    }
    let rest = (prefix.len() + api_id.len() + 1 + stage.len()).min(path.len());
    let form = Form::Path { stage: percent::decode(stage).into_owned(), rest };
    Some(Target { api_id: api_id.to_ascii_lowercase(), form })
}

/// Whether a text has the form of an API's id; longer ones are nobody's.
fn is_api_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Finds the stage. The first segment of a host form's path is a stage if one has this very name, which beats a route
/// of that name; otherwise the whole path is for the stage `$default`.
pub(super) async fn parse(gateway: &Gateway, exchange: &Exchange) -> Result<Place, Refused> {
    check_head(&exchange.head)?;
    if let Form::Domain { stage: None, .. } = exchange.target.form {
        return Err(Refusal::Forbidden.because("the domain leads nowhere"));
    }
    let api = gateway.live.get(&exchange.target.api_id).await;
    let api = api.map_err(|error| Refusal::Internal.because(error.to_string()))?;
    let api = api.ok_or_else(|| Refusal::NotFound.because("no such API"))?;
    let path = exchange.head.uri.path();
    let place = match &exchange.target.form {
        Form::Domain { stage, rest, .. } => {
            let stage = stage.as_deref().and_then(|stage| api.stage(stage));
            stage.map(|stage| (stage, *rest))
        }
        Form::Path { stage, rest } => api.stage(stage).map(|stage| (stage, *rest)),
        Form::Host { .. } => {
            let segment = path[1..].split('/').next().unwrap_or_default();
            let named = api.stage(&percent::decode(segment)).filter(|stage| stage.name != DEFAULT);
            match named {
                Some(stage) => Some((stage, 1 + segment.len())),
                None => api.stage(DEFAULT).map(|stage| (stage, 0)),
            }
        }
    };
    let (stage, from) = place.ok_or_else(|| Refusal::NotFound.because("no such stage"))?;
    let rest = &path[from..];
    let raw_path = match (stage.name.as_str(), rest) {
        (DEFAULT, "") => "/".to_owned(),
        (DEFAULT, rest) => rest.to_owned(),
        (name, rest) => format!("/{name}{rest}"),
    };
    let (raw_path, full_path) = match exchange.target.form {
        // Neither the stage nor what the mapping matched is in the path; format 1.0 shows the latter.
        Form::Domain { .. } if rest.starts_with('/') => (rest.to_owned(), path.to_owned()),
        Form::Domain { .. } => (format!("/{rest}"), path.to_owned()),
        Form::Host { .. } | Form::Path { .. } => (raw_path.clone(), raw_path),
    };
    Ok(Place { stage: Arc::clone(stage), from, raw_path, full_path })
}

const DEFAULT: &str = "$default";

impl Place {
    /// The same place with another path in what events show.
    pub(crate) fn moved(&self, path: String) -> Self {
        let stage = Arc::clone(&self.stage);
        Self { stage, from: self.from, raw_path: path.clone(), full_path: path }
    }

    /// The path that routes are chosen by, percent-encoded.
    pub(crate) fn path<'e>(&self, exchange: &'e Exchange) -> &'e str {
        match &exchange.head.uri.path()[self.from..] {
            "" => "/",
            path => path,
        }
    }
}

/// The limits of a request's head, and the shapes that two readers could read differently.
fn check_head(head: &Parts) -> Result<(), Refused> {
    let uri = &head.uri;
    if !uri.path().starts_with('/') {
        return Err(Refusal::BadRequest.because("the target is no path"));
    }
    let several = |name| head.headers.get_all(name).iter().nth(1).is_some();
    if several(header::HOST) || several(header::CONTENT_LENGTH) {
        return Err(Refusal::BadRequest.because("a header that may stand once stands twice"));
    }
    if head.headers.contains_key(header::TRANSFER_ENCODING)
        && head.headers.contains_key(header::CONTENT_LENGTH)
    {
        return Err(Refusal::BadRequest.because("two lengths of the body"));
    }
    let line = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    if line > HEAD_BYTES_MAX {
        return Err(Refusal::UriTooLong.because("the URL is too long"));
    }
    // Each header with its colon, space and line end.
    let headers = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    if line + headers.sum::<usize>() > HEAD_BYTES_MAX {
        return Err(Refusal::HeadersTooLarge.because("request line and headers are too large"));
    }
    Ok(())
}
