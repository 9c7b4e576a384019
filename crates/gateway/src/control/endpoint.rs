//! The address of an API in answers: one that works from where the caller is.

use gatemill_wire::payload::host;

/// The value of `ApiEndpoint`. Of the path form, the stage is added by whoever calls.
pub(crate) fn api_endpoint(reached: &str, base_domain: Option<&str>, api_id: &str) -> String {
    let (name, path) = (format!("{api_id}.execute-api"), format!("execute-api/{api_id}"));
    host::address(reached, base_domain, &name, &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let endpoint = |reached| api_endpoint(reached, None, "abc");
        assert_eq!(endpoint("http://127.0.0.1:4566"), "http://abc.execute-api.localhost:4566");
        assert_eq!(endpoint("http://box:4566"), "http://box:4566/_aws/execute-api/abc");
    }
}
