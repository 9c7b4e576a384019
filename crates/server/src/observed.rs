//! What APIs were used for, as the operator reads it: `/_gatemill/metrics` for Prometheus, counted since the start, and
//! `/_gatemill/usage`, the rows that are kept for each stage and day.
//!
//! Names of APIs, stages and routes are their owners', so that both are for the machine itself alone.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use gatemill_gateway::usage::{Metered, Totals};
use gatemill_meter::Subject;
use gatemill_metrics::Total;
use serde_json::{Value, json};

use crate::server::Server;

/// The name of a counter, what it counts, and where it is read.
type Counter = (&'static str, &'static str, fn(&Totals) -> u64);

const COUNTERS: [Counter; 8] = [
    ("requests", "Requests answered.", |totals| totals.calls),
    ("client_errors", "Answers of 400 to 499.", |totals| totals.client_errors),
    ("server_errors", "Answers of 500 to 599.", |totals| totals.server_errors),
    ("response_bytes", "Bytes of answers.", |totals| totals.bytes_out),
    ("latency_milliseconds", "Time to the end of answers.", |totals| totals.latency_ms),
    ("integration_latency_milliseconds", "Time of integrations.", |totals| {
        totals.integration_latency_ms
    }),
    ("messages", "Messages of WebSocket APIs.", |totals| totals.messages),
    ("connection_minutes", "Minutes of open WebSocket connections.", |totals| {
        totals.connection_minutes
    }),
];

/// The counters of stages, and of routes where their stage asked for it, in Prometheus's text format.
pub(crate) fn metrics(server: &Server) -> String {
    let mut text = written(&server.gateway.totals());
    of_functions(&of_what_is_there(server), &mut text);
    let mut own = |metric: &str, help: &str, value: u64| {
        // Writing to a text cannot fail.
        let _ = write!(text, "# HELP {metric} {help}\n# TYPE {metric} counter\n{metric} {value}\n");
    };
    let dropped = server.metrics.dropped();
    let help = "Measurements for which there was no room.";
    own("gatemill_measurements_dropped_total", help, dropped);
    if let Some((sent, dropped)) = server.spans.as_ref().map(|spans| spans.counts()) {
        own("gatemill_spans_exported_total", "Spans that a receiver has taken.", sent);
        own("gatemill_spans_dropped_total", "Spans that were given up.", dropped);
    }
    text
}

/// What was measured of functions and APIs that are there; those that are gone are forgotten.
fn of_what_is_there(server: &Server) -> Vec<Total> {
    let mut known: BTreeMap<Arc<Subject>, bool> = BTreeMap::new();
    let mut totals = server.metrics.totals();
    totals.retain(|total| {
        let subject = &total.subject;
        if let Some(is_there) = known.get(subject) {
            return *is_there;
        }
        let is_there = is_there(server, subject);
        known.insert(Arc::clone(subject), is_there);
        is_there
    });
    server.metrics.retain_totals(|subject| known.get(subject) != Some(&false));
    totals
}

fn is_there(server: &Server, subject: &Subject) -> bool {
    let Some((kind, name)) = subject.dimensions.first() else { return true };
    let is_there = match *kind {
        "FunctionName" => {
            let found = server.lambda.has_function(&subject.account, &subject.region, name);
            found.map_err(|error| error.to_string())
        }
        "ApiId" => server.gateway.has_api(name).map_err(|error| error.to_string()),
        _ => Ok(true),
    };
    is_there.unwrap_or_else(|error| {
        tracing::error!(error, "whether something is there cannot be read");
        true
    })
}

/// A metric of functions, its name here, and what it is.
const OF_FUNCTIONS: [(&str, &str, &str); 6] = [
    ("Invocations", "invocations", "Calls that ran."),
    ("Errors", "errors", "Calls whose function failed."),
    ("Throttles", "throttles", "Calls that were refused with 429."),
    ("Duration", "duration_milliseconds", "Time that functions ran."),
    ("AsyncEventsReceived", "async_events_received", "Asynchronous events that were accepted."),
    (
        "AsyncEventsDropped",
        "async_events_dropped",
        "Asynchronous events that ended without success.",
    ),
];

