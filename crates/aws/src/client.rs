//! Signing, sending, time-outs and retries.
//!
//! Connections are pooled; TLS trusts the public roots. Each attempt is signed anew, so that a retry is not late. What
//! is retried is what AWS's clients retry in their standard mode: failures of the service, throttles, and connections
//! that break. A call may therefore happen twice, as with every AWS client.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use gatemill_wire::{Clock, Entropy, Signer};
use http::{HeaderMap, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{sleep, timeout};

use crate::{
    Endpoint, Error, Request, Service, Services,
    limits::{
        BACKOFF_FIRST, BACKOFF_MAX, CONNECT_WAIT, ERROR_TEXT_BYTES_MAX, IDLE_PER_HOST_MAX,
        IDLE_WAIT, REQUEST_BYTES_MAX,
    },
    request::unsendable,
};

type Http = HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client of the configured services.
pub struct Client {
    http: Http,
    /// For answers that go on and on, which AWS gives over HTTP/2 alone.
    streams: Http,
    services: Services,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// A service's answer to a call; that of [`Client::call`] had success.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// The body, read as JSON.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when it is not the JSON that was expected.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| Error::Unreadable(error.to_string()))
    }
}

/// The body of an answer, as it comes.
pub struct Stream(Incoming);

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl Stream {
    /// The next bytes; `None` at the end. May be dropped while it waits, and asked again.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the connection breaks.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(frame) = self.0.frame().await {
            let frame = frame.map_err(|error| Error::Unreachable(chain(&error)))?;
            // What is no data is trailers, which say nothing here.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("services", &self.services).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of these services. It connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::Unsendable`] when there is no TLS.
    pub fn new(
        services: Services,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Error> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_WAIT));
        let connector = || {
            let builder = HttpsConnectorBuilder::new()
                .with_provider_and_webpki_roots(provider.clone())
                .map_err(unsendable)?;
            Ok(builder.https_or_http().enable_http1())
        };
        let http = |connector| {
            HttpClient::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_WAIT)
                .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
                .build(connector)
        };
        Ok(Self {
            http: http(connector()?.wrap_connector(tcp.clone())),
            streams: http(connector()?.enable_http2().wrap_connector(tcp)),
            services,
            clock,
            entropy,
        })
    }

    /// The services that are configured.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Where a service is for a resource of this region, or of none.
    ///
    /// # Errors
    /// [`Error::NotConfigured`].
    pub fn endpoint(&self, service: Service, region: Option<&str>) -> Result<Endpoint, Error> {
        self.services.endpoint(service, region)
    }

    /// Makes a call; tries it again where that may help.
    ///
    /// # Errors
    /// That of the last attempt.
    pub async fn call(&self, endpoint: &Endpoint, request: Request) -> Result<Answer, Error> {
        if request.body.len() > REQUEST_BYTES_MAX {
            return Err(Error::RequestTooLarge);
        }
        let mut attempt = 1;
        loop {
            match self.attempt(endpoint, &request).await {
                Err(error) if error.is_transient() && attempt < request.attempts_max => {
                    sleep(self.backoff(attempt)).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Makes a call once, and gives back what the service answers, a refusal as well: for who passes it on.
    ///
    /// # Errors
    /// When there is no answer, or none that could be read.
    pub async fn answer(&self, endpoint: &Endpoint, request: Request) -> Result<Answer, Error> {
        if request.body.len() > REQUEST_BYTES_MAX {
            return Err(Error::RequestTooLarge);
        }
        let sent = self.signed(endpoint, &request)?;
        match timeout(request.wait, self.exchange(sent, request.answer_bytes_max)).await {
            Ok(answered) => answered,
            Err(_) => Err(Error::TimedOut),
        }
    }

    /// Makes a call once whose answer goes on for long; the time of the request is that until it begins.
    ///
    /// # Errors
    /// When there is no answer, or it is a refusal.
    pub async fn stream(&self, endpoint: &Endpoint, request: Request) -> Result<Stream, Error> {
        let sent = self.signed(endpoint, &request)?;
        let answering = async {
            let answer = self.streams.request(sent).await;
            let answer = answer.map_err(|error| Error::Unreachable(chain(&error)))?;
            if answer.status().is_success() {
                return Ok(Stream(answer.into_body()));
            }
            let (parts, body) = answer.into_parts();
            let body = collect(body, request.answer_bytes_max).await?;
            Err(refusal(parts.status, &parts.headers, &body))
        };
        timeout(request.wait, answering).await.unwrap_or(Err(Error::TimedOut))
    }

    async fn attempt(&self, endpoint: &Endpoint, request: &Request) -> Result<Answer, Error> {
        let sent = self.signed(endpoint, request)?;
        match timeout(request.wait, self.exchange(sent, request.answer_bytes_max)).await {
            Ok(Ok(answer)) if !answer.status.is_success() => {
                Err(refusal(answer.status, &answer.headers, &answer.body))
            }
            Ok(answered) => answered,
            Err(_) => Err(Error::TimedOut),
        }
    }

    fn signed(
        &self,
        endpoint: &Endpoint,
        request: &Request,
    ) -> Result<http::Request<Full<Bytes>>, Error> {
        let uri: Uri = endpoint.url(&request.path).parse().map_err(unsendable)?;
        let mut http = http::Request::new(());
        *http.method_mut() = request.method.clone();
        *http.uri_mut() = uri;
        for (name, value) in &request.headers {
            http.headers_mut().append(name, value.clone());
        }
        let (mut parts, ()) = http.into_parts();
        let signer = Signer {
            access_key_id: &endpoint.credentials.access_key_id,
            secret_access_key: &endpoint.credentials.secret_access_key,
            session_token: endpoint.credentials.session_token.as_deref(),
            region: &endpoint.region,
            service: endpoint.service.signing_name(),
        };
        signer.sign(&mut parts, &request.body, self.clock.now()).map_err(unsendable)?;
        Ok(http::Request::from_parts(parts, Full::new(request.body.clone())))
    }

    async fn exchange(
        &self,
        request: http::Request<Full<Bytes>>,
        answer_bytes_max: usize,
    ) -> Result<Answer, Error> {
        let answer = self.http.request(request).await;
        let (parts, body) = answer.map_err(|error| Error::Unreachable(chain(&error)))?.into_parts();
        let body = collect(body, answer_bytes_max).await?;
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    /// How long to wait after this many attempts: anything up to a bound that doubles.
    fn backoff(&self, attempts: u32) -> Duration {
        let bound = BACKOFF_FIRST.saturating_mul(1 << (attempts - 1).min(16)).min(BACKOFF_MAX);
        let mut byte = [0];
        self.entropy.fill(&mut byte);
        bound.mul_f64(f64::from(byte[0]) / 255.0)
    }
}

/// A whole body, if it is not too large.
async fn collect(body: Incoming, bytes_max: usize) -> Result<Bytes, Error> {
    match Limited::new(body, bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::AnswerTooLarge),
        Err(error) => Err(Error::Unreachable(chain(&*error))),
    }
}

/// What the service says about a refusal, in whichever protocol it says it.
fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (mut code, mut message) = from_json(body).unwrap_or_else(|| from_xml(body));
    // SQS keeps the codes of its older protocol here, which callers know it by.
    if let Some(older) = header("x-amzn-query-error") {
        code = Some(older.split(';').next().unwrap_or_default().to_owned());
    } else if let (None, Some(kind)) = (&code, header("x-amzn-errortype")) {
        code = Some(kind.to_owned());
    }
    let code = code.filter(|code| !code.is_empty()).unwrap_or_else(|| status.as_str().to_owned());
    // `com.amazonaws.sqs#QueueDoesNotExist`, and `ThrottlingException:http://…`.
    let code = code.rsplit('#').next().unwrap_or_default();
    let code = code.split(':').next().unwrap_or_default();
    let message = message.take().unwrap_or_default();
    let cut = |text: &str| text[..text.floor_char_boundary(ERROR_TEXT_BYTES_MAX)].to_owned();
    Error::Service { status, code: cut(code), message: cut(&message) }
}

type Said = (Option<String>, Option<String>);

fn from_json(body: &[u8]) -> Option<Said> {
    let document: serde_json::Value = serde_json::from_slice(body).ok()?;
    let text = |names: [&str; 2]| {
        let value = names.iter().find_map(|name| document.get(name)?.as_str());
        value.map(str::to_owned)
    };
    Some((text(["__type", "code"]), text(["message", "Message"])))
}

/// The first `Code` and `Message`, at whichever depth.
fn from_xml(body: &[u8]) -> Said {
    use quick_xml::events::Event;
    let (mut code, mut message) = (None, None);
    let Ok(text) = std::str::from_utf8(body) else { return (code, message) };
    let mut reader = quick_xml::Reader::from_str(text);
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                let place = match start.local_name().as_ref() {
                    "Code" if code.is_none() => &mut code,
                    "Message" if message.is_none() => &mut message,
                    _ => continue,
                };
                if let Ok(inner) = reader.read_text(start.name()) {
                    let plain = quick_xml::escape::unescape(&inner).map(|text| text.into_owned());
                    *place = plain.ok();
                }
            }
            Ok(Event::Eof) | Err(_) => return (code, message),
            Ok(_) => {}
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
