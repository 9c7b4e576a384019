//! WebSocket APIs on the data plane.
//!
//! | module | what it holds |
//! |---|---|
//! | `handshake` | what a client has to ask for, and the answer that switches protocols |
//! | `frame` | RFC 6455: frames and messages, from bytes and to bytes |
//! | `authorize` | who opens a connection, and whether they may |
//! | `key` | the API key that a handshake presents, and what it lets in |
//! | `log` | the lines of the access log |
//! | `connection`, `id` | a connection as others see it: its outbox, its end, its name |
//! | `drive`, `socket` | the task that owns a socket, and the socket that others may write to |
//! | `message` | the path of a message: select → throttle → admit → validate → integrate → answer |
//! | `disconnect` | the end of a connection, delivered also after a kill |
//! | `manage` | the `@connections` API |
//! | `select`, `template`, `mapping`, `sample` | expressions, templates, request parameters, and templates of models |
//! | `validate` | what a route asks of handshakes and messages |
//! | `happening`, `integrate` | what happens on a connection, and its integration |
//! | `request`, `respond` | what an integration is asked, and what becomes of its answer |
//! | `snapshot` | what of a stage is compiled |
//!
//! The path of a handshake is [`Gateway::connect`]: check → place → throttle → authorize → admit → integrate → remember → switch. The answer
//! to the client waits for the integration of `$connect`, whose status it gets; until then nobody can post to the
//! connection. Everything from here runs in a task of its own, so that a client that leaves in the middle still has its
//! `$disconnect`.

mod authorize;
pub(crate) mod connection;
mod disconnect;
mod drive;
mod frame;
mod handshake;
mod happening;
mod id;
mod integrate;
pub(crate) mod key;
mod log;
pub(crate) mod manage;
pub(crate) mod mapping;
mod message;
mod request;
mod respond;
pub(crate) mod sample;
pub(crate) mod select;
pub(crate) mod snapshot;
mod socket;
pub(crate) mod template;
pub(crate) mod validate;

