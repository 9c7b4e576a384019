//! What functions said about requests: read, kept for a time, and asked for once by all who wait for the same.
//!
//! A policy is kept as it is and evaluated anew for every request, since requests of one caller go to many routes. A
//! function that failed is asked again by the next request, though those that waited for it get its failure.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gatemill_iam as iam;
use gatemill_wire::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::limits::{AUTHORIZER_ANSWER_BYTES_MAX, AUTHORIZER_ANSWERS_MAX};

/// What a function said.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    allows: Allows,
    /// Whom it recognised; only policies name one.
    pub(crate) principal: Option<String>,
    /// The value of an API key that is the caller's; only policies come with one.
    pub(crate) usage_key: Option<String>,
    /// What it wants the integration to know.
    pub(crate) context: Option<Map<String, Value>>,
}

#[derive(Debug, Clone)]
enum Allows {
    Simply(bool),
    By(iam::Document),
}

/// Why there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoVerdict {
    /// The function ended with the error `Unauthorized`.
    Unauthorized,
    /// Anything else; for the log.
    Failed(String),
}

type Outcome = Result<Arc<Verdict>, NoVerdict>;
type Wait = watch::Receiver<Option<Outcome>>;

/// The answers that are kept.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    slots: Mutex<HashMap<Vec<String>, Slot>>,
}

#[derive(Debug)]
enum Slot {
    /// Somebody asks.
    Asking(Wait),
    Known(Arc<Verdict>, Timestamp),
}

enum Turn {
    Known(Arc<Verdict>),
    Wait(Wait),
    Ask(watch::Sender<Option<Outcome>>),
}

impl Answers {
    /// The verdict for these values: a kept one, or that of `ask`, which runs once for all who want the same.
    pub(crate) async fn get<F>(
        &self,
        key: &[String],
        now: Timestamp,
        ttl: Duration,
        ask: impl Fn() -> F,
    ) -> Outcome
    where
        F: Future<Output = Outcome>,
    {
        loop {
            match self.turn(key, now) {
                Turn::Known(verdict) => return Ok(verdict),
                Turn::Wait(mut wait) => {
                    // Whoever asks may leave in the middle, with its client; then it is the next one's turn.
                    if let Ok(outcome) = wait.wait_for(Option::is_some).await
                        && let Some(outcome) = outcome.clone()
                    {
                        return outcome;
                    }
                }
                Turn::Ask(sender) => {
                    let outcome = ask().await;
                    self.settle(key, now, ttl, &outcome);
                    sender.send_replace(Some(outcome.clone()));
                    return outcome;
                }
            }
        }
    }

    fn turn(&self, key: &[String], now: Timestamp) -> Turn {
        let mut slots = self.slots();
        match slots.get(key) {
            Some(Slot::Known(verdict, until)) if *until > now => {
                return Turn::Known(Arc::clone(verdict));
            }
            // The sender of one that left is gone, and has said nothing.
            Some(Slot::Asking(wait)) if wait.has_changed().is_ok() => {
                return Turn::Wait(wait.clone());
            }
            Some(_) | None => {}
        }
        if slots.len() >= AUTHORIZER_ANSWERS_MAX {
            slots.retain(|_, slot| match slot {
                Slot::Known(_, until) => *until > now,
                Slot::Asking(wait) => wait.has_changed().is_ok(),
            });
            if slots.len() >= AUTHORIZER_ANSWERS_MAX {
                slots.retain(|_, slot| matches!(slot, Slot::Asking(_)));
            }
        }
        let (sender, wait) = watch::channel(None);
        slots.insert(key.to_vec(), Slot::Asking(wait));
        Turn::Ask(sender)
    }

