//! The address of an API in answers: one that works from where the caller is.

/// The value of `ApiEndpoint`.
///
/// A caller that reached us under a loopback name gets the host form below `localhost`, which resolvers and browsers
/// turn into the loopback by themselves. Elsewhere the host form needs a domain whose names all lead here (a setting);
/// without one it is the path form, to which the stage is added.
pub(crate) fn api_endpoint(reached: &str, base_domain: Option<&str>, api_id: &str) -> String {
    let (scheme, authority) = reached.split_once("://").unwrap_or(("http", reached));
    let (host, port) = split_port(authority);
    let domain = match base_domain {
        Some(domain) => Some(domain),
        None if is_loopback(host) => Some("localhost"),
        None => None,
    };
    match (domain, port) {
        (Some(domain), Some(port)) => format!("{scheme}://{api_id}.execute-api.{domain}:{port}"),
        (Some(domain), None) => format!("{scheme}://{api_id}.execute-api.{domain}"),
        (None, _) => format!("{scheme}://{authority}/_aws/execute-api/{api_id}"),
    }
}

/// Splits `host:port`; an IPv6 address keeps its brackets.
pub(crate) fn split_port(authority: &str) -> (&str, Option<&str>) {
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

fn is_loopback(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host == "localhost.localstack.cloud"
        || host.ends_with(".localhost.localstack.cloud")
        || host == "[::1]"
        || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_works_where_the_caller_is() {
        let cases = [
            ("http://127.0.0.1:4566", None, "http://abc.execute-api.localhost:4566"),
            ("http://localhost:4566", None, "http://abc.execute-api.localhost:4566"),
            ("http://[::1]:4566", None, "http://abc.execute-api.localhost:4566"),
            ("http://localhost", None, "http://abc.execute-api.localhost"),
            ("http://box:4566", None, "http://box:4566/_aws/execute-api/abc"),
            ("https://box", Some("api.example.com"), "https://abc.execute-api.api.example.com"),
            ("http://10.0.0.7:80", Some("x.org"), "http://abc.execute-api.x.org:80"),
        ];
        for (reached, domain, expected) in cases {
            assert_eq!(api_endpoint(reached, domain, "abc"), expected);
        }
        assert_eq!(split_port("[::1]"), ("[::1]", None));
        assert_eq!(split_port("::1"), ("::1", None));
    }
}
