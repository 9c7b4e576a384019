//! The metadata endpoint of an execution environment: where it runs.
//!
//! It wants the token that only the environment's own processes were given.

use http::{Method, StatusCode, header, request};
use serde_json::json;

use super::http1::Answer;

/// The one path that it serves.
pub(crate) const PATH: &str = "/2026-01-15/metadata/execution-environment";

/// Answers a request to [`PATH`].
pub(crate) fn answer(head: &request::Parts, token: &str, region: &str) -> Answer {
    let refuse =
        |status: StatusCode, message: &str| Answer::error(status, "Metadata.Error", message);
    let given = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if token.is_empty() || given.and_then(|value| value.strip_prefix("Bearer ")) != Some(token) {
        return refuse(StatusCode::UNAUTHORIZED, "Missing or invalid token");
    }
    if head.method != Method::GET {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
    }
    let body = json!({ "AvailabilityZoneID": zone_id(region) });
    Answer::new(StatusCode::OK, body.to_string())
        .with("Cache-Control", "private, max-age=43200, immutable")
}

/// The id of the region's first zone, as AWS shortens regions: `us-east-1` gives `use1-az1`. One machine is one zone.
fn zone_id(region: &str) -> String {
    let short: String = region
        .split('-')
        .map(|part| match part {
            "northeast" => "ne",
            "northwest" => "nw",
            "southeast" => "se",
            "southwest" => "sw",
            "north" | "south" | "east" | "west" | "central" => &part[..1],
            other => other,
        })
        .collect();
    format!("{short}-az1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(region: &str) -> String {
        zone_id(region)
    }

    #[test]
    fn zones_are_named_as_aws_names_them() {
        assert_eq!(check("us-east-1"), "use1-az1");
        assert_eq!(check("eu-central-1"), "euc1-az1");
        assert_eq!(check("ap-southeast-2"), "apse2-az1");
    }
}
