//! Hosts in requests, and addresses that work from where the caller is.

use http::{header, request::Parts};

/// The host that a request names: HTTP/2's authority, else the `Host` header.
pub fn authority(parts: &Parts) -> Option<&str> {
    match parts.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => parts.headers.get(header::HOST)?.to_str().ok(),
    }
}

/// Splits `host:port`; an IPv6 address keeps its brackets.
pub fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty()
                && port.bytes().all(|byte| byte.is_ascii_digit())
                && (!host.contains(':') || host.ends_with(']')) =>
        {
            (host, Some(port))
        }
        Some(_) | None => (authority, None),
    }
}

/// The address of something with a host name of its own, `<name>.<domain>`, or a path where no such name would lead here.
///
/// A caller that reached us under a loopback name gets a name below `localhost`, which resolvers and browsers turn into
/// the loopback by themselves. Elsewhere it needs a domain whose names all lead here (a setting); without one it is
/// `/_aws/<path>` on the host that the caller used.
pub fn address(reached: &str, base_domain: Option<&str>, name: &str, path: &str) -> String {
    let (scheme, authority) = reached.split_once("://").unwrap_or(("http", reached));
    let (host, port) = split_port(authority);
    let domain = match base_domain {
        Some(domain) => Some(domain),
        None if is_loopback(host) => Some("localhost"),
        None => None,
    };
    match (domain, port) {
        (Some(domain), Some(port)) => format!("{scheme}://{name}.{domain}:{port}"),
        (Some(domain), None) => format!("{scheme}://{name}.{domain}"),
        (None, _) => format!("{scheme}://{authority}/_aws/{path}"),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host == "localhost.localstack.cloud"
        || host.ends_with(".localhost.localstack.cloud")
        || host == "[::1]"
        || host.strip_prefix("127.").is_some_and(|rest| {
            let bytes: Vec<_> = rest.split('.').map(str::parse::<u8>).collect();
            bytes.len() == 3 && bytes.iter().all(Result::is_ok)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_works_where_the_caller_is() {
        for (reached, domain, expected) in [
            ("http://127.0.0.1:4566", None, "http://abc.x.localhost:4566"),
            ("http://localhost:4566", None, "http://abc.x.localhost:4566"),
            ("http://[::1]:4566", None, "http://abc.x.localhost:4566"),
            ("http://localhost", None, "http://abc.x.localhost"),
            ("http://box:4566", None, "http://box:4566/_aws/x/abc"),
            ("https://box", Some("api.example.com"), "https://abc.x.api.example.com"),
            ("http://10.0.0.7:80", Some("x.org"), "http://abc.x.x.org:80"),
            ("http://127.0.0.1.evil.example", None, "http://127.0.0.1.evil.example/_aws/x/abc"),
        ] {
            assert_eq!(address(reached, domain, "abc.x", "x/abc"), expected);
        }
        assert_eq!(split_port("[::1]"), ("[::1]", None));
        assert_eq!(split_port("::1"), ("::1", None));
    }
}
