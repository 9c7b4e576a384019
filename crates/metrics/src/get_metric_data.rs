//! `GetMetricData`: many metrics at once, and metric math on them.

use std::collections::BTreeMap;

use gatemill_api::cloudwatch::{
    GetMetricDataInput, GetMetricDataOutput, MetricDataQuery, MetricDataResult, MetricStat,
};
use gatemill_store::{Key, Reader};
use gatemill_wire::{Cx, EpochSeconds, Timestamp, pagination};

use crate::{
    Metrics,
    error::Error,
    evaluation::{Evaluation, Given, Line},
    expression::{Expression, wrong},
    gaps,
    get_metric_statistics::period,
    limits::{DATA_POINTS_MAX, QUERIES_MAX, SEARCH_PERIOD},
    read::{self, Span},
    record::series_key,
    search::Search,
    statistic::{Asked, shown},
};

/// One metric that is asked for.
struct Wanted {
    series: Key,
    metric: String,
    asked: Asked,
    unit: Option<String>,
    span: Span,
}

/// The queries, read.
struct Question {
    queries: Vec<MetricDataQuery>,
    metrics: BTreeMap<String, Wanted>,
    expressions: BTreeMap<String, Expression>,
    /// Of every `SEARCH`, in the order of the expressions.
    searches: Vec<Sought>,
    /// Where the series of the caller begin.
    at: Key,
}

/// What a `SEARCH` asks for.
struct Sought {
    search: Search,
    asked: Asked,
    span: Span,
}

pub(crate) async fn get(
    metrics: &Metrics,
    cx: &Cx,
    req: GetMetricDataInput,
) -> Result<GetMetricDataOutput, Error> {
    let skipped = req.next_token.as_deref().map(skipped).transpose()?.unwrap_or(0);
    let at_most = match req.max_datapoints {
        None => DATA_POINTS_MAX,
        Some(count) => usize::try_from(count).ok().filter(|count| *count > 0).ok_or_else(|| {
            invalid("The parameter MaxDatapoints must be greater than or equal to 1.")
        })?,
    };
    let newest_first = req.scan_by.as_deref() != Some("TimestampAscending");
    let question = question(cx, req)?;
    metrics.flush_for_reader().await;
    let lines = metrics.search(move |tx| answer(tx, &question)).await?;
    Ok(page(lines, newest_first, skipped, at_most.min(DATA_POINTS_MAX)))
}

fn invalid(text: impl Into<String>) -> Error {
    Error::Validation(text.into())
}

/// How many points of each result the pages before have shown.
fn skipped(token: &str) -> Result<usize, Error> {
    let key = pagination::key(token).ok_or(Error::InvalidToken)?;
    let number = <[u8; 8]>::try_from(key).map_err(|_| Error::InvalidToken)?;
    usize::try_from(u64::from_be_bytes(number)).map_err(|_| Error::InvalidToken)
}

/// Reads the queries.
fn question(cx: &Cx, req: GetMetricDataInput) -> Result<Question, Error> {
    let (start, end) = (req.start_time.0.seconds(), req.end_time.0.seconds());
    if start >= end {
        return Err(invalid("The parameter StartTime must be less than the parameter EndTime."));
    }
    let queries = req.metric_data_queries;
    if queries.is_empty() {
        return Err(invalid("The parameter MetricDataQueries is required."));
    }
    if queries.len() > QUERIES_MAX {
        return Err(invalid(format!(
            "The collection MetricDataQueries must not have a size greater than {QUERIES_MAX}."
        )));
    }
    let (mut metrics, mut expressions) = (BTreeMap::new(), BTreeMap::new());
    for (at, query) in queries.iter().enumerate() {
        let name = format!("MetricDataQueries.member.{}", at + 1);
        check(cx, query, &name)?;
        if metrics.contains_key(&query.id) || expressions.contains_key(&query.id) {
            return Err(invalid(
                "The values for parameter id in MetricDataQueries are not unique.",
            ));
        }
        match (&query.metric_stat, &query.expression) {
            (Some(stat), None) => {
                let wanted = wanted(cx, stat, (start, end), &name)?;
                metrics.insert(query.id.clone(), wanted);
            }
            (None, Some(text)) => {
                let expression = Expression::read(text, &query.id)?;
                if let Some(seconds) = query.period {
                    period(seconds, &format!("{name}.Period")).map_err(invalid)?;
                }
                expressions.insert(query.id.clone(), expression);
            }
            _ => {
                return Err(invalid(format!(
                    "Either {name}.MetricStat or {name}.Expression must be specified, and not both."
                )));
            }
        }
    }
    let mut searches = Vec::new();
    for (id, expression) in &expressions {
        let mut found = Vec::new();
        expression.searches(&mut found);
        for items in found {
            searches.push(sought(cx, items, (start, end), id)?);
        }
    }
    let at = Key::new([cx.account(), &cx.region]);
    Ok(Question { queries, metrics, expressions, searches, at })
}