use std::{any::Any, borrow::Cow, fmt, pin::Pin, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use bytes::Bytes;
use gatemill_wire::payload::{
    Origin,
    headers::{TRACE, for_event, new_trace_id},
    host::authority,
};
use http::{HeaderValue, Request, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};

use crate::{
    Gateway, Worker,
    error::Result,
    limits::WEBSOCKET_SWEEP_EVERY,
    measure::{CLIENT_ERROR, CONNECTS, Passing},
    proxy::{Arrival, ProxyBody, Target, record::count_status, throttle},
    snapshot::StageSnapshot,
    usage_plans::NotAdmitted,
};
use connection::{Connection, Peer};
use drive::End;
use happening::{Happening, What};
use snapshot::Route;

pub use manage::table as management_table;

/// What the server holds for as long as a connection is open: its place among the connections, and among what a stop
/// waits for.
pub struct Held(
    #[expect(dead_code, reason = "it is held, and looked at by nobody")] Box<dyn Any + Send>,
);

impl Held {
    /// Holds something.
    pub fn new(held: impl Any + Send) -> Self {
        Self(Box::new(held))
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

/// Why a handshake is refused: the status, and the message for the client.
struct Refused {
    status: StatusCode,
    message: Cow<'static, str>,
    why: String,
}

fn refused(
    status: StatusCode,
    message: impl Into<Cow<'static, str>>,
    why: impl Into<String>,
) -> Refused {
    Refused { status, message: message.into(), why: why.into() }
}

/// What a handshake was found to be.
struct Accepted {
    stage: Arc<StageSnapshot>,
    peer: Peer,
    proof: HeaderValue,
    is_remembered: bool,
    reply: integrate::Reply,
}

impl Gateway {
    /// Whether a request to the data plane is a handshake for a WebSocket API: it asks for one, and the API is no HTTP
    /// API (nor is it one where there is none, which a handshake is told so).
    pub async fn takes_handshake(&self, target: &Target, head: &Parts) -> bool {
        if !handshake::is_asked(head) {
            return false;
        }
        match self.live.get(&target.api_id).await {
            Ok(Some(api)) => api.stages.iter().all(|stage| stage.websocket.is_some()),
            Ok(None) | Err(_) => true,
        }
    }

    /// Answers a handshake, and serves the connection that comes of it.
    pub async fn connect(
        self: &Arc<Self>,
        target: Target,
        request: Request<Incoming>,
        arrival: Arrival,
        held: Held,
    ) -> Response<ProxyBody> {
        let gateway = Arc::clone(self);
        // The client may leave while its `$connect` runs, and what began has to end.
        let handled =
            tokio::spawn(
                async move { Box::pin(open(&gateway, &target, request, arrival, held)).await },
            );
        match handled.await {
            Ok(response) => response,
            Err(error) => {
                tracing::error!(%error, "a handshake did not end");
                let mut response = Response::new(ProxyBody::empty());
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        }
    }

    /// The connections that are open.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Ends all connections with 1001, and refuses further handshakes: the server stops. Each gives back what it holds
    /// once its `$disconnect` was delivered.
    pub fn leave(&self) {
        self.connections.leave();
    }

    /// What has to run for WebSocket APIs.
    pub(crate) fn websocket_workers(self: &Arc<Self>) -> Vec<Worker> {
        let (sweeper, deliverer) = (Arc::clone(self), Arc::clone(self));
        vec![
            Worker {
                name: "websocket-sweep",
                run: Box::new(move || Box::pin(sweep(Arc::clone(&sweeper)))),
            },
            Worker {
                name: "websocket-disconnect",
                run: Box::new(move || {
                    let gateway = Arc::clone(&deliverer);
                    Box::pin(disconnect::deliver_left_behind(gateway)) as Pin<Box<_>>
                }),
            },
        ]
    }

    /// The stage of a WebSocket API as it is now.
    pub(crate) async fn websocket_stage(
        &self,
        api: &str,
        stage: &str,
    ) -> Result<Option<Arc<StageSnapshot>>> {
        let api = self.live.get(api).await?;
        let stage = api.as_ref().and_then(|api| api.stage(stage)).cloned();
        Ok(stage.filter(|stage| stage.websocket.is_some()))
    }

    /// An id of 16 characters, as requests and messages have them.
    pub(crate) fn short_id(&self) -> String {
        let mut id = [0; 11];
        self.entropy.fill(&mut id);
        URL_SAFE.encode(id)
    }
}

/// Tells connections to end whose time is up. No event is waited for: time itself is what is looked at.
async fn sweep(gateway: Arc<Gateway>) {
    let (idle, life) = (gateway.settings.websocket.idle, gateway.settings.websocket.life);
    let every = WEBSOCKET_SWEEP_EVERY.min(idle.min(life) / 4).max(MILLISECOND);
    let ms = |time: std::time::Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        gateway.connections.sweep(gateway.clock.now(), ms(idle), ms(life));
    }
}

const MILLISECOND: std::time::Duration = std::time::Duration::from_millis(1);

/// A handshake and, where it is accepted, the task of its connection.
async fn open(
    gateway: &Arc<Gateway>,
    target: &Target,
    mut request: Request<Incoming>,
    arrival: Arrival,
    held: Held,
) -> Response<ProxyBody> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, _) = request.into_parts();
    let request_id = gateway.short_id();
    let id = id::ConnectionId::new(gateway.settings.websocket.node, &*gateway.entropy);
    let trace_id = match head.headers.get(TRACE).and_then(|value| value.to_str().ok()) {
        Some(given) => given.to_owned(),
        None => new_trace_id(&*gateway.entropy, arrival.now),
    };
    let measure = &gateway.records.measure;
    let mut passing = measure.passing(arrival.now);
    let asked =
        Handshake { head: &head, arrival: &arrival, request_id: &request_id, trace_id: &trace_id };
    let accepted = accept(gateway, target, &asked, id, &mut passing).await;
    let status = match &accepted {
        Ok(Ok(_)) => StatusCode::SWITCHING_PROTOCOLS.as_u16(),
        Ok(Err(reply)) => reply.status,
        Err(refused) => refused.status.as_u16(),
    };
    passing.note("http.response.status_code", || status.to_string());
    passing.note("aws.api_gateway.api_id", || target.api_id.clone());
    passing.note("aws.request_id", || request_id.clone());
    measure.passed("handshake", passing, &trace_id, status >= 500);
    let accepted = match accepted {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(reply)) => return refusal_of_integration(gateway, reply),
        Err(refused) => {
            let Refused { status, message, why } = refused;
            let (api, id_) = (&target.api_id, &request_id);
            tracing::debug!(%api, id = %id_, status = status.as_u16(), why, "handshake");
            let text = message::error_text(&message, &id.to_string(), &request_id);
            return answer(gateway, status, "application/json", text.into());
        }
    };
    let Accepted { stage, peer, proof, is_remembered, reply } = accepted;
    let response = handshake::switching(proof, &reply.headers);
    count_status(&gateway.records.tally, response.status());
    let connection = Arc::new(Connection::new(peer).counting(Arc::clone(&stage.counters)));
    drop(stage);
    gateway.connections.add(&connection);
    let gateway = Arc::clone(gateway);
    tokio::spawn(async move {
        let end = match upgrade.await {
            Ok(upgraded) => serve(&gateway, upgraded, Arc::clone(&connection)).await,
            Err(_) => End {
                code: frame::code::ABNORMAL,
                reason: "Connection closed abnormally".to_owned(),
            },
        };
        gateway.connections.remove(connection.peer.id);
        connection.count_minutes(gateway.clock.now());
        connection.shut();
        // Large, and needed once.
        Box::pin(disconnect::deliver(&gateway, &connection.peer, &end, is_remembered)).await;
        drop(held);
    });
    response
}

