//! Extensions: who registered, what each waits for, and when all are done.
//!
//! External extensions are programs of `/opt/extensions`, known by name before they register; internal ones run inside
//! the runtime's process and come up with a name of their own. Both register while the environment initialises, take
//! one event after the other, and are done when they ask for the next.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use gatemill_wire::Entropy;
use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    connection::{Asked, Waits},
    http1::{Answer, Arrived},
    stage::{Reply, Said, text},
    telemetry::Subscription,
};
use crate::{frame::InvokeMeta, limits::EXTENSIONS_MAX};

const NAME: &str = "lambda-extension-name";
const IDENTIFIER: &str = "lambda-extension-identifier";
const ERROR_TYPE: &str = "lambda-extension-function-error-type";

/// An event that an extension may want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wanted {
    Invoke,
    Shutdown,
}

impl Wanted {
    fn named(name: &str) -> Option<Self> {
        match name {
            "INVOKE" => Some(Self::Invoke),
            "SHUTDOWN" => Some(Self::Shutdown),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Invoke => "INVOKE",
            Self::Shutdown => "SHUTDOWN",
        }
    }
}

/// Why an extension ends its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// `Extension.InitError` and its like.
    pub(crate) kind: &'static str,
    /// What the extension said, or how it ended.
    pub(crate) message: String,
}

/// One extension.
#[derive(Debug)]
pub(crate) struct Extension {
    /// The identifier that it was given at its registration; empty before.
    id: String,
    pub(crate) name: String,
    pub(crate) is_external: bool,
    pub(crate) wants: BTreeSet<Wanted>,
    /// It asked for its next event and has none yet.
    asks: bool,
    /// It asked at least once: its initialisation is over.
    pub(crate) is_ready: bool,
    /// The last invocation that it was told of.
    seen: u64,
    has_failed: bool,
    /// The state and the type of its failure.
    failed: Option<(&'static str, &'static str)>,
    has_subscribed: bool,
    was_told_of_end: bool,
}

/// What extensions learn about the function when they register.
#[derive(Debug, Default, Clone)]
pub(crate) struct Registrant {
    pub(crate) function_name: String,
    pub(crate) function_version: String,
    pub(crate) handler: String,
    pub(crate) account: String,
}

/// The extensions of one environment.
pub(crate) struct Extensions {
    all: Vec<Extension>,
    entropy: Arc<dyn Entropy>,
    pub(crate) registrant: Registrant,
    /// Initialisation is over: nobody may register any more.
    closed: bool,
    /// The present invocation, counted from 1, and the event that tells of it.
    serial: u64,
    event: Bytes,
    /// The event that tells of the environment's end.
    end: Option<Bytes>,
}

impl std::fmt::Debug for Extensions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extensions").field("all", &self.all).finish_non_exhaustive()
    }
}

