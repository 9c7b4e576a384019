//! Which host names a `dev` server answers to.
//!
//! `gatemill dev` checks no signature, so a web page whose name an attacker lets resolve to 127.0.0.1 ("DNS
//! rebinding") could otherwise call it from the developer's browser, as the page's own origin. Names that nobody can
//! register are ours; so are those under which AWS's tools and local stacks reach such servers. `serve` needs none of
//! this: a page has no secret to sign with. The data plane has its own names and asks nothing here.

use std::net::IpAddr;

use http::{header, request::Parts};

/// Domains whose names lead to this machine or are AWS's own, mapped to it on purpose.
const DOMAINS: [&str; 4] = ["localhost", "internal", "localhost.localstack.cloud", "amazonaws.com"];

/// Whether a request names a host that can be ours. `domain` is the one that the operator owns.
pub(crate) fn is_ours(parts: &Parts, domain: Option<&str>) -> bool {
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let host = authority.or_else(|| parts.headers.get(header::HOST)?.to_str().ok());
    host.is_none_or(|host| is_own_name(without_port(host), domain))
}

fn is_own_name(host: &str, domain: Option<&str>) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    // A name without a dot is of the local network, such as that of a container.
    !host.contains('.')
        || literal.parse::<IpAddr>().is_ok()
        || DOMAINS.iter().copied().chain(domain).any(|domain| is_below(&host, domain))
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nobody_can_register_are_ours() {
        for host in [
            "localhost",
            "localhost:4566",
            "127.0.0.1:4566",
            "[::1]:4566",
            "gatemill",
            "gatemill:4566",
            "lambda.us-east-1.amazonaws.com",
            "host.docker.internal:4566",
            "LOCALHOST.",
            "s3.localhost.localstack.cloud:4566",
            "x.apis.example.com",
        ] {
            assert!(is_own_name(without_port(host), Some("apis.example.com")), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:4566",
            "notlocalhost.com",
            "localhost.evil.com",
            "xamazonaws.com",
        ] {
            assert!(!is_own_name(without_port(host), Some("apis.example.com")), "{host}");
        }
    }
}
