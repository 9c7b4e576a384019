//! Request: reads the body and makes what the integration is sent.

use bytes::Bytes;
use gatemill_wire::payload::headers::remove_hop_by_hop;
use http::{Request, Uri};
use http_body::Body;
use http_body_util::Full;

use super::{
    Exchange, Refusal, Refused, Seen, body::RequestBody, event, headers, mapping, parse::Place,
    route::Routed, values::Values,
};
use crate::{
    limits::{EVENT_BYTES_MAX, HOPS_MAX},
    record::PayloadFormat,
    snapshot::{HttpTarget, To},
};

/// What an integration is sent.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// An event, and the format in which the function answers.
    Event(Bytes, PayloadFormat),
    /// A request.
    Http(Box<Request<Full<Bytes>>>),
    /// A call of a service.
    Call(Box<gatemill_aws::Request>),
}

/// Reads the body, with its limit, and makes the event or the request.
pub(super) async fn request<B>(
    exchange: &Exchange,
    place: &Place,
    routed: &Routed<'_>,
    body: &mut RequestBody<B>,
    seen: &Seen,
) -> Result<Outgoing, Refused>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = body.read(&exchange.head.headers).await?;
    let integration = routed.route.integration.as_deref();
    let integration =
        integration.ok_or_else(|| Refusal::Internal.because("the route has no integration"))?;
    let mapped = if integration.request.is_empty() {
        None
    } else {
        let values = Values::of_request(exchange, place, routed, seen, Some(&body));
        let mut head = exchange.head.clone();
        if matches!(integration.to, To::Http(_)) {
            // Before anything is added: what is added is not the client's to take away again by a word in `Connection`.
            remove_hop_by_hop(&mut head.headers);
        }
        Some(mapping::request(&values, head, &integration.request)?)
    };
    let path = mapped.as_ref().and_then(|mapped| mapped.path.clone());
    let changed = mapped.map(|mapped| Exchange { head: mapped.head, ..exchange.clone() });
    let exchange = changed.as_ref().unwrap_or(exchange);
    match &integration.to {
        To::Function { format, .. } => {
            let moved = path.map(|path| place.moved(path));
            let place = moved.as_ref().unwrap_or(place);
            let event = event::event(exchange, place, routed, &body, *format, &seen.identity);
            let event = event.map_err(|error| Refusal::Internal.because(error.to_string()))?;
            if event.len() > EVENT_BYTES_MAX {
                return Err(Refusal::EntityTooLarge.because("the event is larger than 6 MB"));
            }
            Ok(Outgoing::Event(event, *format))
        }
        To::Http(http) => {
            let request = http_request(exchange, place, routed, http, path.as_deref(), body)?;
            Ok(Outgoing::Http(Box::new(request)))
        }
        To::Service(service) => {
            let values = Values::of_request(exchange, place, routed, seen, Some(&body));
            let call = service.request(|expression| values.text(expression));
            // Whatever is wrong with a value came with the request.
            let call = call.map_err(|unfit| Refusal::BadRequest.because(unfit.to_string()))?;
            Ok(Outgoing::Call(Box::new(call)))
        }
        To::Nowhere => Err(Refusal::Internal.because("the route has no integration")),
    }
}

fn http_request(
    exchange: &Exchange,
    place: &Place,
    routed: &Routed<'_>,
    to: &HttpTarget,
    path: Option<&str>,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, Refused> {
    // With this one.
    if headers::hops(&exchange.head.headers) + 1 > HOPS_MAX {
        return Err(Refusal::Internal.because("the request went through too many gateways"));
    }
    let parameter = |name: &str| {
        routed.parameters().find(|(parameter, _)| *parameter == name).map(|(_, text)| text)
    };
    let mut uri = to.uri.render(parameter);
    match path {
        Some(path) => uri = replace_path(&uri, path),
        None if to.private => uri = append_path(&uri, &place.raw_path),
        None if routed.route.key == "$default" => {
            uri = append_path(&uri, place.path(exchange));
        }
        None => {}
    }
    if let Some(query) = exchange.head.uri.query().filter(|query| !query.is_empty()) {
        uri.push(if uri.contains('?') { '&' } else { '?' });
        uri.push_str(query);
    }
    let uri = Uri::try_from(uri).map_err(|error| {
        Refusal::Internal.because(format!("the integration's URI is none: {error}"))
    })?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = to.method.as_ref().unwrap_or(&exchange.head.method).clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers::for_upstream(exchange);
    Ok(request)
}

/// Adds the request's whole path to the base of the route `$default`, before a query of its own.
fn append_path(base: &str, path: &str) -> String {
    let (base, query) = match base.split_once('?') {
        Some((base, query)) => (base, Some(query)),
        None => (base, None),
    };
    let joined = format!("{}{path}", base.trim_end_matches('/'));
    match query {
        Some(query) => format!("{joined}?{query}"),
        None => joined,
    }
}

/// Puts another path in the place of a URI's own.
fn replace_path(uri: &str, path: &str) -> String {
    let after_scheme = uri.find("://").map_or(0, |at| at + 3);
    let authority = uri[after_scheme..].find(['/', '?']).map_or(uri.len(), |at| after_scheme + at);
    let query = uri[authority..].find('?').map_or("", |at| &uri[authority + at..]);
    format!("{}{path}{query}", &uri[..authority])
}

#[cfg(test)]
mod tests {
    use super::{append_path, replace_path};

    #[test]
    fn another_path() {
        assert_eq!(replace_path("http://h", "/a"), "http://h/a");
        assert_eq!(replace_path("http://h/b/c?x=1", "/a"), "http://h/a?x=1");
        assert_eq!(replace_path("http://h?x=1", "/a"), "http://h/a?x=1");
    }

    #[test]
    fn the_path_follows_the_base() {
        assert_eq!(append_path("http://h", "/a"), "http://h/a");
        assert_eq!(append_path("http://h/", "/a/"), "http://h/a/");
        assert_eq!(append_path("http://h/b/?x=1", "/a"), "http://h/b/a?x=1");
    }
}
