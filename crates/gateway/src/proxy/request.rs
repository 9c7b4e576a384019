//! Request: reads the body and makes what the integration is sent.

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body::Body;
use http_body_util::Full;

use super::{Exchange, Refusal, Refused, body, event, headers, parse::Place, route::Routed};
use crate::{
    limits::{EVENT_BYTES_MAX, HOPS_MAX},
    record::PayloadFormat,
    snapshot::To,
    uri::UriTemplate,
};

/// What an integration is sent.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// An event, and the format in which the function answers.
    Event(Bytes, PayloadFormat),
    /// A request.
    Http(Box<Request<Full<Bytes>>>),
}

/// Reads the body, with its limit, and makes the event or the request.
pub(super) async fn request<B>(
    exchange: &Exchange,
    place: &Place,
    routed: &Routed<'_>,
    body: B,
) -> Result<Outgoing, Refused>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = body::read(&exchange.head.headers, body).await?;
    match routed.route.integration.as_deref().map(|integration| &integration.to) {
        Some(To::Function { format, .. }) => {
            let event = event::event(exchange, place, routed, &body, *format);
            let event = event.map_err(|error| Refusal::Internal.because(error.to_string()))?;
            if event.len() > EVENT_BYTES_MAX {
                return Err(Refusal::EntityTooLarge.because("the event is larger than 6 MB"));
            }
            Ok(Outgoing::Event(event, *format))
        }
        Some(To::Http { uri, method }) => {
            let request = http_request(exchange, place, routed, uri, method.as_ref(), body)?;
            Ok(Outgoing::Http(Box::new(request)))
        }
        Some(To::Nowhere) | None => Err(Refusal::Internal.because("the route has no integration")),
    }
}

fn http_request(
    exchange: &Exchange,
    place: &Place,
    routed: &Routed<'_>,
    template: &UriTemplate,
    method: Option<&Method>,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, Refused> {
    let headers = headers::for_upstream(exchange);
    if headers::hops(&headers) > HOPS_MAX {
        return Err(Refusal::Internal.because("the request went through too many gateways"));
    }
    let parameter = |name: &str| {
        routed.parameters().find(|(parameter, _)| *parameter == name).map(|(_, text)| text)
    };
    let mut uri = template.render(parameter);
    if routed.route.key == "$default" {
        uri = append_path(&uri, place.path(exchange));
    }
    if let Some(query) = exchange.head.uri.query().filter(|query| !query.is_empty()) {
        uri.push(if uri.contains('?') { '&' } else { '?' });
        uri.push_str(query);
    }
    let uri: Uri = uri.parse().map_err(|error| {
        Refusal::Internal.because(format!("the integration's URI is none: {error}"))
    })?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method.unwrap_or(&exchange.head.method).clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
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

#[cfg(test)]
mod tests {
    use super::append_path;

    #[test]
    fn the_path_follows_the_base() {
        assert_eq!(append_path("http://h", "/a"), "http://h/a");
        assert_eq!(append_path("http://h/", "/a/"), "http://h/a/");
        assert_eq!(append_path("http://h/b/?x=1", "/a"), "http://h/b/a?x=1");
    }
}
