//! The route table of a service: which operation is served by which handler.
//!
//! ```text
//! Table::<Lambda, Error>::new(&api::SERVICE).on::<api::CreateAlias>(alias::create).serve(state)
//! ```
//!
//! A handler is a plain `async fn(&State, &Cx, Input) -> Result<Output, Error>`; one of another type does not
//! compile. Every operation of the model is routed; one without a handler answers 501 and names itself.
//!
//! Routing is by method and path for rest-json, by `X-Amz-Target`, by `Action` and by a path of its own for the other
//! protocols. Where two
//! paths of a model fit, the one with more literal segments wins, and literal query keys (`?List=ALL`) count too.

use std::{collections::HashMap, fmt, future::Future, marker::PhantomData, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, header, request::Parts};
use serde_json::Value;

use crate::{
    ApiError, Body, Cx, Operation, OperationInfo, Protocol, RequestId, Service, Streamed, Typed,
    error::common,
    operation::Input as _,
    percent,
    protocol::{self, Bound, Encoding, Labels, rpc_v2},
    validate,
};

/// A future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An `async fn(&State, &Cx, Input) -> Result<Output, Error>`.
pub trait Handler<'a, S, I, O, E>: Send + Sync {
    /// What calling it gives.
    type Future: Future<Output = Result<O, E>> + Send + 'a;
    /// Calls it.
    fn call(&self, state: &'a S, cx: &'a Cx, input: I) -> Self::Future;
}

impl<'a, S: 'a, I, O, E, F, Fut> Handler<'a, S, I, O, E> for F
where
    F: Fn(&'a S, &'a Cx, I) -> Fut + Send + Sync,
    Fut: Future<Output = Result<O, E>> + Send + 'a,
{
    type Future = Fut;

    fn call(&self, state: &'a S, cx: &'a Cx, input: I) -> Fut {
        self(state, cx, input)
    }
}

type Call<S> = Box<
    dyn for<'a> Fn(&'a S, &'a Cx, Bound) -> BoxFuture<'a, Result<Response<Body>, ApiError>>
        + Send
        + Sync,
>;

/// A service's operations and their handlers, without a state yet: enough to say which operations are built.
/// `S` is the state that handlers are given, `E` the crate's error.
pub struct Table<S, E> {
    service: &'static Service,
    calls: HashMap<&'static str, Call<S>>,
    error: PhantomData<fn() -> E>,
}

/// A [`Table`] with the state that its handlers are given.
pub struct Routes<S, E> {
    table: Table<S, E>,
    state: Arc<S>,
    paths: Paths,
}

impl<S, E> fmt::Debug for Table<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("service", &self.service.name)
            .field("handlers", &self.calls.len())
            .finish_non_exhaustive()
    }
}

impl<S, E> fmt::Debug for Routes<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("table", &self.table).finish_non_exhaustive()
    }
}

impl<S: Send + Sync + 'static, E: Into<ApiError> + 'static> Table<S, E> {
    /// The table of `service` with no handler yet.
    pub fn new(service: &'static Service) -> Self {
        Self { service, calls: HashMap::new(), error: PhantomData }
    }

    /// Binds an operation to its handler.
    ///
    /// # Panics
    /// When the operation is bound twice or belongs to another service: the table itself is wrong then.
    #[must_use]
    pub fn on<O: Operation>(
        self,
        handler: impl for<'a> Handler<'a, S, O::Input, O::Output, E> + 'static,
    ) -> Self {
        self.encoded::<O, O::Output>(handler, |encoding, request_id, output| {
            let response = protocol::encode(O::INFO, encoding, request_id, output)?;
            Ok(response.map(Body::Whole))
        })
    }

    /// As [`Self::on`], for an operation whose output is followed by an event stream.
    ///
    /// # Panics
    /// As [`Self::on`].
    #[must_use]
    pub fn on_streamed<O: Operation>(
        self,
        handler: impl for<'a> Handler<'a, S, O::Input, Streamed<O::Output>, E> + 'static,
    ) -> Self {
        self.encoded::<O, Streamed<O::Output>>(handler, |encoding, request_id, output| {
            protocol::encode_streamed(O::INFO, encoding, request_id, output)
        })
    }

    /// As [`Self::on`], for an operation whose handler says of what media type its payload is.
    ///
    /// # Panics
    /// As [`Self::on`].
    #[must_use]
    pub fn on_typed<O: Operation>(
        self,
        handler: impl for<'a> Handler<'a, S, O::Input, Typed<O::Output>, E> + 'static,
    ) -> Self {
        self.encoded::<O, Typed<O::Output>>(handler, |encoding, request_id, answer| {
            let mut response = protocol::encode(O::INFO, encoding, request_id, answer.output)?;
            let content_type = HeaderValue::from_static(answer.content_type);
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
            Ok(response.map(Body::Whole))
        })
    }

