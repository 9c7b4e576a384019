//! The limits of metrics, with the quotas of CloudWatch that they mirror.

use std::time::Duration;

/// How often measurements are stored: what a crash may lose.
pub const FLUSH_EVERY: Duration = Duration::from_secs(10);
/// Rows that one transaction changes.
pub const FLUSH_ROWS_MAX: usize = 500;
/// Rows that wait to be stored while the store fails; further measurements are dropped, and the log says so.
pub const WAITING_ROWS_MAX: usize = 100_000;
/// Combinations of dimensions that are kept; measurements of further ones are dropped, and the log says so.
pub const SERIES_MAX: u64 = 200_000;
/// The longest names and values of a combination together: a key of the store holds 2 KiB.
pub const SERIES_BYTES_MAX: usize = 1_500;
/// Subjects whose totals since the start are held for Prometheus.
pub const TOTALS_MAX: usize = 10_000;

/// How often what is too old is removed.
pub const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);
/// Rows that one transaction of the sweeper removes.
pub const SWEEP_ROWS_MAX: usize = 500;
/// Series that are looked at in one read.
pub const SERIES_PAGE: usize = 500;

/// Minutes of a row, and how many days such rows are kept: CloudWatch's figures.
pub const RESOLUTIONS: [(i64, i64); 3] = [(1, 15), (5, 63), (60, 455)];

/// Metrics in one answer of ListMetrics: CloudWatch's figure.
pub const LIST_METRICS_MAX: usize = 500;
/// ListMetrics shows what had data in these minutes: CloudWatch's two weeks.
pub const LISTED_MINUTES: i64 = 14 * 24 * 60;
/// What counts as recently active: the three hours of `PT3H`.
pub const RECENT_MINUTES: i64 = 3 * 60;
/// The time of a series' last data is written anew when it is this many minutes older than the data.
pub const LAST_SEEN_STEP_MINUTES: i64 = 15;
/// Data points of one GetMetricStatistics: CloudWatch's figure.
pub const STATISTICS_POINTS_MAX: i64 = 1_440;
/// Queries of one GetMetricData: CloudWatch's figure.
pub const QUERIES_MAX: usize = 500;
/// Data points of one answer of GetMetricData: CloudWatch's figure.
pub const DATA_POINTS_MAX: usize = 100_800;
/// Rows that one series of a query is made of: fifteen days by the minute.
pub const ROWS_READ_MAX: usize = 15 * 24 * 60;
/// Metrics that one `SEARCH` finds at most: CloudWatch's figure.
pub const SEARCH_FOUND_MAX: usize = 100;
/// Periods of a `SEARCH` that names none, in seconds: CloudWatch's figure.
pub const SEARCH_PERIOD: i64 = 300;
/// How deep expressions may be nested, in themselves and in each other.
pub const EXPRESSION_DEPTH_MAX: usize = 32;
