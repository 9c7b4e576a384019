//! Members of requests that are not honoured, each with why. A handler refuses one with its entry here.

use gatemill_api::logs as api;
use gatemill_wire::gaps;

gaps! {
    /// Every member of an operation of CloudWatch Logs that is not honoured.
    pub GAPS;

    GROUP_KEY: [api::CreateLogGroup] "kmsKeyId", "", Refused, "there is no KMS";
    DELETION_PROTECTION: [api::CreateLogGroup] "deletionProtectionEnabled", "true", Refused,
        "the operation that takes it away is not built";
    GROUP_CLASS: [api::CreateLogGroup] "logGroupClass", "other than STANDARD", Refused,
        "groups are kept in one way";
    ACCOUNTS: [api::DescribeLogGroups] "accountIdentifiers", "", Refused, "accounts are not linked";
    LINKED_ACCOUNTS: [api::DescribeLogGroups] "includeLinkedAccounts", "true", Refused, "accounts are not linked";
    ENTITY: [api::PutLogEvents] "entity", "", Refused, "nothing reads it";
    SEQUENCE_TOKEN: [api::PutLogEvents] "sequenceToken", "", WithoutEffect, "as in AWS, which takes any";
    INTERLEAVED: [api::FilterLogEvents] "interleaved", "", WithoutEffect, "as in AWS, events are always interleaved";
    UNMASK: [api::FilterLogEvents, api::GetLogEvents] "unmask", "", WithoutEffect, "nothing is masked";
}
