//! What processes inside a sandbox find at `AWS_LAMBDA_RUNTIME_API`: the Runtime API, the Extensions API, the Telemetry and
//! Logs APIs, the metadata endpoint, and behind every other path AWS itself.
//!
//! Every environment has it, also one whose runtime speaks frames: extensions and customers' code use it there, too. It runs
//! on the thread that owns the environment, inside the exchange of a call: no task of its own, no lock, no hop to another
//! thread. Between calls nothing is accepted, read or answered, as nothing runs in an environment then; a connection that
//! nobody makes costs nothing.
//!
//! | module | what it holds |
//! |---|---|
//! | `http1`, `connection` | the codec, and one connection |
//! | `stage`, `extension` | what may be said when: no socket in them |
//! | `telemetry`, `delivery` | subscriptions to what happens, and the way of events to subscribers |
//! | `metadata`, `credentials`, `endpoint` | the environment's zone, its role, and the way to AWS |

pub(crate) mod connection;
pub(crate) mod credentials;
pub(crate) mod delivery;
mod endpoint;
pub(crate) mod extension;
pub(crate) mod http1;
mod metadata;
pub(crate) mod stage;
pub(crate) mod telemetry;

use std::{
    io::{self, ErrorKind},
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use gatemill_sandbox::Sandbox;
use gatemill_wire::Entropy;
use http::{Request, StatusCode, header};
use tokio::io::unix::AsyncFd;

use self::{
    connection::{Asked, Connection, Keep, Turn, Waits},
    extension::Registrant,
    http1::{Answer, Arrived},
    stage::{Reply, Said, Stage},
};
use crate::{
    FunctionTarget,
    frame::InvokeMeta,
    limits::{API_CONNECTIONS_MAX, API_ENDPOINT_BODY_BYTES_MAX, API_HELD_BYTES_MAX},
    role::RoleSource,
};

pub use endpoint::AwsEndpoint;

/// What the APIs know about the function.
pub(crate) struct Facts {
    pub(crate) target: FunctionTarget,
    pub(crate) version: String,
    pub(crate) handler: String,
    /// What the metadata endpoint wants to see.
    pub(crate) token: String,
    /// Who answers in AWS's name; `None` answers 404.
    pub(crate) endpoint: Option<Arc<dyn AwsEndpoint>>,
    /// Where the function's credentials are from.
    pub(crate) role: Option<RoleSource>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Whether the server can connect to what listens inside.
    pub(crate) has_telemetry: bool,
}

/// The listener of a sandbox, which owns the descriptor.
#[derive(Debug)]
struct Door(Arc<Sandbox>);

impl AsRawFd for Door {
    fn as_raw_fd(&self) -> RawFd {
        self.0.listener.as_raw_fd()
    }
}

/// The APIs of one environment.
pub(crate) struct Api {
    door: AsyncFd<Door>,
    connections: Vec<Connection>,
    /// `None` until the function is known.
    facts: Option<Facts>,
    stage: Option<Stage>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("connections", &self.connections).finish_non_exhaustive()
    }
}

impl Api {
    /// Registers a sandbox's listener with the reactor of this thread.
    pub(crate) fn register(sandbox: &Arc<Sandbox>) -> io::Result<Self> {
        let door = watch(Door(Arc::clone(sandbox)))?;
        Ok(Self { door, connections: Vec::new(), facts: None, stage: None })
    }

    /// Moves everything to the reactor of this thread.
    pub(crate) fn move_here(self) -> io::Result<Self> {
        let connections = self.connections.into_iter().map(Connection::move_here);
        Ok(Self {
            connections: connections.collect::<io::Result<_>>()?,
            door: watch(self.door.into_inner())?,
            facts: self.facts,
            stage: self.stage,
        })
    }

    /// Begins to serve, for this function. `speaks_http` when its runtime speaks the Runtime API.
    pub(crate) fn open(&mut self, facts: Facts, speaks_http: bool) {
        let mut stage = Stage::new(Arc::clone(&facts.entropy), facts.has_telemetry);
        if speaks_http {
            stage.expect_http();
        }
        stage.extensions.registrant = Registrant {
            function_name: facts.target.name.clone(),
            function_version: facts.version.clone(),
            handler: facts.handler.clone(),
            account: facts.target.account.clone(),
        };
        self.stage = Some(stage);
        self.facts = Some(facts);
    }

    pub(crate) fn stage(&self) -> Option<&Stage> {
        self.stage.as_ref()
    }

    pub(crate) fn stage_mut(&mut self) -> Option<&mut Stage> {
        self.stage.as_mut()
    }

    /// Hands an invocation to a runtime that speaks the Runtime API.
    pub(crate) fn offer(&mut self, meta: &InvokeMeta<'_>, payload: Bytes) {
        if let Some(stage) = &mut self.stage {
            stage.offer(meta, payload);
        }
    }

