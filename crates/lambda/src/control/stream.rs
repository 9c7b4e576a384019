//! `InvokeWithResponseStream`: the answer as events, while the function gives it.
//!
//! The status has left before the function has ended, so how it ended is the last event: `InvokeComplete`.

use std::task::{Context, Poll, ready};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use gatemill_api::lambda as api;
use gatemill_wire::{BrokenOff, Cx, Operation as _, Pieces, Streamed, event_stream};
use serde_json::{Map, Value};

use super::{
    invoke::{client_context, of_chain},
    reference,
};
use crate::{
    Author, Error, Invocation, Lambda, ResponseStream, StreamEnd, StreamEvent, invoke::resolve,
};

/// `InvokeWithResponseStream`, or its dry run.
pub(crate) async fn invoke(
    lambda: &Lambda,
    cx: &Cx,
    request: api::InvokeWithResponseStreamRequest,
) -> Result<Streamed<api::InvokeWithResponseStreamResponse>, Error> {
    let named = (request.function_name.as_str(), request.qualifier.as_deref());
    let info = api::InvokeWithResponseStream::INFO;
    let target = reference::resolve(cx, info, named.0, named.1)?;
    if request.invocation_type.as_deref() == Some("DryRun") {
        resolve::resolve(lambda, &target).await?.for_tenant(request.tenant_id.as_deref())?;
        let head =
            api::InvokeWithResponseStreamResponse { status_code: Some(204), ..Default::default() };
        return Ok(Streamed { head, events: None });
    }
    let trace_id = of_chain(lambda, cx, &target)?;
    let call = Invocation {
        target,
        payload: request.payload,
        author: Author::Caller,
        request_id: cx.request_id,
        trace_id,
        client_context: request.client_context.as_deref().map(client_context).transpose()?,
        tenant_id: request.tenant_id,
        log_tail: request.log_type.as_deref() == Some("Tail"),
    };
    let streaming = lambda.invoke_streaming(call).await?;
    let head = api::InvokeWithResponseStreamResponse {
        status_code: Some(200),
        executed_version: Some(streaming.executed_version),
        // AWS says what the events are, not what the function said of its bytes.
        response_stream_content_type: Some(event_stream::CONTENT_TYPE.to_owned()),
    };
    Ok(Streamed { head, events: Some(Box::new(Events(streaming.stream))) })
}

/// A function's answer as events.
struct Events(ResponseStream);

impl Pieces for Events {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        let event = ready!(self.0.poll_next(cx));
        Poll::Ready(event.map(|event| {
            Ok(match event {
                StreamEvent::Chunk(bytes) => {
                    event_stream::event("PayloadChunk", "application/octet-stream", &bytes)
                }
                StreamEvent::End(end) => {
                    let complete = Value::Object(complete(end)).to_string();
                    event_stream::event("InvokeComplete", "application/json", complete.as_bytes())
                }
            })
        }))
    }
}

/// The members of `InvokeComplete`; what does not apply is absent.
fn complete(end: StreamEnd) -> Map<String, Value> {
    let mut members = Map::new();
    if let Some(document) = end.error {
        members.insert("ErrorCode".to_owned(), "Unhandled".into());
        let details = String::from_utf8_lossy(&document).into_owned();
        members.insert("ErrorDetails".to_owned(), details.into());
    }
    if let Some(tail) = end.log_tail {
        members.insert("LogResult".to_owned(), STANDARD.encode(tail).into());
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        let end = |error: Option<&'static str>, tail: Option<&'static str>| {
            let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
            let end = StreamEnd { error: error.map(bytes), log_tail: tail.map(bytes) };
            Value::Object(complete(end)).to_string()
        };
        assert_eq!(end(None, None), "{}");
        assert_eq!(
            end(Some(r#"{"errorType":"E"}"#), Some("log")),
            r#"{"ErrorCode":"Unhandled","ErrorDetails":"{\"errorType\":\"E\"}","LogResult":"bG9n"}"#
        );
    }
}