/// Serves a connection over the plain socket where that is one, without hyper's own buffers.
async fn serve(
    gateway: &Arc<Gateway>,
    upgraded: hyper::upgrade::Upgraded,
    connection: Arc<Connection>,
) -> End {
    let inbox = message::Messages(Arc::clone(gateway));
    let plain = hyper_util::server::conn::auto::upgrade::downcast::<TokioIo<tokio::net::TcpStream>>(
        upgraded,
    );
    match plain {
        Ok(parts) => {
            // A copy: what hyper read is a part of its buffer, however small, and would keep all of it.
            let early = Bytes::copy_from_slice(&parts.read_buf);
            drop(parts.read_buf);
            let socket = Arc::new(parts.io.into_inner());
            connection.attach(Arc::clone(&socket));
            let shared = socket::Shared(socket);
            let end = drive::drive(shared, early, Arc::clone(&connection), inbox).await;
            connection.detach();
            end
        }
        Err(upgraded) => {
            drive::drive(TokioIo::new(upgraded), Bytes::new(), connection, inbox).await
        }
    }
}

/// Everything that decides about a handshake. The inner error is what the integration of `$connect` said instead of yes.
async fn accept(
    gateway: &Gateway,
    target: &Target,
    asked: &Handshake<'_>,
    id: id::ConnectionId,
    passing: &mut Passing,
) -> std::result::Result<std::result::Result<Accepted, integrate::Reply>, Refused> {
    let Handshake { head, arrival, .. } = *asked;
    let proof = handshake::accept(head).map_err(|unfit| match unfit {
        handshake::Unfit::NoHandshake => {
            refused(StatusCode::BAD_REQUEST, "Bad Request", "this is no handshake")
        }
        handshake::Unfit::Version => {
            refused(StatusCode::UPGRADE_REQUIRED, "Upgrade Required", "another version")
        }
    })?;
    if gateway.connections.is_leaving() {
        return Err(refused(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", "a stop"));
    }
    passing.end("check");
    let stage = place(gateway, target, head).await?;
    passing.end("place");
    passing.note("aws.api_gateway.stage", || stage.name.clone());
    let domain_name = target.domain_name();
    let user_agent = head.headers.get(header::USER_AGENT);
    let mut peer = Peer {
        id,
        api: stage.api_id.clone(),
        stage: stage.name.clone(),
        account: stage.account.clone(),
        domain_name,
        source_ip: arrival.source_ip.clone(),
        user_agent: user_agent.and_then(|value| value.to_str().ok()).map(str::to_owned),
        connected: arrival.now,
        authorizer: None,
        // Without a route for the handshake, its messages may need a key all the same.
        api_key: stage.key_source().presented(&head.headers, None),
    };
    let route = stage.websocket.as_ref().and_then(|it| it.routes.get("$connect"));
    let mut reply = integrate::Reply { status: 200, ..integrate::Reply::default() };
    if let Some(route) = route {
        let entered;
        gateway.records.measure.websocket(&stage, Some(route), arrival.now, &[(&CONNECTS, 1.0)]);
        let answered = ask(gateway, &stage, &peer, route, asked, passing).await;
        if answered.as_ref().is_err_and(|refused| refused.status.is_client_error()) {
            let values = [(&CLIENT_ERROR, 1.0)];
            gateway.records.measure.websocket(&stage, Some(route), arrival.now, &values);
        }
        (reply, entered) = answered?;
        (peer.authorizer, peer.api_key) = (entered.context, entered.api_key);
        if !(200..300).contains(&reply.status) {
            return Ok(Err(reply));
        }
    } else {
        throttle::take(stage.bucket.as_deref(), None, arrival.now)
            .map_err(|why| too_many("Too Many Requests", why))?;
    }
    let is_remembered = stage.websocket.as_ref().is_some_and(|it| {
        it.routes.get("$disconnect").is_some_and(|route| route.integration.is_some())
    });
    if is_remembered {
        disconnect::remember(gateway, &peer).await.map_err(|error| {
            tracing::error!(error = %error, "a connection cannot be written down");
            refused(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL, "the store failed")
        })?;
        passing.end("remember");
    }
    Ok(Ok(Accepted { stage, peer, proof, is_remembered, reply }))
}

/// What AWS says of its own failures.
const INTERNAL: &str = "Internal server error";

/// The stage that a handshake is for: the whole path names it.
async fn place(
    gateway: &Gateway,
    target: &Target,
    head: &Parts,
) -> std::result::Result<Arc<StageSnapshot>, Refused> {
    let forbidden = |why: &str| refused(StatusCode::FORBIDDEN, "Forbidden", why);
    let api =
        gateway.live.get(&target.api_id).await.map_err(|error| {
            refused(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL, error.to_string())
        })?;
    let api = api.ok_or_else(|| forbidden("no such API"))?;
    let (name, rest) = target.stage_of(&head.uri);
    let stage = api.stage(&name).filter(|stage| stage.websocket.is_some());
    let stage = stage.filter(|_| rest.is_empty() || rest == "/");
    let stage = stage.ok_or_else(|| forbidden("no such stage"))?;
    if stage.disabled && target.is_own_endpoint() {
        return Err(forbidden("the API's own endpoint is disabled"));
    }
    Ok(Arc::clone(stage))
}

struct Handshake<'a> {
    head: &'a Parts,
    arrival: &'a Arrival,
    request_id: &'a str,
    trace_id: &'a str,
}

/// What is known of a client whose handshake may be.
struct Entered {
    /// What the authorizer said.
    context: Option<Map<String, Value>>,
    /// The API key that it presented.
    api_key: Option<key::Value>,
}

/// Asks the authorizer of `$connect`, then its integration; a route without either says yes. Gives as well what is known of
/// the client, which its integration hears, too.
async fn ask(
    gateway: &Gateway,
    stage: &StageSnapshot,
    peer: &Peer,
    route: &Route,
    asked: &Handshake<'_>,
    passing: &mut Passing,
) -> std::result::Result<(integrate::Reply, Entered), Refused> {
    let Handshake { head, arrival, request_id, trace_id } = *asked;
    let origin = Origin {
        authority: authority(head).unwrap_or_default(),
        source_ip: &arrival.source_ip,
        trace_id,
        tls: arrival.tls,
        body_bytes: None,
    };
    let what = What::Connect {
        headers: for_event(&head.headers, &origin),
        query: head.uri.query().unwrap_or_default(),
    };
    let ids = (request_id, trace_id);
    let known;
    let mut happening = Happening::new(peer, ids, arrival.now, &stage.variables, what);
    let answered = match enter(gateway, stage, route, head, &mut happening, passing).await {
        Ok(entered) => {
            known = Peer { authorizer: entered.context.clone(), ..peer.clone() };
            happening.peer = &known;
            let reply = integration_of(gateway, stage, route, &happening).await;
            if route.integration.is_some() {
                passing.end("integrate");
            }
            reply.map(|reply| (reply, entered))
        }
        Err(refused) => Err(refused),
    };
    let (status, message) = match &answered {
        Ok((reply, _)) => (reply.status, None),
        Err(refused) => (refused.status.as_u16(), Some(&*refused.message)),
    };
    log::write(gateway, stage, &happening, status, message);
    answered
}

/// What the integration of `$connect` says, if there is one.
async fn integration_of(
    gateway: &Gateway,
    stage: &StageSnapshot,
    route: &Route,
    happening: &Happening<'_>,
) -> std::result::Result<integrate::Reply, Refused> {
    if route.integration.is_none() {
        return Ok(integrate::Reply { status: 200, ..integrate::Reply::default() });
    }
    integrate::integrate(gateway, stage, route, happening).await.map_err(|failed| {
        let (Peer { api, stage, .. }, why) = (happening.peer, &failed.why);
        tracing::warn!(%api, %stage, id = %happening.id, %why, "$connect");
        let status = StatusCode::from_u16(failed.status);
        refused(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), INTERNAL, failed.why)
    })
}

