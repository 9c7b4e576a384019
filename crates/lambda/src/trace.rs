//! Traces: the `X-Amzn-Trace-Id` of a call, and whether it is sampled.
//!
//! A caller's decision holds. Where there is none, `TracingConfig.Mode` decides: `PassThrough` samples nothing; `Active` has
//! X-Ray's default rule, the first call of each second and five in a hundred of the others. The decision reaches the function's
//! code in its trace header and the log in REPORT. No segment is sent anywhere: nothing here is X-Ray, and instrumented code
//! brings its own exporter.

use std::sync::atomic::{AtomicI64, Ordering};

use gatemill_wire::{RequestId, Timestamp};

use crate::{Invocation, Lambda, invoke::resolve::Version};

/// Of 2^32 calls that are not the first of their second, so many are sampled.
const RATE: u32 = u32::MAX / 20;

/// What is added to a caller's header, at most.
const ROOM: usize = ";Parent=0123456789abcdef;Sampled=0".len();

/// When a version was sampled last. Shared by all of its environments.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    second: AtomicI64,
}

impl Sampler {
    /// Whether the call at this time is sampled, where `random` is a random number.
    fn draws(&self, now: Timestamp, random: u32) -> bool {
        let second = now.seconds();
        self.second.swap(second, Ordering::Relaxed) != second || random < RATE
    }
}

/// The whole header of a call: `Root=…;Parent=…;Sampled=…`.
pub(crate) fn decide(lambda: &Lambda, call: &mut Invocation, version: &Version) -> String {
    let given = call.trace_id.take();
    let given = match given {
        Some(header) if sampled(&header).is_some() => return header,
        given => given,
    };
    let now = lambda.clock.now();
    // The last bits of a random id are random.
    let random = (call.request_id.0.as_u128() & u128::from(u32::MAX)).try_into().unwrap_or(0);
    let is_sampled = version.configuration.traced && version.sampler.draws(now, random);
    complete(given.as_deref(), call.request_id, now, is_sampled)
}

/// A caller's decision, if its header holds one.
fn sampled(header: &str) -> Option<bool> {
    header.split(';').find_map(|part| match part.trim() {
        "Sampled=1" => Some(true),
        "Sampled=0" => Some(false),
        _ => None,
    })
}

/// A header with a decision: made from the caller's, or from the request id, which is random enough.
fn complete(
    given: Option<&str>,
    request_id: RequestId,
    now: Timestamp,
    is_sampled: bool,
) -> String {
    let mut id = uuid::Uuid::encode_buffer();
    let id = &*request_id.0.simple().encode_lower(&mut id);
    let parent = &id[..16];
    let sampled = u8::from(is_sampled);
    let Some(given) = given else {
        let root = &id[id.len() - 24..];
        return format!("Root=1-{:08x}-{root};Parent={parent};Sampled={sampled}", now.seconds());
    };
    let mut header = String::with_capacity(given.len() + ROOM);
    for part in given.split(';').map(str::trim) {
        if !part.starts_with("Sampled=") {
            header.push_str(if header.is_empty() { "" } else { ";" });
            header.push_str(part);
        }
    }
    if !header.split(';').any(|part| part.starts_with("Parent=")) {
        header.push_str(";Parent=");
        header.push_str(parent);
    }
    header.push_str(";Sampled=");
    header.push(if is_sampled { '1' } else { '0' });
    header
}

/// A sampled trace as the log tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sampled<'a> {
    pub(crate) header: &'a str,
    /// `1-…`.
    pub(crate) root: &'a str,
    /// The segment that the function's own are below.
    pub(crate) parent: &'a str,
}

impl<'a> Sampled<'a> {
    /// What a header says; `None` for one that is not sampled.
    pub(crate) fn of(header: &'a str) -> Option<Self> {
        sampled(header).filter(|sampled| *sampled)?;
        let value = |name: &str| {
            header.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
        };
        Some(Self { header, root: value("Root")?, parent: value("Parent").unwrap_or("") })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn headers() {
        let id = RequestId(Uuid::from_u128(0x1234_5678_9ABC_DEF0_0FED_CBA9_8765_4321));
        let of =
            |given: Option<&str>, is_sampled| complete(given, id, Timestamp(1_000), is_sampled);
        assert_eq!(
            of(None, true),
            "Root=1-00000001-9abcdef00fedcba987654321;Parent=123456789abcdef0;Sampled=1"
        );
        assert_eq!(
            of(Some("Root=1-a-b;Sampled=?;Lineage=a:1"), false),
            "Root=1-a-b;Lineage=a:1;Parent=123456789abcdef0;Sampled=0"
        );
        assert_eq!(of(Some("Parent=p; Root=1-a-b"), true), "Parent=p;Root=1-a-b;Sampled=1");
        assert_eq!(sampled("Root=1-a-b;Sampled=1"), Some(true));
        assert_eq!(sampled("Root=1-a-b; Sampled=0"), Some(false));
        assert_eq!(sampled("Root=1-a-b;Sampled=?"), None);
        let trace = Sampled::of("Root=1-a-b;Parent=p;Sampled=1").unwrap();
        assert_eq!((trace.root, trace.parent), ("1-a-b", "p"));
        assert_eq!(Sampled::of("Root=1-a-b;Parent=p;Sampled=0"), None);
    }

    #[test]
    fn the_first_of_a_second_and_a_part_of_the_rest() {
        let sampler = Sampler::default();
        assert!(sampler.draws(Timestamp(5_000), u32::MAX));
        assert!(!sampler.draws(Timestamp(5_999), RATE));
        assert!(sampler.draws(Timestamp(5_999), RATE - 1));
        assert!(sampler.draws(Timestamp(6_000), u32::MAX));
    }
}
