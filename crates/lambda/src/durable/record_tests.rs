//! Golden bytes: what was ever written decodes for ever.

use gatemill_store::{decode, encode};

use super::*;

const EXECUTION_V1: &str = r#"{"name":"n","version":"1","status":"Running","started_ms":1000,"timeout_s":60,"retention_days":14,"deadline_ms":61000,"epoch":2,"invocation":{"request_id":"r","begun_ms":2000,"token":"t","answered":{"client_token":"c","token":"b","operations":["a"],"at_ms":2500}},"failures":0,"unseen":["a"],"open":{"a":{"Wait":{"until_ms":3000}},"b":{"Callback":{"deadline_ms":null,"heartbeat_s":5,"heartbeat_deadline_ms":9000}},"c":"Chained"},"operations":3,"bytes":7,"events":4,"wake_ms":2000}"#;
const OPERATION_V1: &str = r#"{"id":"a","order":1,"kind":"Step","name":"first","state":"Failed","started_ms":1000,"ended_ms":2000,"error":{"message":"m","kind":"E"},"attempt":2,"replay_children":false}"#;
const EVENT_V1: &str = r#"{"at_ms":1000,"operation":{"id":"a","parent":null,"name":"first","sub_type":"Step"},"what":{"StepFailed":{"error":{"kind":"E"},"attempt":1,"delay_s":5}}}"#;

fn golden(json: &str) -> Vec<u8> {
    [&[1], json.as_bytes()].concat()
}

fn stays<R: Record>(json: &str) {
    let record: R = decode(&golden(json)).unwrap();
    assert_eq!(String::from_utf8(encode(&record).unwrap()[1..].to_vec()).unwrap(), json);
}

#[test]
fn records() {
    stays::<ExecutionRecord>(EXECUTION_V1);
    let of_event = EXECUTION_V1.replace(
        r#""wake_ms":2000"#,
        r#""wake_ms":2000,"dead_letter":{"target_arn":"q","request_id":"r","order":1,"random":2}"#,
    );
    stays::<ExecutionRecord>(&of_event);
    stays::<OperationRecord>(OPERATION_V1);
    stays::<EventRecord>(EVENT_V1);
    stays::<ChainedRecord>(r#"{"function":"f","tenant_id":null,"payload":"{}"}"#);
    stays::<PayloadRecord>(r#"{"text":"{}"}"#);
    stays::<StartedRecord>(r#"{"name":"n","version":"$LATEST"}"#);
    stays::<WakeRecord>("{}");
    stays::<RunningRecord>("{}");
}

#[test]
fn keys_of_wakes_lead_back() {
    let function = FunctionKey::new("000000000000", "us-east-1", "f");
    let key = ExecutionKey { function, id: "i".to_owned() };
    assert_eq!(ExecutionKey::from_wake(&key.wake(1_234)), Some((1_234, key.clone())));
    assert_eq!(ExecutionKey::from_record(&key.of("a")), Some(key));
}
