//! The actions, by the names of AWS: what each takes, and which call it is.

use gatemill_aws::Service;

use super::{
    Action,
    Kind::{List, Number, Object, Text, Time},
    Parameter,
    configuration::GetConfiguration,
    json::{JsonAction, Shape},
    queue::QueueAction,
};

/// All that there are.
pub(super) const ACTIONS: [&dyn Action; 10] = [
    &PUT_EVENTS,
    &SEND_MESSAGE,
    &RECEIVE_MESSAGE,
    &DELETE_MESSAGE,
    &PURGE_QUEUE,
    &GetConfiguration,
    &PUT_RECORD,
    &START_EXECUTION,
    &START_SYNC_EXECUTION,
    &STOP_EXECUTION,
];

const PUT_EVENTS: JsonAction = JsonAction {
    subtype: "EventBridge-PutEvents",
    service: Service::Events,
    target: "AWSEvents.PutEvents",
    shape: Shape::Entry,
    host_prefix: None,
    parameters: &[
        Parameter::required("Detail", Text),
        Parameter::required("DetailType", Text),
        Parameter::required("Source", Text),
        Parameter::optional("Time", Time),
        Parameter::optional("EventBusName", Text),
        Parameter::optional("Resources", List),
        Parameter::optional("TraceHeader", Text),
    ],
};

const SEND_MESSAGE: QueueAction = QueueAction {
    subtype: "SQS-SendMessage",
    action: "SendMessage",
    parameters: &[
        Parameter::required("QueueUrl", Text),
        Parameter::required("MessageBody", Text),
        Parameter::optional("DelaySeconds", Number),
        Parameter::optional("MessageAttributes", Object),
        Parameter::optional("MessageDeduplicationId", Text),
        Parameter::optional("MessageGroupId", Text),
        Parameter::optional("MessageSystemAttributes", Object),
    ],
};

const RECEIVE_MESSAGE: QueueAction = QueueAction {
    subtype: "SQS-ReceiveMessage",
    action: "ReceiveMessage",
    parameters: &[
        Parameter::required("QueueUrl", Text),
        Parameter::optional("AttributeNames", List),
        Parameter::optional("MaxNumberOfMessages", Number),
        Parameter::optional("MessageAttributeNames", List),
        Parameter::optional("ReceiveRequestAttemptId", Text),
        Parameter::optional("VisibilityTimeout", Number),
        Parameter::optional("WaitTimeSeconds", Number),
    ],
};

const DELETE_MESSAGE: QueueAction = QueueAction {
    subtype: "SQS-DeleteMessage",
    action: "DeleteMessage",
    parameters: &[
        Parameter::required("QueueUrl", Text),
        Parameter::required("ReceiptHandle", Text),
    ],
};

const PURGE_QUEUE: QueueAction = QueueAction {
    subtype: "SQS-PurgeQueue",
    action: "PurgeQueue",
    parameters: &[Parameter::required("QueueUrl", Text)],
};

/// `Data` is passed on as it is: the protocol wants it in base64, and so does AWS of its users.
const PUT_RECORD: JsonAction = JsonAction {
    subtype: "Kinesis-PutRecord",
    service: Service::Kinesis,
    target: "Kinesis_20131202.PutRecord",
    shape: Shape::Members,
    host_prefix: None,
    parameters: &[
        Parameter::required("StreamName", Text),
        Parameter::required("Data", Text),
        Parameter::required("PartitionKey", Text),
        Parameter::optional("SequenceNumberForOrdering", Text),
        Parameter::optional("ExplicitHashKey", Text),
    ],
};

const START_EXECUTION: JsonAction = JsonAction {
    subtype: "StepFunctions-StartExecution",
    service: Service::States,
    target: "AWSStepFunctions.StartExecution",
    shape: Shape::StateMachine,
    host_prefix: None,
    parameters: &[
        Parameter::required("StateMachineArn", Text),
        Parameter::optional("Name", Text),
        Parameter::optional("Input", Text),
    ],
};

const START_SYNC_EXECUTION: JsonAction = JsonAction {
    subtype: "StepFunctions-StartSyncExecution",
    service: Service::States,
    target: "AWSStepFunctions.StartSyncExecution",
    shape: Shape::StateMachine,
    host_prefix: Some("sync-"),
    parameters: &[
        Parameter::required("StateMachineArn", Text),
        Parameter::optional("Name", Text),
        Parameter::optional("Input", Text),
        Parameter::optional("TraceHeader", Text),
    ],
};

const STOP_EXECUTION: JsonAction = JsonAction {
    subtype: "StepFunctions-StopExecution",
    service: Service::States,
    target: "AWSStepFunctions.StopExecution",
    shape: Shape::StateMachine,
    host_prefix: None,
    parameters: &[
        Parameter::required("ExecutionArn", Text),
        Parameter::optional("Cause", Text),
        Parameter::optional("Error", Text),
    ],
};
