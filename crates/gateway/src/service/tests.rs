//! What is read of integrations with services, and what their actions are called with.

use std::collections::BTreeMap;

use super::*;

fn parameters(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

/// The call, printed; every source gives its own text.
fn call(subtype: &str, pairs: &[(&str, &str)]) -> Result<String, Unfit> {
    let target = ServiceTarget::read(subtype, &parameters(pairs)).unwrap();
    let text = |expression: &Expression| match expression.pieces.as_slice() {
        [Piece::Text(text)] => Some(text.clone()),
        pieces => Some(format!("{} pieces", pieces.len())),
    };
    target.request(text).map(|request| format!("{request:?}"))
}

#[test]
fn what_parameters_are_wrong() {
    let wrong = |subtype: &str, pairs: &[(&str, &str)]| {
        ServiceTarget::read(subtype, &parameters(pairs)).unwrap_err().to_string()
    };
    assert_eq!(wrong("SNS-Publish", &[]), "Invalid IntegrationSubtype specified: SNS-Publish");
    assert_eq!(
        wrong(
            "SQS-SendMessage",
            &[("QueueUrl", "$nothing"), ("Color", "x"), ("Region", "$request.path")]
        ),
        "Invalid selection expression specified: Validation Result: warnings : [], errors : [Invalid destination: \
         Color specified, Invalid source: $nothing specified for destination: QueueUrl, Invalid source: \
         $request.path specified for destination: Region, Required destination: MessageBody is not specified]"
    );
    for action in actions::ACTIONS {
        let all: Vec<_> =
            action.parameters().iter().map(|one| (one.name, "$request.body")).collect();
        let target = ServiceTarget::read(action.subtype(), &parameters(&all)).unwrap();
        assert_eq!(target.action.subtype(), action.subtype());
        let required = action.parameters().iter().filter(|one| one.required).count();
        assert_eq!(wrong(action.subtype(), &[]).matches("Required").count(), required);
    }
}

#[test]
fn what_is_called() {
    let queue = call(
        "SQS-SendMessage",
        &[
            ("QueueUrl", "http://q/1/a"),
            ("MessageBody", "a&b"),
            ("DelaySeconds", "3"),
            ("MessageAttributes", r#"{"k": {"DataType": "String", "StringValue": "v"}}"#),
        ],
    );
    let body = "Action=SendMessage&Version=2012-11-05&QueueUrl=http%3A%2F%2Fq%2F1%2Fa&MessageBody=a%26b&DelaySeconds=3&\
                MessageAttribute.1.Name=k&MessageAttribute.1.Value.DataType=String&\
                MessageAttribute.1.Value.StringValue=v";
    let queue = queue.unwrap();
    assert!(queue.contains(body), "{queue}");
    let some =
        call("SQS-ReceiveMessage", &[("QueueUrl", "u"), ("AttributeNames", "All, x")]).unwrap();
    assert!(some.contains("AttributeName.1=All&AttributeName.2=x"), "{some}");
    let event =
        [("Detail", "{}"), ("DetailType", "t"), ("Source", "s"), ("Time", "1970-01-01T00:01:00Z")];
    let event = call("EventBridge-PutEvents", &event).unwrap();
    assert!(event.contains(r#"{\"Entries\":[{\"Detail\":\"{}\",\"DetailType\":\"t\",\"Source\":\"s\",\"Time\":60}]}"#), "{event}");
    let start =
        call("StepFunctions-StartExecution", &[("StateMachineArn", "a"), ("Input", "{}")]).unwrap();
    assert!(start.contains(r#"{\"stateMachineArn\":\"a\",\"input\":\"{}\"}"#), "{start}");
    assert!(start.contains("AWSStepFunctions.StartExecution"));
    let get =
        [("Application", "a b"), ("Environment", "e"), ("Configuration", "c/d"), ("ClientId", "i")];
    let get = call("AppConfig-GetConfiguration", &get).unwrap();
    assert!(
        get.contains("/applications/a%20b/environments/e/configurations/c%2Fd?client_id=i"),
        "{get}"
    );
}

#[test]
fn what_cannot_be_called() {
    let unfit = |subtype: &str, pairs: &[(&str, &str)]| call(subtype, pairs).unwrap_err();
    let message = [("QueueUrl", "u"), ("MessageBody", "b")];
    for (name, text) in [
        ("DelaySeconds", "soon"),
        ("DelaySeconds", "-1"),
        ("MessageAttributes", "[]"),
        ("MessageAttributes", r#"{"a": 1}"#),
    ] {
        let pairs = [&message[..], &[(name, text)]].concat();
        assert!(
            matches!(unfit("SQS-SendMessage", &pairs), Unfit::Value(wrong) if wrong == name),
            "{text}"
        );
    }
    let get =
        [("Application", ".."), ("Environment", "e"), ("Configuration", "c"), ("ClientId", "i")];
    assert_eq!(unfit("AppConfig-GetConfiguration", &get), Unfit::Value("Application"));
    let event = [("Detail", "{}"), ("DetailType", "t"), ("Source", "s"), ("Time", "noon")];
    assert_eq!(unfit("EventBridge-PutEvents", &event), Unfit::Value("Time"));
    let given = parameters(&[("QueueUrl", "u"), ("MessageBody", "$request.body.text")]);
    let target = ServiceTarget::read("SQS-SendMessage", &given).unwrap();
    let text = |expression: &Expression| match expression.pieces.as_slice() {
        [Piece::Text(text)] => Some(text.clone()),
        _ => None,
    };
    assert_eq!(
        target.request(text).unwrap_err().to_string(),
        "Unable to resolve property MessageBody from source $request.body.text"
    );
}
