//! CloudWatch Logs: groups, streams and events, kept in order.