/// The counters of functions, their versions and aliases together.
fn of_functions(totals: &[Total], text: &mut String) {
    for (name, short, help) in OF_FUNCTIONS {
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for total in totals.iter().filter(|total| total.metric.name == name) {
            let subject = &total.subject;
            let of = |wanted: &str| {
                let found = subject.dimensions.iter().find(|(name, _)| *name == wanted);
                found.map_or("", |(_, value)| value.as_str())
            };
            let (account, region) = (&subject.account, &subject.region);
            let function = escaped(of("FunctionName"));
            let labels =
                format!("account=\"{account}\",region=\"{region}\",function=\"{function}\"");
            *sums.entry(labels).or_default() += total.sum;
        }
        if sums.is_empty() {
            continue;
        }
        let metric = format!("gatemill_lambda_{short}_total");
        let _ = write!(text, "# HELP {metric} {help}\n# TYPE {metric} counter\n");
        text.extend(sums.iter().map(|(labels, sum)| format!("{metric}{{{labels}}} {sum}\n")));
    }
}

fn written(totals: &[(Metered, Totals)]) -> String {
    let mut text = String::new();
    for (name, help, read) in COUNTERS {
        for of in ["stage", "route"] {
            let metric = format!("gatemill_api_{of}_{name}_total");
            let mut lines = totals
                .iter()
                .filter(|(metered, _)| metered.route.is_some() == (of == "route"))
                .map(|(metered, totals)| {
                    format!("{metric}{{{}}} {}\n", labels(metered), read(totals))
                })
                .peekable();
            if lines.peek().is_some() {
                // Writing to a text cannot fail.
                let _ = write!(text, "# HELP {metric} {help}\n# TYPE {metric} counter\n");
                text.extend(lines);
            }
        }
    }
    text
}

fn labels(metered: &Metered) -> String {
    let Metered { account, region, api, stage, route } = metered;
    let mut labels = format!(
        "account=\"{account}\",region=\"{region}\",api=\"{api}\",stage=\"{}\"",
        escaped(stage)
    );
    if let Some(route) = route {
        let _ = write!(labels, ",route=\"{}\"", escaped(route));
    }
    labels
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The kept usage of the server's own account, by stage and day.
///
/// # Errors
/// When the store fails.
pub(crate) fn usage(server: &Server) -> Result<Value, gatemill_gateway::Error> {
    let rows = server.gateway.usage(&server.configuration.account)?;
    let row = |(metered, day, usage): (Metered, u64, gatemill_gateway::UsageRecord)| {
        json!({
            "region": metered.region,
            "api": metered.api,
            "stage": metered.stage,
            "date": date(day),
            "calls": usage.calls,
            "bytesOut": usage.bytes_out,
            "messages": usage.messages,
            "connectionMinutes": usage.connection_minutes,
        })
    };
    Ok(
        json!({ "account": server.configuration.account, "usage": rows.into_iter().map(row).collect::<Vec<_>>() }),
    )
}

/// A day as `2026-11-28`.
fn date(day: u64) -> String {
    let millis = i64::try_from(day.saturating_mul(86_400_000)).unwrap_or(0);
    let text = gatemill_wire::Timestamp(millis).iso8601_millis();
    text.split('T').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_stages_and_routes() {
        let stage = Metered {
            account: "1".to_owned(),
            region: "r".to_owned(),
            api: "a".to_owned(),
            stage: "$default".to_owned(),
            route: None,
        };
        let route = Metered { route: Some("GET /\"x\\".to_owned()), ..stage.clone() };
        let text = written(&[
            (stage, Totals { calls: 3, ..Totals::default() }),
            (route, Totals { calls: 2, ..Totals::default() }),
        ]);
        assert!(text.starts_with(
            "# HELP gatemill_api_stage_requests_total Requests answered.\n\
             # TYPE gatemill_api_stage_requests_total counter\n\
             gatemill_api_stage_requests_total{account=\"1\",region=\"r\",api=\"a\",stage=\"$default\"} 3\n"
        ));
        assert!(text.contains("stage=\"$default\",route=\"GET /\\\"x\\\\\"} 2\n"), "{text}");
        assert_eq!(date(20_785), "2026-11-28");
    }
}