/// Reads the arguments of a `SEARCH`.
fn sought(
    cx: &Cx,
    items: &[Expression],
    (start, end): (i64, i64),
    id: &str,
) -> Result<Sought, Error> {
    let (Some(Expression::Text(text)), Some(Expression::Text(stat))) =
        (items.first(), items.get(1))
    else {
        return Err(wrong(id, "Unsupported argument type"));
    };
    #[allow(clippy::cast_possible_truncation, reason = "it saturates, and is then no period")]
    let seconds = match items.get(2) {
        None => SEARCH_PERIOD,
        Some(Expression::Number(seconds)) => *seconds as i64,
        Some(_) => return Err(wrong(id, "Unsupported argument type")),
    };
    let seconds = i32::try_from(seconds).unwrap_or(0);
    let seconds = period(seconds, "Period").map_err(|why| wrong(id, &why))?;
    let search = Search::read(text).ok_or_else(|| wrong(id, "Invalid search"))?;
    let asked = Asked::read(stat, "Stat").map_err(|error| match error {
        Error::InvalidValue(text) => wrong(id, &text),
        error => error,
    })?;
    let span = span((start, end), seconds, cx)?;
    Ok(Sought { search, asked, span })
}

/// A span that an answer has room for.
fn span((start, end): (i64, i64), seconds: i64, cx: &Cx) -> Result<Span, Error> {
    let span = Span::new(start, end, seconds, cx.now.seconds());
    if usize::try_from(span.periods()).is_ok_and(|periods| periods > DATA_POINTS_MAX) {
        return Err(invalid(format!(
            "You have requested up to {} datapoints, which exceeds the limit of {DATA_POINTS_MAX}.",
            span.periods()
        )));
    }
    Ok(span)
}

fn check(cx: &Cx, query: &MetricDataQuery, name: &str) -> Result<(), Error> {
    let mut letters = query.id.chars();
    let begins = letters.next().is_some_and(|first| first.is_ascii_lowercase());
    if !begins || !letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
        let id = shown(&query.id);
        return Err(invalid(format!(
            "The value {id} for parameter {name}.Id is not matching the expected pattern ^[a-z][a-zA-Z0-9_]*$."
        )));
    }
    if query.account_id.as_deref().is_some_and(|account| account != cx.account()) {
        return Err(Error::NotBuilt(&gaps::ACCOUNT));
    }
    if query.label.as_deref().is_some_and(|label| label.contains("${")) {
        return Err(Error::NotBuilt(&gaps::LABEL));
    }
    Ok(())
}

fn wanted(
    cx: &Cx,
    stat: &MetricStat,
    (start, end): (i64, i64),
    name: &str,
) -> Result<Wanted, Error> {
    let required = |value: &Option<String>, which: &str| {
        let missing =
            || invalid(format!("The parameter {name}.MetricStat.Metric.{which} is required."));
        value.clone().ok_or_else(missing)
    };
    let namespace = required(&stat.metric.namespace, "Namespace")?;
    let metric = required(&stat.metric.metric_name, "MetricName")?;
    let seconds = period(stat.period, &format!("{name}.MetricStat.Period")).map_err(invalid)?;
    let asked = Asked::read(&stat.stat, &format!("{name}.MetricStat.Stat"));
    let asked = asked.map_err(|error| match error {
        Error::InvalidValue(text) => Error::Validation(text),
        error => error,
    })?;
    let dimensions: Vec<_> =
        stat.metric.dimensions.iter().flatten().map(|it| (&*it.name, &*it.value)).collect();
    let span = span((start, end), seconds, cx)?;
    let series = series_key(cx.account(), &cx.region, &namespace, &dimensions);
    Ok(Wanted { series, metric, asked, unit: stat.unit.clone(), span })
}

