//! What is Gatemill's own and not AWS's: `/_gatemill/…`.
//!
//! * `GET /_gatemill/health`: whether it is ready, and what it is made of.
//! * `GET /_gatemill/metrics` and `GET /_gatemill/usage`: what APIs were used for; to this machine alone.
//! * `POST /_gatemill/reset`: empties the server; in `dev` alone.
//! * `GET /_gatemill/lambda/code/…`: the package behind the `Code.Location` of a function, by a signed address.
//!
//! A web page that a developer has open can send requests to loopback, too. So a reset that a browser sent for
//! another site is refused; the AWS APIs need no such rule, since a page cannot send their signature header unasked.

use std::sync::Arc;

use bytes::Bytes;
use gatemill_events::EventCounts;
use gatemill_sandbox::Enforced;
use http::{Method, Response, StatusCode, header, request::Parts};
use serde_json::{Value, json};

use crate::{configuration::Mode, observed, peer::Peer, server::Server};

/// Where the paths start.
pub(crate) const PREFIX: &str = "/_gatemill/";

/// Where the addresses of packages start, below [`PREFIX`].
const CODE: &str = "lambda/code/";

/// What a proxy adds, our own gateway's HTTP integrations among them: the client behind it is not on this machine.
const PROXY_HEADERS: [&str; 3] = ["forwarded", "via", "x-forwarded-for"];

