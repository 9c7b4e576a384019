//! `Invoke`: from the API's request to the second path, and back, or to the queue of events; and what it shares with the
//! streaming one.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use gatemill_api::lambda as api;
use gatemill_wire::{Cx, Operation as _};

use super::reference;
use crate::{
    Author, Error, FunctionTarget, Invocation, Lambda, durable,
    events::{
        accept::{self, Arrival},
        bump, lineage,
    },
    invoke::resolve,
    limits::{
        ASYNC_EVENT_BYTES_MAX, CLIENT_CONTEXT_BYTES_MAX, INVOKE_ASYNC_BYTES_MAX,
        TRACE_HEADER_BYTES_MAX,
    },
};

/// `Invoke`, synchronous, asynchronous or as a dry run.
pub(crate) async fn invoke(
    lambda: &Lambda,
    cx: &Cx,
    request: api::InvocationRequest,
) -> Result<api::InvocationResponse, Error> {
    let named = (request.function_name.as_str(), request.qualifier.as_deref());
    let target = reference::resolve(cx, api::Invoke::INFO, named.0, named.1)?;
    match request.invocation_type.as_deref() {
        None | Some("RequestResponse") => {}
        Some("DryRun") => {
            // Whoever may call and names a function that can run is told so.
            resolve::resolve(lambda, &target).await?.for_tenant(request.tenant_id.as_deref())?;
            return Ok(api::InvocationResponse { status_code: Some(204), ..Default::default() });
        }
        Some(_) => {
            let client_context =
                request.client_context.as_deref().map(client_context).transpose()?;
            let mut arrival = arrival(cx, target, request.payload, ASYNC_EVENT_BYTES_MAX);
            arrival.trace_id = cx.trace_id.as_deref().and_then(trace_id).map(str::to_owned);
            arrival.client_context = client_context;
            arrival.tenant_id = request.tenant_id;
            arrival.execution_name = request.durable_execution_name;
            let durable_execution_arn = accept::accept(lambda, arrival).await?;
            return Ok(api::InvocationResponse {
                status_code: Some(202),
                durable_execution_arn,
                ..Default::default()
            });
        }
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
    let outcome = match request.durable_execution_name {
        None => lambda.invoke(call).await?,
        Some(name) => {
            let version = resolve::resolve(lambda, &call.target).await?;
            if version.configuration.durable.is_none() {
                return Err(Error::InvalidParameter(
                    "DurableExecutionName can only be used to invoke a durable function."
                        .to_owned(),
                ));
            }
            durable::run(lambda, &version, &call, Some(name)).await?
        }
    };
    Ok(api::InvocationResponse {
        status_code: Some(200),
        function_error: outcome.function_error.map(str::to_owned),
        log_result: outcome.log_tail.map(|tail| STANDARD.encode(tail)),
        payload: outcome.payload,
        executed_version: Some(outcome.executed_version),
        durable_execution_arn: outcome.durable_execution_arn,
    })
}

/// `InvokeAsync`, which `InvocationType=Event` replaced: smaller events, without a trace.
pub(crate) async fn invoke_async(
    lambda: &Lambda,
    cx: &Cx,
    request: api::InvokeAsyncRequest,
) -> Result<api::InvokeAsyncResponse, Error> {
    let info = api::InvokeAsync::INFO;
    let target = reference::resolve(cx, info, &request.function_name, None)?;
    let arrival = arrival(cx, target, request.invoke_args, INVOKE_ASYNC_BYTES_MAX);
    accept::accept(lambda, arrival).await?;
    Ok(api::InvokeAsyncResponse { status: Some(202) })
}

fn arrival(cx: &Cx, target: FunctionTarget, payload: Bytes, payload_max: usize) -> Arrival {
    Arrival {
        target,
        payload,
        payload_max,
        request_id: cx.request_id,
        trace_id: None,
        client_context: None,
        tenant_id: None,
        execution_name: None,
        now: cx.now,
    }
}

/// The caller's trace header, if there is one; with this invocation counted, where it is of a chain that is counted.
///
/// # Errors
/// When it is one invocation too many of a loop.
pub(super) fn of_chain(
    lambda: &Lambda,
    cx: &Cx,
    target: &FunctionTarget,
) -> Result<Option<String>, Error> {
    let Some(trace_id) = cx.trace_id.as_deref().and_then(trace_id) else { return Ok(None) };
    if !lineage::is_counted(trace_id) {
        return Ok(Some(trace_id.to_owned()));
    }
    let function = target.key().to_owned();
    let entered = lineage::enter(trace_id, &function.arn(None));
    if entered.is_loop && accept::stops_loops(lambda, &function)? {
        bump(&lambda.events.tallies.loops_stopped);
        return Err(Error::Recursive);
    }
    Ok(Some(entered.trace_id))
}

/// A caller's trace header, if it is one: a root in X-Ray's form, and no more than a header of ours would hold. Anything
/// else is as if it were not there, and the call gets a trace of its own.
pub(super) fn trace_id(header: &str) -> Option<&str> {
    let root = header.split(';').find_map(|part| part.trim().strip_prefix("Root="))?;
    let (begin, random) = root.strip_prefix("1-")?.split_once('-')?;
    let hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let plain = header.bytes().all(|byte| byte.is_ascii_graphic());
    (hex(begin, 8) && hex(random, 24) && plain && header.len() <= TRACE_HEADER_BYTES_MAX)
        .then_some(header)
}

/// Base64 outside, JSON text inside: the runtime gets the text.
pub(super) fn client_context(base64: &str) -> Result<String, Error> {
    let refused = |text: &str| Error::InvalidRequestContent(text.to_owned());
    if base64.len() > CLIENT_CONTEXT_BYTES_MAX {
        return Err(refused("Client context must be no more than 3583 bytes when base64 encoded."));
    }
    let bytes = STANDARD.decode(base64).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let object = text.filter(|text| {
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok()
    });
    object.ok_or_else(|| refused("Client context must be a valid Base64-encoded JSON object."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_headers() {
        let root = "Root=1-67891233-abcdef012345678912345678";
        let whole = format!("{root};Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:a87bd80c:0");
        for good in [root, whole.as_str()] {
            assert_eq!(trace_id(good), Some(good));
        }
        let long = format!("{root};{}", "x".repeat(TRACE_HEADER_BYTES_MAX));
        for bad in [
            "",
            "Root=",
            "Root=1-2-3",
            "Parent=53995c3f42cd8ad8",
            "Root=1-6789123x-abcdef012345678912345678",
            &long,
        ] {
            assert_eq!(trace_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn client_contexts() {
        let text = r#"{"custom":{"a":"ü"}}"#;
        assert_eq!(client_context(&STANDARD.encode(text)).unwrap(), text);
        for bad in
            [STANDARD.encode("[1]"), STANDARD.encode("x"), "%%%".to_owned(), "e30=".repeat(900)]
        {
            assert!(matches!(client_context(&bad), Err(Error::InvalidRequestContent(_))), "{bad}");
        }
    }
}