/// Whether a handshake may come in at all: the rates of its account and route, its authorizer, its API key, and what it has to bring along.
async fn enter(
    gateway: &Gateway,
    stage: &StageSnapshot,
    route: &Route,
    head: &Parts,
    happening: &mut Happening<'_>,
    passing: &mut Passing,
) -> std::result::Result<Entered, Refused> {
    throttle::take(stage.bucket.as_deref(), route.bucket.as_deref(), happening.now)
        .map_err(|why| too_many("Too Many Requests", why))?;
    passing.end("throttle");
    let known = authorize::authorize(gateway, route, head, happening).await?;
    passing.end("authorize");
    let api_key = stage.key_source().presented(&head.headers, known.usage_key);
    let admitted = key::admit(gateway, stage, route, api_key.as_ref(), happening.now).await;
    happening.api_key = admitted.map_err(|not| match not {
        NotAdmitted::Forbidden(why) => refused(StatusCode::FORBIDDEN, "Forbidden", why),
        NotAdmitted::TooManyRequests => too_many("Too Many Requests", "the plan's rate is reached"),
        NotAdmitted::LimitExceeded => too_many("Limit Exceeded", "the plan's quota is used up"),
        NotAdmitted::Broken(error) => {
            tracing::error!(%error, "an API key cannot be looked up");
            refused(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL, "the store failed")
        }
    })?;
    passing.end("admit");
    let missing = route.validation.missing(happening);
    if !missing.is_empty() {
        let message = format!("Missing required request parameters: [{}]", missing.join(", "));
        return Err(refused(StatusCode::BAD_REQUEST, message, "parameters are missing"));
    }
    Ok(Entered { context: known.context, api_key })
}