    /// Binds an operation to a handler whose answer is encoded like this.
    fn encoded<O: Operation, A: 'static>(
        mut self,
        handler: impl for<'a> Handler<'a, S, O::Input, A, E> + 'static,
        encode: fn(Encoding, RequestId, A) -> Result<Response<Body>, ApiError>,
    ) -> Self {
        let handler = Arc::new(handler);
        let call: Call<S> = Box::new(move |state, cx, bound| {
            let handler = Arc::clone(&handler);
            Box::pin(async move {
                let encoding = bound.encoding;
                let input = decode_input::<O>(bound)?;
                let answer = handler.call(state, cx, input).await.map_err(Into::into)?;
                encode(encoding, cx.request_id, answer)
            })
        });
        self.bind(O::INFO, call);
        self
    }

    fn bind(&mut self, info: &'static OperationInfo, call: Call<S>) {
        assert!(
            std::ptr::eq(info.service, self.service),
            "{} is not of {}",
            info.name,
            self.service.name
        );
        assert!(self.calls.insert(info.name, call).is_none(), "{} is bound twice", info.name);
    }

    /// Every operation of the service in the model's order, and whether it has a handler.
    pub fn operations(&self) -> Vec<(&'static OperationInfo, bool)> {
        let operations = self.service.operations.iter();
        operations.map(|info| (*info, self.calls.contains_key(info.name))).collect()
    }

    /// The service behind the table, with the state that its handlers are given.
    pub fn serve(self, state: Arc<S>) -> Routes<S, E> {
        let paths = Paths::of(self.service);
        Routes { table: self, state, paths }
    }
}

fn decode_input<O: Operation>(bound: Bound) -> Result<O::Input, ApiError> {
    let info = O::INFO;
    let members = Value::Object(bound.members);
    if let Some(message) = info.input.and_then(|shape| validate::mismatch(shape, &members)) {
        return Err(ApiError::new(&common::SERIALIZATION, message));
    }
    if let Some(message) = info.input.and_then(|shape| validate::violations(shape, &members)) {
        return Err(ApiError::new(info.service.validation, message));
    }
    let members = if info.input.is_none() { Value::Null } else { members };
    let mut input: O::Input =
        serde_json::from_value(members).map_err(|error| unreadable(&error))?;
    if let Some(payload) = bound.payload {
        input.set_payload(payload);
    }
    Ok(input)
}

/// What passed the checks by shape and is still not readable, such as broken base64. The text of the parser may quote
/// the caller's data, so only the log gets it.
fn unreadable(error: &serde_json::Error) -> ApiError {
    ApiError::new(&common::SERIALIZATION, "A member of the request cannot be read as its type.")
        .with_internal(error)
}

/// A service behind its table, whatever its state: what [`serve`](crate::serve()) dispatches to.
pub trait Served: Send + Sync {
    /// The service.
    fn service(&self) -> &'static Service;
    /// Whether an operation has a handler.
    fn is_built(&self, operation: &OperationInfo) -> bool;
    /// Finds the operation that a request names.
    fn route(&self, parts: &Parts, body: &Bytes) -> Option<(&'static OperationInfo, Labels)>;
    /// Decodes the request, runs the handler and encodes its answer.
    fn call<'a>(
        &'a self,
        cx: &'a Cx,
        operation: &'static OperationInfo,
        parts: &'a Parts,
        labels: &'a Labels,
        body: &'a Bytes,
    ) -> BoxFuture<'a, Result<Response<Body>, ApiError>>;
}

impl<S: Send + Sync + 'static, E: Into<ApiError> + 'static> Served for Routes<S, E> {
    fn service(&self) -> &'static Service {
        self.table.service
    }

    fn is_built(&self, operation: &OperationInfo) -> bool {
        self.table.calls.contains_key(operation.name)
    }

    fn route(&self, parts: &Parts, body: &Bytes) -> Option<(&'static OperationInfo, Labels)> {
        let service = self.table.service;
        let operation = match service.protocol {
            Protocol::RestJson => return self.paths.find(parts),
            Protocol::Json { target_prefix, .. } => by_target(service, target_prefix, parts),
            Protocol::Query { .. } => by_action(service, parts, body),
            Protocol::RpcV2 { target_prefix, .. } => match Encoding::of(service, parts) {
                Encoding::Own if parts.method != Method::POST => None,
                Encoding::Own => named(service, rpc_v2::operation(parts, target_prefix)?),
                Encoding::Json => by_target(service, target_prefix, parts),
                Encoding::Query => by_action(service, parts, body),
            },
        };
        Some((operation?, Labels::new()))
    }

    fn call<'a>(
        &'a self,
        cx: &'a Cx,
        operation: &'static OperationInfo,
        parts: &'a Parts,
        labels: &'a Labels,
        body: &'a Bytes,
    ) -> BoxFuture<'a, Result<Response<Body>, ApiError>> {
        let Some(call) = self.table.calls.get(operation.name) else {
            return Box::pin(std::future::ready(Err(not_built(operation))));
        };
        match protocol::decode(operation, parts, labels, body) {
            Ok(bound) => call(&self.state, cx, bound),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

fn by_target(service: &Service, prefix: &str, parts: &Parts) -> Option<&'static OperationInfo> {
    if parts.method != Method::POST {
        return None;
    }
    let target = parts.headers.get("x-amz-target")?.to_str().ok()?;
    named(service, target.strip_prefix(prefix)?.strip_prefix('.')?)
}