    /// Goes on until something was said that concerns the environment.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Said> {
        let Self { door, connections, facts, stage } = self;
        let (Some(facts), Some(stage)) = (facts, stage) else { return Poll::Pending };
        loop {
            if let Some(said) = stage.next_said() {
                return Poll::Ready(said);
            }
            accept(door, connections, cx);
            let mut went_on = false;
            let mut index = 0;
            while index < connections.len() {
                let held: usize = connections.iter().map(Connection::held).sum();
                let connection = &mut connections[index];
                went_on |= deliver(connection, stage);
                match poll_one(connection, held, stage, facts, cx) {
                    Poll::Pending => index += 1,
                    Poll::Ready(Some(())) => went_on = true,
                    Poll::Ready(None) => {
                        if let Some(Waits::Event(extension)) = connection.waits() {
                            stage.extensions.stopped_waiting(extension);
                        }
                        connections.swap_remove(index);
                    }
                }
            }
            if !went_on {
                return Poll::Pending;
            }
        }
    }
}

#[allow(
    deprecated,
    reason = "its successor is an unsafe function for descriptors that might be closed while they are watched; this one is \
              owned by the sandbox, which the watched value itself keeps"
)]
fn watch(door: Door) -> io::Result<AsyncFd<Door>> {
    AsyncFd::with_interest(door, tokio::io::Interest::READABLE)
}

/// Takes in who knocks, as far as there is room.
fn accept(door: &AsyncFd<Door>, connections: &mut Vec<Connection>, cx: &mut Context<'_>) {
    while connections.len() < API_CONNECTIONS_MAX {
        let Poll::Ready(Ok(mut ready)) = door.poll_read_ready(cx) else { return };
        match ready.try_io(|door| door.get_ref().0.listener.accept()) {
            Ok(Ok((stream, _))) => connections.extend(Connection::new(stream)),
            Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
            // Out of descriptors, or a connection that ended before it was taken.
            Ok(Err(_)) => return,
            Err(_would_block) => {}
        }
    }
}

/// Answers a long poll that has something to answer now.
fn deliver(connection: &mut Connection, stage: &mut Stage) -> bool {
    match connection.waits() {
        Some(Waits::Invocation) => match stage.take_invocation() {
            Some((head, payload)) => connection.answer_with(head, payload),
            None => return false,
        },
        Some(Waits::Event(extension)) => match stage.extensions.take_event(extension) {
            Some(event) => connection.answer(event),
            None => return false,
        },
        None => return false,
    }
    true
}

/// One step of one connection: `Some` when a request, or a piece of one, was taken, `None` when it is over.
fn poll_one(
    connection: &mut Connection,
    held: usize,
    stage: &mut Stage,
    facts: &Facts,
    cx: &mut Context<'_>,
) -> Poll<Option<()>> {
    // An environment that makes us hold much is not given room for more.
    let room = API_HELD_BYTES_MAX.saturating_sub(held);
    let keep = |head: &http::request::Parts| {
        if stage.is_stream(head) {
            return Keep::Pieces;
        }
        Keep::Whole(Stage::keep_max(head.uri.path(), API_ENDPOINT_BODY_BYTES_MAX.min(room)))
    };
    let asked = match connection.poll(cx, keep) {
        Poll::Pending => return Poll::Pending,
        Poll::Ready(Turn::Closed) => return Poll::Ready(None),
        Poll::Ready(Turn::Piece(piece)) => {
            if let Some(head) = connection.reading() {
                stage.piece(&head.headers, piece);
            }
            return Poll::Ready(Some(()));
        }
        Poll::Ready(Turn::Asked(asked)) => asked,
    };
    match stage.ask(&asked) {
        Reply::Now(answer) => {
            connection.answer(answer);
            // It may be the last word before the environment is put aside.
            connection.flush();
        }
        Reply::Later(waits) => {
            connection.wait(waits);
            deliver(connection, stage);
            connection.flush();
        }
        Reply::Elsewhere => elsewhere(connection, facts, *asked),
    }
    Poll::Ready(Some(()))
}

fn elsewhere(connection: &mut Connection, facts: &Facts, asked: Asked) {
    let path = asked.head.uri.path();
    if path == metadata::PATH {
        let answer = metadata::answer(&asked.head, &facts.token, &facts.target.region);
        return connection.answer(answer);
    }
    if path == credentials::PATH {
        let answer = credentials::answer(&asked.head, &facts.token, facts.role.as_ref());
        return connection.answer(answer);
    }
    let Some(endpoint) = &facts.endpoint else {
        return connection.answer(Answer::error(
            StatusCode::NOT_FOUND,
            "NotFound",
            "404 page not found",
        ));
    };
    let Arrived::Whole(body) = asked.body else {
        let message = "Exceeded maximum allowed payload size.";
        let kind = "RequestEntityTooLarge";
        return connection.answer(Answer::error(StatusCode::PAYLOAD_TOO_LARGE, kind, message));
    };
    let answer = endpoint.answer(&facts.target, Request::from_parts(asked.head, body));
    connection.work(Box::pin(async move { of_response(answer.await) }));
}

/// An answer of AWS's, with its own headers.
fn of_response(response: http::Response<Bytes>) -> http1::Prepared {
    let (head, body) = response.into_parts();
    let own = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];
    let headers = head.headers.iter().filter(|(name, _)| !own.contains(name));
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
    http1::Prepared { head: http1::head(head.status, headers, body.len()), body }
}
