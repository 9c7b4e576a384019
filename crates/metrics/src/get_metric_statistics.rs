//! `GetMetricStatistics`: several statistics of one metric.

use std::collections::BTreeMap;

use gatemill_api::cloudwatch::{Datapoint, GetMetricStatisticsInput, GetMetricStatisticsOutput};
use gatemill_meter::Statistic;
use gatemill_wire::{Cx, EpochSeconds, Timestamp};

use crate::{
    Metrics,
    error::Error,
    limits::STATISTICS_POINTS_MAX,
    read::{self, Span},
    record::series_key,
    statistic::Asked,
};

pub(crate) async fn get(
    metrics: &Metrics,
    cx: &Cx,
    req: GetMetricStatisticsInput,
) -> Result<GetMetricStatisticsOutput, Error> {
    let asked = asked(&req)?;
    let period = period(req.period, "Period").map_err(Error::InvalidValue)?;
    let (start, end) = (req.start_time.0.seconds(), req.end_time.0.seconds());
    if start >= end {
        let text = "The parameter StartTime must be less than the parameter EndTime.";
        return Err(Error::InvalidCombination(text.to_owned()));
    }
    let span = Span::new(start, end, period, cx.now.seconds());
    if span.periods() > STATISTICS_POINTS_MAX {
        return Err(Error::InvalidCombination(format!(
            "You have requested up to {} datapoints, which exceeds the limit of {}. You may reduce the datapoints requested \
             by increasing Period, or decreasing the time range.",
            grouped(span.periods()),
            grouped(STATISTICS_POINTS_MAX)
        )));
    }
    metrics.flush_for_reader().await;
    let dimensions: Vec<_> =
        req.dimensions.iter().flatten().map(|it| (&*it.name, &*it.value)).collect();
    let series = series_key(cx.account(), &cx.region, &req.namespace, &dimensions);
    let name = req.metric_name.clone();
    let points = metrics.search(move |tx| read::points(tx, &series, &name, span)).await?;
    let points = points.filter(|points| req.unit.as_ref().is_none_or(|unit| *unit == points.unit));
    let shown = points.iter().flat_map(|points| {
        points
            .points
            .iter()
            .map(|(begin, statistic)| datapoint(*begin, statistic, &asked, &points.unit))
    });
    let datapoints = Some(shown.collect());
    Ok(GetMetricStatisticsOutput { label: Some(req.metric_name), datapoints })
}

/// The statistics by their names.
fn asked(req: &GetMetricStatisticsInput) -> Result<Vec<(String, Asked)>, Error> {
    let mut asked = Vec::new();
    for name in req.statistics.iter().flatten() {
        asked.push((name.clone(), Asked::read(name, "Statistics")?));
    }
    for name in req.extended_statistics.iter().flatten() {
        asked.push((name.clone(), Asked::percentile(name, "ExtendedStatistics")?));
    }
    if asked.is_empty() {
        let text =
            "At least one of the parameters Statistics and ExtendedStatistics must be specified.";
        return Err(Error::Missing(text.to_owned()));
    }
    Ok(asked)
}

/// The seconds of a period, or what is wrong with it. Metrics of services have a value a minute: a shorter period shows
/// the same.
pub(crate) fn period(seconds: i32, parameter: &str) -> Result<i64, String> {
    match seconds {
        1 | 5 | 10 | 20 | 30 => Ok(60),
        60.. if seconds % 60 == 0 => Ok(seconds.into()),
        _ => Err(format!(
            "The parameter {parameter} must be a value in the set [ 1, 5, 10, 20, 30 ], or a multiple of 60."
        )),
    }
}

fn datapoint(
    begin: i64,
    statistic: &Statistic,
    asked: &[(String, Asked)],
    unit: &str,
) -> Datapoint {
    let mut point = Datapoint {
        timestamp: Some(EpochSeconds(Timestamp(begin * 1000))),
        unit: Some(unit.to_owned()),
        ..Datapoint::default()
    };
    let mut extended = BTreeMap::new();
    for (name, asked) in asked {
        let value = asked.of(statistic);
        match asked {
            Asked::SampleCount => point.sample_count = value,
            Asked::Average => point.average = value,
            Asked::Sum => point.sum = value,
            Asked::Minimum => point.minimum = value,
            Asked::Maximum => point.maximum = value,
            Asked::Percentile(_) => extended.extend(value.map(|value| (name.clone(), value))),
        }
    }
    point.extended_statistics = (!extended.is_empty()).then_some(extended);
    point
}

/// A number with commas, as the message has it.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_and_numbers_in_messages() {
        assert_eq!(period(300, "Period"), Ok(300));
        assert_eq!(period(10, "Period"), Ok(60));
        assert!(period(90, "Period").is_err() && period(-60, "Period").is_err());
        let shown: Vec<_> = [7, 1440, 100_800, 1_234_567].into_iter().map(grouped).collect();
        assert_eq!(shown, ["7", "1,440", "100,800", "1,234,567"]);
    }
}
