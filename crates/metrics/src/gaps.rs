//! Members of requests that are not honoured, each with why. A handler refuses one with its entry here.

use gatemill_api::cloudwatch as api;
use gatemill_wire::gaps;

gaps! {
    /// Every member of an operation on metrics that is not honoured.
    pub GAPS;

    OWNING_ACCOUNT: [api::ListMetrics] "OwningAccount", "of another account", Refused, "accounts are not linked";
    LINKED_ACCOUNTS: [api::ListMetrics] "IncludeLinkedAccounts", "true", Refused, "accounts are not linked";
    ACCOUNT: [api::GetMetricData]
        "MetricDataQueries.AccountId", "of another account", Refused,
        "accounts are not linked";
    LABEL: [api::GetMetricData] "MetricDataQueries.Label", "with a dynamic part", Refused, "labels are texts";
    LABEL_OPTIONS: [api::GetMetricData] "LabelOptions", "", WithoutEffect, "only times in dynamic labels have a zone";
    EXPRESSION: [api::GetMetricData]
        "MetricDataQueries.Expression", "with a part of metric math that is not built", Refused,
        "its functions are built one by one";
    STATISTIC: [api::GetMetricData]
        "MetricDataQueries.MetricStat.Stat", "of the trimmed ones", Refused,
        "percentiles are built";
    EXTENDED_STATISTIC: [api::GetMetricStatistics]
        "ExtendedStatistics", "of the trimmed ones", Refused,
        "percentiles are built";
}
