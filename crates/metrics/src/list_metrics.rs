//! `ListMetrics`: which metrics there are.

use gatemill_api::cloudwatch::{
    Dimension, DimensionFilter, ListMetricsInput, ListMetricsOutput, Metric,
};
use gatemill_store::{Key, Reader};
use gatemill_wire::{Cx, pagination};

use crate::{
    Metrics,
    error::Error,
    gaps,
    limits::{LIST_METRICS_MAX, LISTED_MINUTES, RECENT_MINUTES, SERIES_PAGE},
    record::{SERIES, named_by},
};

/// Where the next page begins: after this metric of this series.
type Position = (Vec<(String, String)>, String, String);

pub(crate) async fn list(
    metrics: &Metrics,
    cx: &Cx,
    req: ListMetricsInput,
) -> Result<ListMetricsOutput, Error> {
    if req.owning_account.as_deref().is_some_and(|account| account != cx.account()) {
        return Err(Error::NotBuilt(&gaps::OWNING_ACCOUNT));
    }
    if req.include_linked_accounts == Some(true) {
        return Err(Error::NotBuilt(&gaps::LINKED_ACCOUNTS));
    }
    let after = req.next_token.as_deref().map(position).transpose()?;
    metrics.flush_for_reader().await;
    let minutes = if req.recently_active.is_some() { RECENT_MINUTES } else { LISTED_MINUTES };
    let since = metrics.minute_now() - minutes;
    let start = Key::new([cx.account(), &cx.region]);
    let prefix = req.namespace.as_ref().map_or(start.clone(), |name| start.clone().and(name));
    let all =
        metrics.search(move |tx| page(tx, &start, &prefix, &req, after.as_ref(), since)).await?;
    let (page, next_token) = pagination::page(all, LIST_METRICS_MAX, |(position, _)| {
        // A list of texts always has a form as JSON.
        serde_json::to_vec(position).unwrap_or_default()
    });
    let shown = page.into_iter().map(|(_, metric)| metric).collect();
    Ok(ListMetricsOutput { metrics: Some(shown), next_token, owning_accounts: None })
}

fn position(token: &str) -> Result<Position, Error> {
    let invalid = || Error::InvalidValue("Invalid nextToken".to_owned());
    let bytes = pagination::key(token).ok_or_else(invalid)?;
    serde_json::from_slice(&bytes).map_err(|_| invalid())
}

/// The metrics of a page and one more.
fn page(
    from: &impl Reader,
    start: &Key,
    prefix: &Key,
    req: &ListMetricsInput,
    after: Option<&Position>,
    since: i64,
) -> Result<Vec<(Position, Metric)>, Error> {
    let mut found = Vec::new();
    // The series in which the last page ended is looked at again, for the metrics that follow.
    let resumed = after.map(|(dimensions, namespace, _)| {
        let key = start.clone().and(namespace);
        dimensions.iter().fold(key, |key, (name, value)| key.and(name).and(value))
    });
    let mut last = resumed.clone();
    if let Some((key, (_, _, name))) = resumed.as_ref().zip(after)
        && let Some(series) = SERIES.get(from, key)?
    {
        let rest = series.metrics.iter().skip_while(|metric| metric.name != *name).skip(1);
        add(key, rest.filter(|metric| metric.last >= since), req, &mut found);
    }
    while found.len() <= LIST_METRICS_MAX {
        let series = SERIES.scan(from, prefix, last.as_ref(), SERIES_PAGE)?;
        let Some((end, _)) = series.last() else { break };
        last = Some(end.clone());
        for (key, record) in &series {
            let recent = record.metrics.iter().filter(|metric| metric.last >= since);
            add(key, recent, req, &mut found);
        }
    }
    Ok(found)
}

fn add<'a>(
    key: &Key,
    metrics: impl Iterator<Item = &'a crate::record::MetricRecord>,
    req: &ListMetricsInput,
    found: &mut Vec<(Position, Metric)>,
) {
    let (namespace, dimensions) = named_by(key);
    if !req.dimensions.iter().flatten().all(|filter| passes(filter, &dimensions)) {
        return;
    }
    for metric in metrics {
        if req.metric_name.as_ref().is_some_and(|name| *name != metric.name) {
            continue;
        }
        let shown = dimensions.iter().cloned().map(|(name, value)| Dimension { name, value });
        found.push((
            (dimensions.clone(), namespace.clone(), metric.name.clone()),
            Metric {
                namespace: Some(namespace.clone()),
                metric_name: Some(metric.name.clone()),
                dimensions: Some(shown.collect()),
            },
        ));
    }
}

fn passes(filter: &DimensionFilter, dimensions: &[(String, String)]) -> bool {
    dimensions.iter().any(|(name, value)| {
        *name == filter.name && filter.value.as_ref().is_none_or(|wanted| wanted == value)
    })
}