impl Extensions {
    pub(crate) fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self {
            all: Vec::new(),
            entropy,
            registrant: Registrant::default(),
            closed: false,
            serial: 0,
            event: Bytes::new(),
            end: None,
        }
    }

    pub(crate) fn all(&self) -> &[Extension] {
        &self.all
    }

    /// These external extensions are being started.
    pub(crate) fn expect(&mut self, names: &[String]) {
        self.all.extend(names.iter().map(|name| Extension::new(name, true)));
    }

    /// The process of an external extension ended, by its place among them.
    pub(crate) fn exited(&mut self, index: usize, kind: &'static str) {
        let mut external = self.all.iter_mut().filter(|extension| extension.is_external);
        if let Some(extension) = external.nth(index)
            && !std::mem::replace(&mut extension.has_failed, true)
        {
            extension.failed = Some(("Exited", kind));
        }
    }

    /// Whether all that were expected are there.
    pub(crate) fn have_registered(&self) -> bool {
        self.all.iter().all(|extension| !extension.is_external || !extension.id.is_empty())
    }

    /// Tells of the environment's end, to the external extensions that want to hear of it. Gives for each external one, in
    /// order, whether it does.
    pub(crate) fn shut_down(&mut self, reason: &str, deadline_ms: i64) -> Vec<bool> {
        let event = json!({
            "eventType": "SHUTDOWN", "shutdownReason": reason, "deadlineMs": deadline_ms,
        });
        self.end = Some(event.to_string().into());
        let external = self.all.iter().filter(|extension| extension.is_external);
        external.map(|extension| extension.wants.contains(&Wanted::Shutdown)).collect()
    }

    /// Nobody may register or subscribe any more.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether some extension is told of every invocation.
    pub(crate) fn want_invocations(&self) -> bool {
        self.all.iter().any(|extension| extension.wants.contains(&Wanted::Invoke))
    }

    /// Tells of an invocation.
    pub(crate) fn announce(&mut self, meta: &InvokeMeta<'_>) {
        let event = json!({
            "eventType": "INVOKE", "deadlineMs": meta.deadline_ms, "requestId": meta.request_id,
            "invokedFunctionArn": meta.function_arn,
            "tracing": { "type": "X-Amzn-Trace-Id", "value": meta.trace_id },
        });
        self.serial += 1;
        self.event = event.to_string().into();
    }

    /// Whether all have done what they were told of: in initialisation, all asked for an event; after it, all that
    /// are told of invocations were told of the present one and ask for the next.
    pub(crate) fn are_done(&self) -> bool {
        self.all.iter().all(|extension| match self.serial {
            0 => extension.is_ready,
            _ if extension.wants.contains(&Wanted::Invoke) => {
                extension.asks && extension.seen == self.serial
            }
            _ => true,
        })
    }

    /// The event for an extension that waits for one.
    pub(crate) fn take_event(&mut self, index: usize) -> Option<Answer> {
        let extension = self.all.get_mut(index)?;
        let wants = |wanted| extension.wants.contains(&wanted);
        let body = match &self.end {
            Some(end) if wants(Wanted::Shutdown) && !extension.was_told_of_end => {
                extension.was_told_of_end = true;
                end.clone()
            }
            None if wants(Wanted::Invoke) && extension.seen < self.serial => {
                extension.seen = self.serial;
                self.event.clone()
            }
            _ => return None,
        };
        extension.asks = false;
        let id = self.entropy.uuid().to_string();
        Some(Answer::new(StatusCode::OK, body).with("Lambda-Extension-Event-Identifier", id))
    }

    /// The connection of an extension that waited is gone.
    pub(crate) fn stopped_waiting(&mut self, index: usize) {
        if let Some(extension) = self.all.get_mut(index) {
            extension.asks = false;
        }
    }

    /// Takes one request.
    pub(crate) fn ask(&mut self, call: &str, asked: &Asked, said: &mut VecDeque<Said>) -> Reply {
        let headers = &asked.head.headers;
        match (call, &asked.head.method) {
            ("register", &Method::POST) => {
                let waited = !self.have_registered();
                let answer = self.register(headers, &asked.body);
                if waited && self.have_registered() {
                    said.push_back(Said::Registered);
                }
                Reply::Now(answer)
            }
            ("event/next", &Method::GET) => match self.identified(headers) {
                Ok(index) => self.next(index, said),
                Err(refusal) => Reply::Now(refusal),
            },
            ("init/error", &Method::POST) => {
                Reply::Now(self.gave_up(headers, "Extension.InitError", "InitError", said))
            }
            ("exit/error", &Method::POST) => {
                Reply::Now(self.gave_up(headers, "Extension.ExitError", "ExitError", said))
            }
            ("register" | "event/next" | "init/error" | "exit/error", _) => {
                let (kind, message) = ("MethodNotAllowed", "Method not allowed");
                Reply::Now(Answer::error(StatusCode::METHOD_NOT_ALLOWED, kind, message))
            }
            _ => Reply::Now(Answer::error(StatusCode::NOT_FOUND, "NotFound", "404 page not found")),
        }
    }

    /// Which extension sends this, by its identifier.
    pub(crate) fn identified(&self, headers: &HeaderMap) -> Result<usize, Answer> {
        let Some(id) = text(headers, IDENTIFIER) else {
            let message = "Missing Lambda-Extension-Identifier header";
            return Err(forbidden("Extension.MissingExtensionIdentifier", message));
        };
        if uuid::Uuid::try_parse(id).is_err() {
            let message = "Invalid Lambda-Extension-Identifier";
            return Err(forbidden("Extension.InvalidExtensionIdentifier", message));
        }
        self.all.iter().position(|extension| extension.id == id).ok_or_else(|| {
            let message = format!("Unknown extension {id}");
            forbidden("Extension.UnknownExtensionIdentifier", &message)
        })
    }

    /// A subscription of the Telemetry API, or of the Logs API.
    pub(crate) fn subscribe(
        &mut self,
        logs: bool,
        supported: bool,
        asked: &Asked,
    ) -> Result<Subscription, Answer> {
        let index = self.identified(&asked.head.headers)?;
        let extension = &mut self.all[index];
        let subscription = Subscription::read(&extension.name, logs, &asked.body)?;
        let dialect = subscription.dialect;
        if self.closed {
            let message = format!("{} API subscription is closed already", dialect.name());
            return Err(dialect.error(StatusCode::FORBIDDEN, "SubscriptionClosed", &message));
        }
        if !supported {
            let message = format!("{} API is not supported", dialect.name());
            return Err(dialect.error(StatusCode::ACCEPTED, "NotSupported", &message));
        }
        if extension.has_subscribed {
            let message = "The extension has a subscription already";
            return Err(dialect.error(StatusCode::FORBIDDEN, "ValidationError", message));
        }
        extension.has_subscribed = true;
        Ok(subscription)
    }

    fn register(&mut self, headers: &HeaderMap, body: &Arrived) -> Answer {
        #[derive(Deserialize)]
        struct Registration {
            #[serde(default)]
            events: Vec<String>,
        }
        let Some(name) = text(headers, NAME) else {
            return forbidden("Extension.InvalidExtensionName", "Empty extension name");
        };
        let Arrived::Whole(body) = body else {
            return forbidden("InvalidRequestFormat", "the body is too long");
        };
        let registration = match serde_json::from_slice::<Registration>(body) {
            Ok(registration) => registration,
            Err(error) => return forbidden("InvalidRequestFormat", &error.to_string()),
        };
        let known = self.all.iter().position(|extension| extension.name == name);
        let is_external = known.is_some_and(|index| self.all[index].is_external);
        let mut wants = BTreeSet::new();
        for event in &registration.events {
            match Wanted::named(event) {
                Some(Wanted::Shutdown) if !is_external => {
                    let message = format!("{event}: ShutdownEventNotSupportedForInternalExtension");
                    return forbidden("Extension.InvalidEventType", &message);
                }
                Some(wanted) => drop(wants.insert(wanted)),
                None => {
                    let message = format!("{event}: InvalidEventType");
                    return forbidden("Extension.InvalidEventType", &message);
                }
            }
        }
        let index = match self.place_for(name, known) {
            Ok(index) => index,
            Err(refusal) => return refusal,
        };
        let id = self.entropy.uuid().to_string();
        let extension = &mut self.all[index];
        extension.id.clone_from(&id);
        extension.wants = wants;
        let features = text(headers, "lambda-extension-accept-feature").unwrap_or_default();
        let with_account = features.split(',').any(|feature| feature.trim() == "accountId");
        Answer::new(StatusCode::OK, self.registrant.document(with_account))
            .with("Lambda-Extension-Identifier", id)
    }

    /// The entry of an extension that may register now.
    fn place_for(&mut self, name: &str, known: Option<usize>) -> Result<usize, Answer> {
        match known {
            Some(index) if !self.all[index].is_external => {
                let message = "Extension with this name already registered";
                return Err(forbidden("Extension.InvalidExtensionState", message));
            }
            Some(index) if !self.all[index].id.is_empty() => {
                let message = format!(
                    "State transition from Registered to Registered failed for extension {name}. Error: State \
                     transition is not allowed"
                );
                return Err(forbidden("Extension.InvalidExtensionState", &message));
            }
            Some(index) => return Ok(index),
            None => {}
        }
        if self.closed {
            let message = "Extension registration closed already";
            return Err(forbidden("Extension.RegistrationClosed", message));
        }
        if self.all.len() >= EXTENSIONS_MAX {
            let message = format!("Extension limit ({EXTENSIONS_MAX}) reached");
            return Err(forbidden("Extension.TooManyExtensions", &message));
        }
        self.all.push(Extension::new(name, false));
        Ok(self.all.len() - 1)
    }

    fn next(&mut self, index: usize, said: &mut VecDeque<Said>) -> Reply {
        let extension = &mut self.all[index];
        if extension.has_failed {
            let message = format!(
                "State transition from Exited to Ready failed for extension {}. Error: State transition is not allowed",
                extension.id
            );
            return Reply::Now(forbidden("Extension.InvalidExtensionState", &message));
        }
        extension.asks = true;
        extension.is_ready = true;
        if self.are_done() {
            said.push_back(Said::ExtensionsAsked);
        }
        Reply::Later(Waits::Event(index))
    }

    fn gave_up(
        &mut self,
        headers: &HeaderMap,
        kind: &'static str,
        state: &'static str,
        said: &mut VecDeque<Said>,
    ) -> Answer {
        let index = match self.identified(headers) {
            Ok(index) => index,
            Err(refusal) => return refusal,
        };
        let Some(declared) = text(headers, ERROR_TYPE) else {
            let message = "Lambda-Extension-Function-Error-Type not found";
            return forbidden("Extension.MissingHeader", message);
        };
        let extension = &mut self.all[index];
        // Initialisation can fail only before it is over.
        if extension.has_failed || (state == "InitError" && extension.is_ready) {
            let from = if extension.has_failed { "Exited" } else { "Ready" };
            let message = format!(
                "State transition from {from} to {state} failed for extension {}. Error: State transition is not allowed",
                extension.id
            );
            return forbidden("Extension.InvalidExtensionState", &message);
        }
        extension.has_failed = true;
        extension.failed = Some((state, kind));
        said.push_back(Said::ExtensionFailed(Failure { kind, message: declared.to_owned() }));
        Answer::accepted()
    }
}

impl Extension {
    /// As AWS's lines call it, and the type of its failure.
    pub(crate) fn state(&self) -> (&'static str, Option<&'static str>) {
        match self.failed {
            Some((state, kind)) => (state, Some(kind)),
            None if self.is_ready => ("Ready", None),
            None if self.id.is_empty() => ("Started", None),
            None => ("Registered", None),
        }
    }

    fn new(name: &str, is_external: bool) -> Self {
        Self {
            id: String::new(),
            name: name.to_owned(),
            is_external,
            wants: BTreeSet::new(),
            asks: false,
            is_ready: false,
            seen: 0,
            has_failed: false,
            failed: None,
            has_subscribed: false,
            was_told_of_end: false,
        }
    }
}

impl Registrant {
    fn document(&self, with_account: bool) -> String {
        let mut document = json!({
            "functionName": self.function_name, "functionVersion": self.function_version,
            "handler": self.handler,
        });
        if with_account {
            document["accountId"] = Value::from(self.account.as_str());
        }
        document.to_string()
    }
}

fn forbidden(kind: &str, message: &str) -> Answer {
    Answer::error(StatusCode::FORBIDDEN, kind, message)
}