fn too_many(message: &'static str, why: &str) -> Refused {
    refused(StatusCode::TOO_MANY_REQUESTS, message, why)
}

/// What the client gets where the integration of `$connect` says anything but yes: its status.
fn refusal_of_integration(gateway: &Gateway, reply: integrate::Reply) -> Response<ProxyBody> {
    let status = StatusCode::from_u16(reply.status).ok();
    // A status below 200 is no answer to a handshake.
    let status = status.filter(|status| !status.is_informational());
    let kind = reply.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or("application/json").to_owned();
    answer(gateway, status.unwrap_or(StatusCode::BAD_GATEWAY), &kind, reply.body)
}

fn answer(gateway: &Gateway, status: StatusCode, kind: &str, body: Bytes) -> Response<ProxyBody> {
    count_status(&gateway.records.tally, status);
    let mut response = Response::new(ProxyBody::whole(body));
    *response.status_mut() = status;
    if let Ok(kind) = HeaderValue::from_str(kind) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

/// How WebSocket connections are kept.
#[derive(Debug, Clone)]
pub struct WebSocketSettings {
    /// The node that connection ids name.
    pub node: u16,
    /// How long a connection may be idle.
    pub idle: std::time::Duration,
    /// How long a connection lives.
    pub life: std::time::Duration,
}

impl Default for WebSocketSettings {
    /// AWS's: ten minutes, two hours.
    fn default() -> Self {
        Self {
            node: 0,
            idle: crate::limits::WEBSOCKET_IDLE_MAX,
            life: crate::limits::WEBSOCKET_LIFE_MAX,
        }
    }
}
