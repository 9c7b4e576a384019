//! The stages of one request: what an exporter of traces is given of each.
//!
//! A path notes how much time has passed at the end of each of its stages, if anybody wants to know; else a note is one
//! comparison. What travels between services is AWS's trace header, `Root=1-…;Parent=…;Sampled=…`.

use std::borrow::Cow;

use crate::limits::STAGES_MAX;

/// The ends of the stages that a request has passed, in microseconds since its begin.
///
/// Futures that carry it are moved as a whole, so that it is small.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stages(Option<Vec<(&'static str, u64)>>);

impl Stages {
    /// Stages that somebody wants to know.
    pub fn kept() -> Self {
        Self(Some(Vec::with_capacity(STAGES_MAX)))
    }

    /// Notes the end of a stage; `elapsed_us` is asked for only if somebody wants to know.
    pub fn end(&mut self, stage: &'static str, elapsed_us: impl FnOnce() -> u64) {
        if let Some(ends) = self.0.as_mut().filter(|ends| ends.len() < STAGES_MAX) {
            ends.push((stage, elapsed_us()));
        }
    }

    /// Each stage with its begin and its end, in microseconds since the request's begin.
    pub fn intervals(&self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        let mut before = 0;
        self.0.iter().flatten().map(move |(stage, end)| {
            let begin = std::mem::replace(&mut before, *end);
            (*stage, begin, *end)
        })
    }
}

/// Which side of a call a span is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// A request that came from outside.
    Server,
    /// Work inside.
    Internal,
}

/// One request that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// What was done, such as `proxy` or `invoke`: never what a customer wrote.
    pub name: &'static str,
    /// Which side of a call it is.
    pub kind: SpanKind,
    /// The trace that it belongs to.
    pub trace: TraceContext,
    /// Its begin, in milliseconds since 1970.
    pub started_ms: i64,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// The stages of its path.
    pub stages: Stages,
    /// Whether it failed by a fault of ours or of what it called.
    pub failed: bool,
    /// What else is known of it, by names of OpenTelemetry's conventions where there are.
    pub attributes: Vec<(&'static str, Cow<'static, str>)>,
}

/// Takes spans. It must not wait: what it has no room for it drops and counts.
pub trait SpanSink: Send + Sync {
    /// One request has ended.
    fn take(&self, span: Span);
}

/// The trace of a request, as its trace header says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// Zero where the header has none that can be read.
    pub trace: u128,
    /// The span that asked; zero where there is none.
    pub parent: u64,
}

impl TraceContext {
    /// Reads `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`, in any order; what cannot be read is
    /// zero.
    pub fn read(header: &str) -> Self {
        let mut context = Self::default();
        for field in header.split(';') {
            match field.trim().split_once('=') {
                Some(("Root", root)) => context.trace = root_id(root).unwrap_or(0),
                Some(("Parent", parent)) if parent.len() == 16 => {
                    context.parent =
                        hexadecimal(parent).and_then(|id| id.try_into().ok()).unwrap_or(0);
                }
                _ => {}
            }
        }
        context
    }
}

/// `1-<8 digits>-<24 digits>`.
fn root_id(root: &str) -> Option<u128> {
    let (time, rest) = root.strip_prefix("1-")?.split_once('-')?;
    if time.len() != 8 || rest.len() != 24 {
        return None;
    }
    Some(hexadecimal(time)? << 96 | hexadecimal(rest)?)
}

fn hexadecimal(digits: &str) -> Option<u128> {
    // The parser takes a sign, too.
    let all = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    all.then(|| u128::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_intervals_and_cost_nothing_unless_kept() {
        let mut off = Stages::default();
        off.end("route", || panic!("nobody wants to know"));
        assert_eq!(off.intervals().count(), 0);
        let mut stages = Stages::kept();
        stages.end("route", || 5);
        stages.end("integrate", || 30);
        let all: Vec<_> = stages.intervals().collect();
        assert_eq!(all, [("route", 0, 5), ("integrate", 5, 30)]);
        (0..20).for_each(|n| stages.end("more", || n));
        assert_eq!(stages.intervals().count(), STAGES_MAX);
    }

    #[test]
    fn a_trace_header_is_read_as_far_as_it_can_be() {
        let root = "Root=1-5759e988-bd862e3fe1be46a994272793";
        let expected = TraceContext {
            trace: 0x5759_e988_bd86_2e3f_e1be_46a9_9427_2793,
            parent: 0x5399_5c3f_42cd_8ad8,
        };
        let header = format!("Sampled=1; {root};Parent=53995c3f42cd8ad8");
        assert_eq!(TraceContext::read(&header), expected);
        assert_eq!(TraceContext::read(root), TraceContext { parent: 0, ..expected });
        for bad in [
            "",
            "Root=1-5759e988",
            "Root=1-+759e988-bd862e3fe1be46a994272793",
            "Parent=é",
            "Root=",
            ";;=",
        ] {
            assert_eq!(TraceContext::read(bad), TraceContext::default(), "{bad}");
        }
    }
}
