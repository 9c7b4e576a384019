//! Loops of functions, found by what the trace header says of an event's past.
//!
//! Every event that a function causes carries the trace header of the call that caused it, because AWS's clients pass it
//! on. Its `Lineage` names the functions on the way, as short hashes, each with how often it was invoked. A function that
//! would be invoked once more than [`LOOP_INVOCATIONS_MAX`] times is in a loop; whether that is stopped is its own
//! setting. A chain begins with an asynchronous event; a call that somebody waits for is counted as part of one, and begins
//! none: its trace header reaches the function as it came.

use gatemill_store::Digest;

use crate::limits::{LINEAGE_FUNCTIONS_MAX, LOOP_INVOCATIONS_MAX};

/// What becomes of a trace header when a function is invoked with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entered {
    /// The header for the function's runtime.
    pub(crate) trace_id: String,
    /// Whether it is one invocation too many.
    pub(crate) is_loop: bool,
}

/// Whether a header is of a chain that is counted.
pub(crate) fn is_counted(trace_id: &str) -> bool {
    trace_id.split(';').any(|part| part.trim().starts_with("Lineage="))
}

/// Counts an invocation of the function with this ARN (without a qualifier) in a trace header.
pub(crate) fn enter(trace_id: &str, function_arn: &str) -> Entered {
    let own = hash(function_arn);
    let mut rest = Vec::new();
    let mut lineage: Vec<(&str, u32)> = Vec::new();
    for part in trace_id.split(';') {
        match part.trim().strip_prefix("Lineage=") {
            Some(text) => lineage.extend(text.split('|').filter_map(entry)),
            None => rest.push(part),
        }
    }
    let before = lineage.iter().find(|(name, _)| *name == own).map(|(_, count)| *count);
    let count = before.map_or(0, |count| count.saturating_add(1));
    lineage.retain(|(name, _)| *name != own);
    // The longest ago goes first when there are too many.
    let surplus = (lineage.len() + 1).saturating_sub(LINEAGE_FUNCTIONS_MAX);
    lineage.drain(..surplus);
    lineage.push((&own, count));
    let lineage: Vec<String> =
        lineage.into_iter().map(|(name, count)| format!("{name}:{count}")).collect();
    let trace_id = format!("{};Lineage={}", rest.join(";"), lineage.join("|"));
    Entered { trace_id, is_loop: count >= LOOP_INVOCATIONS_MAX }
}

/// `hash:count`, or `1:hash:count` as newer clients of AWS write it.
fn entry(text: &str) -> Option<(&str, u32)> {
    let (name, count) = text.trim().rsplit_once(':')?;
    let name = name.rsplit(':').next().unwrap_or(name);
    let is_hash = name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some((name, count.parse().ok()?)).filter(|_| is_hash)
}

fn hash(function_arn: &str) -> String {
    let mut digest = Digest::of(function_arn.as_bytes()).to_string();
    digest.truncate(8);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=0";

    #[test]
    fn a_loop_ends_after_sixteen_invocations() {
        let mut trace_id = ROOT.to_owned();
        for round in 0..LOOP_INVOCATIONS_MAX {
            for arn in ["arn:a", "arn:b"] {
                let entered = enter(&trace_id, arn);
                assert!(!entered.is_loop, "{round}");
                trace_id = entered.trace_id;
            }
        }
        assert!(
            trace_id.starts_with(ROOT) && trace_id.matches("Lineage").count() == 1,
            "{trace_id}"
        );
        assert!(enter(&trace_id, "arn:a").is_loop && enter(&trace_id, "arn:b").is_loop);
        assert!(!enter(&trace_id, "arn:c").is_loop);
        assert!(is_counted(&trace_id) && !is_counted(ROOT));
    }

    #[test]
    fn what_others_wrote_is_read_and_bounded() {
        let own = hash("arn:a");
        let entered = enter(&format!("{ROOT};Lineage=1:{own}:4"), "arn:a");
        assert!(entered.trace_id.ends_with(&format!(";Lineage={own}:5")), "{}", entered.trace_id);
        for odd in ["Lineage=", "Lineage=x", "Lineage=:::|:|", "Lineage=12345678:-1"] {
            let entered = enter(&format!("{ROOT};{odd}"), "arn:a");
            assert!(entered.trace_id.ends_with(&format!(";Lineage={own}:0")), "{odd}");
        }
        let long = (0..500)
            .fold(ROOT.to_owned(), |trace_id, n| enter(&trace_id, &format!("{n}")).trace_id);
        assert!(long.len() < 400, "{long}");
    }
}