/// The lines that are to be returned, each with its id and its label.
fn answer(from: &impl Reader, question: &Question) -> Result<Vec<(String, String, Line)>, Error> {
    let labels: BTreeMap<&str, &String> = question
        .queries
        .iter()
        .filter_map(|query| Some((query.id.as_str(), query.label.as_ref()?)))
        .collect();
    let mut given = Given { expressions: Some(&question.expressions), ..Given::default() };
    for (id, wanted) in &question.metrics {
        let points = read::points(from, &wanted.series, &wanted.metric, wanted.span)?;
        let points = points.filter(|it| wanted.unit.as_ref().is_none_or(|unit| *unit == it.unit));
        let values = points.map(|it| it.values(wanted.asked)).unwrap_or_default();
        let label = labels.get(id.as_str()).map_or(&wanted.metric, |label| *label).clone();
        let values = values.into_iter().collect();
        given.metrics.insert(id.clone(), Line { span: wanted.span, label, values });
    }
    let mut calls = Vec::new();
    question.expressions.values().for_each(|expression| expression.searches(&mut calls));
    for (items, sought) in calls.into_iter().zip(&question.searches) {
        given.searched.push((items, searched(from, &question.at, sought)?));
    }
    let mut evaluation = Evaluation::new(given);
    let mut lines = Vec::new();
    for query in &question.queries {
        let found = evaluation.lines(&query.id)?;
        if query.return_data == Some(false) {
            continue;
        }
        let is_alone = found.len() == 1;
        for line in found {
            let label = match (&query.label, line.label.as_str()) {
                (Some(label), own) if !is_alone && !own.is_empty() => format!("{label} {own}"),
                (Some(label), _) => label.clone(),
                (None, _) if query.metric_stat.is_none() && is_alone => query.id.clone(),
                (None, "") => query.id.clone(),
                (None, own) => own.to_owned(),
            };
            lines.push((query.id.clone(), label, line));
        }
    }
    Ok(lines)
}

/// The lines that a search finds.
fn searched(from: &impl Reader, at: &Key, sought: &Sought) -> Result<Vec<Line>, Error> {
    let found = sought.search.find(from, at)?.into_iter().map(|found| {
        let points = read::points(from, &found.series, &found.metric, sought.span)?;
        let values = points.map(|it| it.values(sought.asked)).unwrap_or_default();
        Ok(Line { span: sought.span, label: found.label, values: values.into_iter().collect() })
    });
    // A metric without data in this time is none that was found.
    let lines: Result<Vec<Line>, Error> = found.collect();
    Ok(lines?.into_iter().filter(|line| !line.values.is_empty()).collect())
}

/// As many points of each line as a page has room for, after those that other pages have shown.
fn page(
    lines: Vec<(String, String, Line)>,
    newest_first: bool,
    skipped: usize,
    at_most: usize,
) -> GetMetricDataOutput {
    let each = (at_most / lines.len().max(1)).max(1);
    let mut more = false;
    let results = lines.into_iter().map(|(id, label, line)| {
        let mut points: Vec<(i64, f64)> = line.values.into_iter().collect();
        if newest_first {
            points.reverse();
        }
        let rest = points.len() > skipped.saturating_add(each);
        more |= rest;
        let points = points.into_iter().skip(skipped).take(each);
        let (times, values) =
            points.map(|(at, value)| (EpochSeconds(Timestamp(at * 1000)), value)).unzip();
        MetricDataResult {
            id: Some(id),
            label: Some(label),
            timestamps: Some(times),
            values: Some(values),
            status_code: Some(if rest { "PartialData" } else { "Complete" }.to_owned()),
            messages: None,
        }
    });
    let results = results.collect();
    let next = skipped.saturating_add(each) as u64;
    let next_token = more.then(|| pagination::token(&next.to_be_bytes()));
    GetMetricDataOutput {
        metric_data_results: Some(results),
        next_token,
        messages: Some(Vec::new()),
    }
}