/// Answers a request below [`PREFIX`].
pub(crate) async fn answer(server: &Arc<Server>, peer: &Peer, parts: &Parts) -> Response<Bytes> {
    let path = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    match (path, &parts.method) {
        ("health", &Method::GET | &Method::HEAD) => health(server, peer, parts),
        ("health", _) => not_allowed("GET, HEAD"),
        ("metrics" | "usage", &Method::GET) if !is_local(peer, parts) => {
            message(StatusCode::FORBIDDEN, "This is answered to the machine itself alone.")
        }
        ("metrics", &Method::GET) => Response::builder()
            .header(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")
            .body(Bytes::from(observed::metrics(server)))
            .expect("this header is valid"),
        ("usage", &Method::GET) => match observed::usage(server) {
            Ok(usage) => answer_json(StatusCode::OK, &usage),
            Err(error) => {
                tracing::error!(error = %crate::error::Chain(&error), "usage cannot be read");
                message(StatusCode::INTERNAL_SERVER_ERROR, "The usage cannot be read.")
            }
        },
        ("metrics" | "usage", _) => not_allowed("GET"),
        (path, &Method::GET) if path.starts_with(CODE) => {
            code(server, &path[CODE.len()..], parts.uri.query().unwrap_or_default()).await
        }
        (path, _) if path.starts_with(CODE) => not_allowed("GET"),
        ("reset", &Method::POST) => reset(server, parts).await,
        ("reset", _) => not_allowed("POST"),
        _ => message(StatusCode::NOT_FOUND, "There is nothing here; try GET /_gatemill/health."),
    }
}

async fn code(server: &Server, path: &str, query: &str) -> Response<Bytes> {
    match server.lambda.code_download(path, query).await {
        Ok(zip) => Response::builder()
            .header(header::CONTENT_TYPE, "application/zip")
            .body(zip)
            .expect("this header is valid"),
        Err(error) => {
            let status = StatusCode::from_u16(error.status());
            if error.status() >= 500 {
                tracing::error!(error = %crate::error::Chain(&error), "a package cannot be given out");
            }
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            message(status, &error.to_string())
        }
    }
}

fn health(server: &Server, peer: &Peer, parts: &Parts) -> Response<Bytes> {
    let mut health = json!({ "status": "ready", "version": env!("CARGO_PKG_VERSION") });
    // What a stranger could use to choose an attack is for the machine itself alone.
    if is_local(peer, parts) {
        let more = details(server);
        if let (Value::Object(health), Value::Object(more)) = (&mut health, more) {
            health.extend(more);
        }
    }
    answer_json(StatusCode::OK, &health)
}

/// Whether a request comes from this machine, and not through a proxy on it.
fn is_local(peer: &Peer, parts: &Parts) -> bool {
    let came_directly = PROXY_HEADERS.iter().all(|name| !parts.headers.contains_key(*name));
    peer.address.ip().to_canonical().is_loopback() && came_directly
}

fn details(server: &Server) -> Value {
    let holds = &server.configuration;
    json!({
        "mode": holds.mode.name(),
        "region": holds.region,
        "account": holds.account,
        "started": server.started.iso8601_millis(),
        "calls": server.recorder.counts(),
        "inFlight": server.in_flight.count(),
        "functions": functions(server),
        "eventSourceMappings": event_source_mappings(server),
        "requests": requests(server),
        "isolation": holds.isolation,
        "enforced": enforced(&server.sandboxes.enforced()),
        "runtimes": server.runtimes.list().iter().map(|pack| json!({
            "name": pack.name,
            "version": pack.version.to_string(),
        })).collect::<Vec<_>>(),
    })
}

/// What runs of functions.
fn functions(server: &Server) -> Value {
    let status = server.lambda.status();
    json!({
        "callsInFlight": status.calls_in_flight,
        "environments": {
            "initialising": status.initialising,
            "idle": status.idle,
            "busy": status.busy,
            "provisioned": status.provisioned,
        },
        "throttledCalls": status.throttled,
        "provisionedCalls": status.provisioned_calls,
        "spilledOverCalls": status.spilled_over,
        "events": events(server, &status.events),
    })
}

/// Asynchronous invocation: what waits, what came and went ever, and what happened since the start.
fn events(server: &Server, status: &gatemill_lambda::EventStatus) -> Value {
    let ever = server.lambda.event_counts().map(|counts| {
        json!({
            "accepted": counts.accepted,
            "succeeded": counts.succeeded,
            "failed": counts.failed,
            "dropped": counts.dropped,
            "deliveriesLeft": counts.deliveries,
        })
    });
    json!({
        "waiting": status.waiting,
        "ever": ever.unwrap_or(Value::Null),
        "received": status.received,
        "dropped": status.dropped,
        "attempts": status.begun,
        "ageMs": status.age_ms,
        "deadLetterErrors": status.dead_letter_errors,
        "destinationDeliveryFailures": status.destination_delivery_failures,
        "recursiveInvocationsDropped": status.recursive_invocations_dropped,
    })
}

/// What event source mappings did, together, and each that asked for metrics of its own: by AWS's names.
fn event_source_mappings(server: &Server) -> Value {
    let shown = |counts: EventCounts| {
        json!({
            "PolledEventCount": counts.polled,
            "FilteredOutEventCount": counts.filtered_out,
            "InvokedEventCount": counts.invoked,
            "FailedInvokeEventCount": counts.failed_invoke,
            "DroppedEventCount": counts.dropped,
            "OnFailureDestinationDeliveredEventCount": counts.on_failure_delivered,
            "DeletedEventCount": counts.deleted,
        })
    };
    let mut all = shown(server.events.counts());
    let own = server.events.counts_by_mapping();
    let own: serde_json::Map<String, Value> =
        own.into_iter().map(|(uuid, counts)| (uuid, shown(counts))).collect();
    all["byMapping"] = own.into();
    all
}

/// What the URLs of APIs were asked for.
fn requests(server: &Server) -> Value {
    let counts = server.gateway.counts();
    json!({
        "requests": counts.requests,
        "clientErrors": counts.client_errors,
        "serverErrors": counts.server_errors,
        "connections": server.gateway.connections(),
        "messages": counts.messages,
    })
}

/// Which walls and limits really hold on this machine.
fn enforced(enforced: &Enforced) -> Value {
    json!({
        "ownUid": enforced.own_uid,
        "fileSystem": enforced.file_system,
        "namespaces": enforced.namespaces,
        "userNamespace": enforced.user_namespace,
        "network": enforced.network,
        "seccomp": enforced.seccomp,
        "landlock": enforced.landlock,
        "memory": enforced.memory,
        "cpu": enforced.cpu,
        "pids": enforced.pids,
        "freezer": enforced.freezer,
        "tmpSize": enforced.tmp_size,
        "cgroupVersion": enforced.cgroup_version,
    })
}

async fn reset(server: &Arc<Server>, parts: &Parts) -> Response<Bytes> {
    if server.configuration.mode != Mode::Dev {
        return message(StatusCode::FORBIDDEN, "Only `gatemill dev` can be reset.");
    }
    if is_from_another_site(parts) {
        return message(StatusCode::FORBIDDEN, "A web page cannot reset the server.");
    }
    // In a task, so that a client that hangs up leaves no half of it.
    let task = tokio::spawn({
        let server = Arc::clone(server);
        async move { server.reset().await }
    });
    match task.await {
        Ok(Ok(())) => answer_json(StatusCode::OK, &json!({ "status": "empty" })),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

/// The answer to a request that names no host, or several.
pub(crate) fn no_host() -> Response<Bytes> {
    message(StatusCode::BAD_REQUEST, "Bad Request")
}

/// The answer to a request that names a host which is not this server's.
pub(crate) fn other_host() -> Response<Bytes> {
    let text = "This host name is not one of this server's. Use localhost, an IP address, or a name below --api-domain.";
    message(StatusCode::FORBIDDEN, text)
}

fn failed(error: &dyn std::error::Error) -> Response<Bytes> {
    tracing::error!(%error, "the server cannot be reset");
    message(StatusCode::INTERNAL_SERVER_ERROR, "The server could not be emptied; see its log.")
}

fn is_from_another_site(parts: &Parts) -> bool {
    let site = parts.headers.get("sec-fetch-site").map(|site| site.as_bytes());
    parts.headers.contains_key(header::ORIGIN)
        || site.is_some_and(|site| site != b"none" && site != b"same-origin")
}

fn not_allowed(methods: &'static str) -> Response<Bytes> {
    let text = format!("This path takes {methods}.");
    let mut response = message(StatusCode::METHOD_NOT_ALLOWED, &text);
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(methods));
    response
}

fn message(status: StatusCode, text: &str) -> Response<Bytes> {
    answer_json(status, &json!({ "message": text }))
}

fn answer_json(status: StatusCode, value: &Value) -> Response<Bytes> {
    let mut body = value.to_string();
    body.push('\n');
    let response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CACHE_CONTROL, "no-store")
        .body(Bytes::from(body));
    response.expect("these headers are valid")
}