fn by_action(service: &Service, parts: &Parts, body: &Bytes) -> Option<&'static OperationInfo> {
    let text = String::from_utf8_lossy(body);
    let query = parts.uri.query().unwrap_or("");
    let mut pairs = percent::query_pairs(query).chain(percent::query_pairs(&text));
    let (_, name) = pairs.find(|(key, _)| key == "Action")?;
    named(service, &name)
}

fn named(service: &Service, name: &str) -> Option<&'static OperationInfo> {
    service.operations.iter().copied().find(|operation| operation.name == name)
}

fn not_built(operation: &OperationInfo) -> ApiError {
    let (service, name) = (operation.service.name, operation.name);
    ApiError::new(
        &common::NOT_IMPLEMENTED,
        format!("The operation {service}:{name} is not built in this version of Gatemill."),
    )
}

/// The paths of a rest-json service, most specific first.
#[derive(Debug)]
struct Paths(Vec<PathPattern>);

#[derive(Debug)]
struct PathPattern {
    operation: &'static OperationInfo,
    segments: Vec<Segment>,
    query: Vec<(&'static str, &'static str)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segment {
    Literal(&'static str),
    Label(&'static str),
    Greedy(&'static str),
}

impl Paths {
    fn of(service: &'static Service) -> Self {
        let mut patterns: Vec<PathPattern> =
            service.operations.iter().map(|operation| PathPattern::parse(operation)).collect();
        let weight = |pattern: &PathPattern| {
            let literals =
                pattern.segments.iter().filter(|segment| matches!(segment, Segment::Literal(_)));
            let greedy =
                pattern.segments.iter().any(|segment| matches!(segment, Segment::Greedy(_)));
            (std::cmp::Reverse(literals.count()), greedy, std::cmp::Reverse(pattern.query.len()))
        };
        patterns.sort_by_key(weight);
        Self(patterns)
    }

    fn find(&self, parts: &Parts) -> Option<(&'static OperationInfo, Labels)> {
        // A slash at the end names the same resource: older clients send one after `/functions`. The path is read in
        // the form that the signature covers.
        let mut segments = percent::path_segments(parts.uri.path());
        if segments.is_empty() {
            segments.push("");
        }
        self.0.iter().filter(|pattern| pattern.operation.method == parts.method.as_str()).find_map(
            |pattern| {
                let labels = pattern.labels(&segments)?;
                pattern
                    .query_fits(parts.uri.query().unwrap_or(""))
                    .then_some((pattern.operation, labels))
            },
        )
    }
}

impl PathPattern {
    fn parse(operation: &'static OperationInfo) -> Self {
        let (path, query) = operation.uri.split_once('?').unwrap_or((operation.uri, ""));
        let segments = path.trim_matches('/').split('/').map(|segment| {
            let label = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
            match label {
                None => Segment::Literal(segment),
                Some(label) => match label.strip_suffix('+') {
                    Some(label) => Segment::Greedy(label),
                    None => Segment::Label(label),
                },
            }
        });
        let query = query.split('&').filter(|part| !part.is_empty());
        let query = query.map(|part| part.split_once('=').unwrap_or((part, "")));
        Self { operation, segments: segments.collect(), query: query.collect() }
    }

    fn labels(&self, segments: &[&str]) -> Option<Labels> {
        let mut labels = Labels::new();
        let mut at = 0;
        for (index, pattern) in self.segments.iter().enumerate() {
            let segment = segments.get(at)?;
            at += 1;
            match pattern {
                Segment::Literal(literal) => {
                    if percent::decode(segment) != *literal {
                        return None;
                    }
                }
                Segment::Label(_) | Segment::Greedy(_) if segment.is_empty() => return None,
                Segment::Label(name) => labels.push((name, (*segment).to_owned())),
                Segment::Greedy(name) => {
                    let after = self.segments.len() - index - 1;
                    let end = segments.len().checked_sub(after).filter(|end| *end >= at)?;
                    labels.push((name, segments[at - 1..end].join("/")));
                    at = end;
                }
            }
        }
        (at == segments.len()).then_some(labels)
    }

    fn query_fits(&self, query: &str) -> bool {
        self.query
            .iter()
            .all(|(key, value)| percent::query_pairs(query).any(|(k, v)| k == *key && v == *value))
    }
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
