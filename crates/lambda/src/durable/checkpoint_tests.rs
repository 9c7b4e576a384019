//! The legal moves, and the texts of those that are not.

use super::*;

fn update(id: &str, kind: &str, action: &str) -> api::OperationUpdate {
    api::OperationUpdate {
        id: id.to_owned(),
        r#type: kind.to_owned(),
        action: action.to_owned(),
        ..Default::default()
    }
}

fn wait(id: &str, seconds: i32) -> api::OperationUpdate {
    let wait_options = Some(api::WaitOptions { wait_seconds: Some(seconds) });
    api::OperationUpdate { wait_options, ..update(id, "WAIT", "START") }
}

fn retry(id: &str, seconds: i32) -> api::OperationUpdate {
    let step_options = Some(api::StepOptions { next_attempt_delay_seconds: Some(seconds) });
    api::OperationUpdate { step_options, ..update(id, "STEP", "RETRY") }
}

fn apply_to(
    operations: BTreeMap<String, OperationRecord>,
    updates: &[api::OperationUpdate],
) -> Result<(BTreeMap<String, OperationRecord>, Done), String> {
    let count = operations.len() as u64;
    let mint = |operation: &str| format!("callback-{operation}");
    let mut batch = Batch {
        operations,
        count,
        now_ms: 1_000,
        mint: &mint,
        is_chained: false,
        done: Done::default(),
    };
    batch.apply(updates).map_err(|error| error.to_string())?;
    Ok((batch.operations, batch.done))
}

fn apply(
    updates: &[api::OperationUpdate],
) -> Result<(BTreeMap<String, OperationRecord>, Done), String> {
    apply_to(BTreeMap::new(), updates)
}

#[test]
fn a_step_begins_and_ends_in_one_batch() {
    let succeed =
        api::OperationUpdate { payload: Some("1".to_owned()), ..update("s", "STEP", "SUCCEED") };
    let (operations, done) = apply(&[update("s", "STEP", "START"), succeed]).unwrap();
    let step = &operations["s"];
    assert_eq!((step.state, step.attempt, step.order), (State::Succeeded, 1, 1));
    assert_eq!(step.result.as_deref(), Some("1"));
    assert_eq!(done.changed, ["s"]);
    assert_eq!(done.events.len(), 2);
    assert_eq!(done.bytes, 1);
}

#[test]
fn a_step_that_is_retried_is_pending_until_it_is_ready() {
    let (mut operations, done) = apply(&[retry("s", 5)]).unwrap();
    assert_eq!(operations["s"].state, State::Pending);
    assert_eq!(done.open["s"], Some(OpenRecord::Retry { at_ms: 6_000 }));
    let start = [update("s", "STEP", "START")];
    let refused = apply_to(operations.clone(), &start).unwrap_err();
    assert_eq!(refused, "Invalid current STEP state to start.");
    operations.get_mut("s").unwrap().state = State::Ready;
    let (operations, done) = apply_to(operations, &start).unwrap();
    assert_eq!((operations["s"].state, operations["s"].attempt), (State::Started, 1));
    assert_eq!(done.open["s"], None);
}

#[test]
fn waits_end_and_are_cancelled() {
    let (operations, done) = apply(&[wait("w", 2)]).unwrap();
    assert_eq!(done.open["w"], Some(OpenRecord::Wait { until_ms: 3_000 }));
    let (operations, done) = apply_to(operations, &[update("w", "WAIT", "CANCEL")]).unwrap();
    assert_eq!(operations["w"].state, State::Cancelled);
    assert_eq!(done.open["w"], None);
}

#[test]
fn callbacks_have_ids_and_deadlines() {
    let callback_options = Some(api::CallbackOptions {
        timeout_seconds: Some(10),
        heartbeat_timeout_seconds: Some(0),
    });
    let start = api::OperationUpdate { callback_options, ..update("c", "CALLBACK", "START") };
    let (operations, done) = apply(&[start]).unwrap();
    assert_eq!(operations["c"].callback_id.as_deref(), Some("callback-c"));
    let open = OpenRecord::Callback {
        deadline_ms: Some(11_000),
        heartbeat_s: None,
        heartbeat_deadline_ms: None,
    };
    assert_eq!(done.open["c"], Some(open));
}

#[test]
fn the_execution_ends_last() {
    let succeed = api::OperationUpdate {
        payload: Some("2".to_owned()),
        ..update("e", "EXECUTION", "SUCCEED")
    };
    let (_, done) = apply(&[wait("w", 1), succeed.clone()]).unwrap();
    assert_eq!(done.end, Some(Ok(Some("2".to_owned()))));
    let refused = |updates: &[api::OperationUpdate]| apply(updates).unwrap_err();
    assert_eq!(
        refused(&[succeed.clone(), wait("w", 1)]),
        "EXECUTION checkpoint must be the last update."
    );
    assert_eq!(
        refused(&[succeed.clone(), succeed]),
        "Cannot checkpoint multiple EXECUTION updates."
    );
}