    fn settle(&self, key: &[String], now: Timestamp, ttl: Duration, outcome: &Outcome) {
        let mut slots = self.slots();
        match outcome {
            Ok(verdict) => {
                let until = now.plus_ms(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
                slots.insert(key.to_vec(), Slot::Known(Arc::clone(verdict), until));
            }
            Err(_) => _ = slots.remove(key),
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Vec<String>, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verdict {
    /// Reads what a function returned.
    ///
    /// # Errors
    /// What is wrong with it, for the log.
    pub(crate) fn read(payload: &[u8], simple: bool) -> Result<Self, String> {
        let wrong = |what: &str| format!("the authorizer's answer has {what}");
        if payload.len() > AUTHORIZER_ANSWER_BYTES_MAX {
            return Err(wrong("too many bytes"));
        }
        let answer: Value =
            serde_json::from_slice(payload).map_err(|_| wrong("another form than JSON"))?;
        let context = match answer.get("context") {
            None | Some(Value::Null) => None,
            Some(Value::Object(context)) => Some(context.clone()),
            Some(_) => return Err(wrong("a context that is no object")),
        };
        if simple {
            let allowed = answer.get("isAuthorized").and_then(Value::as_bool);
            let allowed = allowed.ok_or_else(|| wrong("no isAuthorized"))?;
            let (principal, usage_key) = (None, None);
            return Ok(Self { allows: Allows::Simply(allowed), principal, usage_key, context });
        }
        let principal = answer.get("principalId").and_then(Value::as_str);
        let principal = principal.ok_or_else(|| wrong("no principalId"))?.to_owned();
        let policy = answer.get("policyDocument").ok_or_else(|| wrong("no policyDocument"))?;
        let mut policy = iam::Document::parse(&policy.to_string())
            .map_err(|error| format!("the authorizer's policy cannot be read: {error}"))?;
        for statement in &mut policy.statement {
            // It is about the principal that the answer names.
            statement.principal = Some(iam::document::Principals::Everyone);
        }
        let usage_key = answer.get("usageIdentifierKey").and_then(Value::as_str);
        let usage_key = usage_key.map(str::to_owned);
        Ok(Self { allows: Allows::By(policy), principal: Some(principal), usage_key, context })
    }

    /// Whether it lets a request through that is for this ARN.
    pub(crate) fn allows(&self, arn: &str, source_ip: &str, now: Timestamp) -> bool {
        let policy = match &self.allows {
            Allows::Simply(allowed) => return *allowed,
            Allows::By(policy) => policy,
        };
        let context = iam::Context::default()
            .with("aws:SourceIp", source_ip)
            .with("aws:CurrentTime", now.iso8601_millis())
            .with("aws:EpochTime", now.seconds().to_string());
        let request = iam::Request {
            principal: iam::Principal::Anonymous,
            action: "execute-api:Invoke",
            resource: arn,
            context: &context,
        };
        iam::evaluate([policy], &request).is_allow()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;

    fn verdict(answer: &Value, simple: bool) -> Result<Verdict, String> {
        Verdict::read(answer.to_string().as_bytes(), simple)
    }

    fn policy(effect: &str, resource: &str) -> Value {
        json!({"principalId": "p", "policyDocument": {"Version": "2012-10-17", "Statement": [
            {"Effect": effect, "Action": "execute-api:Invoke", "Resource": resource}]}})
    }

    #[test]
    fn policies_decide_by_arn_and_other_forms_are_refused() {
        const ARN: &str = "arn:aws:execute-api:r:1:api/stage/GET/a/b";
        let allows =
            |answer: Value| verdict(&answer, false).unwrap().allows(ARN, "192.0.2.1", Timestamp(5));
        assert!(allows(policy("Allow", "*")));
        assert!(allows(policy("Allow", "arn:aws:execute-api:r:1:api/*/GET/*")));
        assert!(!allows(policy("Allow", "arn:aws:execute-api:r:1:api/*/POST/*")));
        assert!(!allows(policy("Deny", "*")));
        for wrong in [
            json!(null),
            json!({"isAuthorized": true}),
            json!({"principalId": "p"}),
            json!({"policyDocument": policy("Allow", "*")["policyDocument"]}),
            json!({"principalId": "p", "policyDocument": {}}),
        ] {
            assert!(verdict(&wrong, false).is_err(), "{wrong}");
        }
        assert!(verdict(&json!({"isAuthorized": "true"}), true).is_err());
        assert!(verdict(&json!({"isAuthorized": true, "context": 5}), true).is_err());
        assert!(!verdict(&json!({"isAuthorized": false}), true).unwrap().allows(
            ARN,
            "",
            Timestamp(5)
        ));
    }

    #[tokio::test]
    async fn one_asks_for_all_and_failures_are_not_kept() {
        let answers = Answers::default();
        let asked = AtomicUsize::new(0);
        let key = ["k".to_owned()];
        let ttl = Duration::from_secs(10);
        let ask = || async {
            let nth = asked.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            match nth {
                0 => Err(NoVerdict::Unauthorized),
                _ => Ok(Arc::new(verdict(&json!({"isAuthorized": true}), true).unwrap())),
            }
        };
        let get = |now| answers.get(&key, Timestamp(now), ttl, ask);
        let (a, b) = tokio::join!(get(0), get(0));
        assert!(a.is_err() && b.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let (a, b) = tokio::join!(get(0), get(9_999));
        assert!(a.is_ok() && b.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        assert!(get(10_000).await.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn one_that_leaves_while_it_asks_holds_up_nobody() {
        let answers = Answers::default();
        let key = ["k".to_owned()];
        let ttl = Duration::from_secs(10);
        let mut first = Box::pin(answers.get(&key, Timestamp(0), ttl, std::future::pending));
        assert!(futures_poll(first.as_mut()).is_none());
        let second = answers.get(&key, Timestamp(0), ttl, || async {
            Ok(Arc::new(verdict(&json!({"isAuthorized": true}), true).unwrap()))
        });
        let mut second = Box::pin(second);
        assert!(futures_poll(second.as_mut()).is_none());
        drop(first);
        assert!(second.await.is_ok());
    }

    /// Polls once.
    fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }
}