#[test]
fn refusals() {
    let failing =
        api::OperationUpdate { payload: Some(String::new()), ..update("s", "STEP", "FAIL") };
    let child = api::OperationUpdate { parent_id: Some("p".to_owned()), ..wait("w", 1) };
    let options =
        Some(api::ChainedInvokeOptions { function_name: "f".to_owned(), ..Default::default() });
    let large = api::OperationUpdate {
        chained_invoke_options: options,
        payload: Some("x".repeat(DURABLE_CHAINED_BYTES_MAX + 1)),
        ..update("i", "CHAINED_INVOKE", "START")
    };
    let error = api::ErrorObject {
        error_message: Some("x".repeat(DURABLE_ERROR_BYTES_MAX + 1)),
        ..Default::default()
    };
    let loud = api::OperationUpdate { error: Some(error), ..update("s", "STEP", "FAIL") };
    for (updates, text) in [
        (vec![update("x", "OTHER", "START")], "Unknown operation type."),
        (vec![update("x", "WAIT", "SUCCEED")], "Invalid action for the given operation type."),
        (vec![update("x", "CALLBACK", "FAIL")], "Invalid action for the given operation type."),
        (vec![failing], "Cannot provide a Payload for FAIL action."),
        (vec![update("s", "STEP", "RETRY")], "Invalid StepOptions for the given action."),
        (
            vec![wait("w", 1), wait("w", 1)],
            "Cannot checkpoint multiple operations with the same ID.",
        ),
        (vec![child.clone()], "Invalid parent operation id."),
        (vec![wait("p", 1), child], "Invalid parent operation id."),
        (
            vec![update("i", "CHAINED_INVOKE", "START")],
            "Update for CHAINED_INVOKE operation requires ChainedInvokeOptions.",
        ),
        (vec![large], "Payload size must be less than or equal to 1048576 bytes."),
        (vec![loud], "Error object size must be less than 32768 bytes."),
        (
            vec![update("w", "WAIT", "CANCEL")],
            "Cannot cancel a WAIT that does not exist or has already completed.",
        ),
    ] {
        assert_eq!(apply(&updates).unwrap_err(), text);
    }
}

#[test]
fn a_chained_call_is_part_of_the_trace_that_it_names() {
    let options = Some(api::ChainedInvokeOptions {
        function_name: "f".to_owned(),
        tenant_id: Some("t".to_owned()),
        x_amzn_trace_id: Some("Root=1-0-0".to_owned()),
    });
    let chained = api::OperationUpdate {
        chained_invoke_options: options,
        ..update("i", "CHAINED_INVOKE", "START")
    };
    let (_, done) = apply(&[chained]).unwrap();
    let [call] = &done.chained[..] else { panic!("{done:?}") };
    assert_eq!((call.function.as_str(), call.tenant_id.as_deref()), ("f", Some("t")));
    assert_eq!(call.trace_id.as_deref(), Some("Root=1-0-0"));
}

#[test]
fn what_an_operation_is_does_not_change() {
    let named = api::OperationUpdate { name: Some("n".to_owned()), ..wait("w", 1) };
    let (operations, _) = apply(&[named]).unwrap();
    let cancel = update("w", "WAIT", "CANCEL");
    for (other, text) in [
        (update("w", "STEP", "START"), "Inconsistent operation type."),
        (
            api::OperationUpdate { name: Some("m".to_owned()), ..cancel.clone() },
            "Inconsistent operation name.",
        ),
        (
            api::OperationUpdate { sub_type: Some("m".to_owned()), ..cancel.clone() },
            "Inconsistent operation subtype.",
        ),
        (wait("w", 1), "Cannot start a WAIT that already exist."),
    ] {
        assert_eq!(apply_to(operations.clone(), &[other]).unwrap_err(), text);
    }
    let (operations, _) = apply_to(operations, std::slice::from_ref(&cancel)).unwrap();
    assert_eq!(
        apply_to(operations, &[cancel]).unwrap_err(),
        "Cannot cancel a WAIT that does not exist or has already completed."
    );
}

#[test]
fn contexts_hold_operations() {
    let child = api::OperationUpdate { parent_id: Some("p".to_owned()), ..wait("w", 1) };
    let (operations, _) = apply(&[update("p", "CONTEXT", "START"), child]).unwrap();
    assert_eq!(operations["w"].parent.as_deref(), Some("p"));
    let context_options = Some(api::ContextOptions { replay_children: Some(true) });
    let end = api::OperationUpdate { context_options, ..update("p", "CONTEXT", "SUCCEED") };
    let (operations, _) = apply_to(operations, std::slice::from_ref(&end)).unwrap();
    assert!(operations["p"].replay_children);
    assert_eq!(
        apply_to(operations, &[end]).unwrap_err(),
        "Invalid current CONTEXT state to close."
    );
}
