//! What expressions are worth, and that any text is survived.

use proptest::prelude::*;

use super::*;

fn line(values: &[(i64, f64)]) -> Line {
    let span = Span::new(0, 300, 60, 1_000);
    Line { span, label: "line".to_owned(), values: values.iter().copied().collect() }
}

fn all_of(texts: &[(&str, &str)], id: &str) -> Result<Vec<Vec<(i64, f64)>>, String> {
    let known = BTreeMap::from([
        ("m1".to_owned(), line(&[(0, 2.0), (60, 4.0), (180, 10.0)])),
        ("m2".to_owned(), line(&[(0, 1.0), (60, 0.0), (240, 5.0)])),
    ]);
    let mut expressions = BTreeMap::new();
    for (id, text) in texts {
        let expression = Expression::read(text, id).map_err(|error| error.to_string())?;
        expressions.insert((*id).to_owned(), expression);
    }
    let given = Given { metrics: known, expressions: Some(&expressions), searched: Vec::new() };
    let lines = Evaluation::new(given).lines(id).map_err(|error| error.to_string())?;
    Ok(lines.into_iter().map(|line| line.values.into_iter().collect()).collect())
}

fn worked_out(texts: &[(&str, &str)], id: &str) -> Result<Vec<(i64, f64)>, String> {
    let mut lines = all_of(texts, id)?;
    assert_eq!(lines.len(), 1, "{texts:?}");
    Ok(lines.pop().unwrap())
}

fn one(text: &str) -> Result<Vec<(i64, f64)>, String> {
    worked_out(&[("e1", text)], "e1")
}

#[test]
fn operators_meet_where_both_have_values() {
    assert_eq!(one("m1 + m2"), Ok(vec![(0, 3.0), (60, 4.0)]));
    assert_eq!(one("m1/m2"), Ok(vec![(0, 2.0)]));
    assert_eq!(one("100 * (m1 - 1) / 2"), Ok(vec![(0, 50.0), (60, 150.0), (180, 450.0)]));
    assert_eq!(one("-m1 - -1"), Ok(vec![(0, -1.0), (60, -3.0), (180, -9.0)]));
    assert_eq!(one("2 * m1 - m1 * 2 / 1"), Ok(vec![(0, 0.0), (60, 0.0), (180, 0.0)]));
}

#[test]
fn functions_of_lines_and_of_lists() {
    assert_eq!(one("m2 / SUM(m1)"), Ok(vec![(0, 1.0 / 16.0), (60, 0.0), (240, 5.0 / 16.0)]));
    assert_eq!(one("SUM([m1, m2])"), Ok(vec![(0, 3.0), (60, 4.0), (180, 10.0), (240, 5.0)]));
    assert_eq!(
        one("MAX([m1,m2]) - MIN([m1,m2])"),
        Ok(vec![(0, 1.0), (60, 4.0), (180, 0.0), (240, 0.0)])
    );
    assert_eq!(one("AVG([m1,m2]) * 2"), Ok(vec![(0, 3.0), (60, 4.0), (180, 20.0), (240, 10.0)]));
    assert_eq!(
        one("FILL(m2, 7)"),
        Ok(vec![(0, 1.0), (60, 0.0), (120, 7.0), (180, 7.0), (240, 5.0)])
    );
    assert_eq!(
        one("FILL(m2, REPEAT)"),
        Ok(vec![(0, 1.0), (60, 0.0), (120, 0.0), (180, 0.0), (240, 5.0)])
    );
    assert_eq!(one("RATE(m1)"), Ok(vec![(60, 2.0 / 60.0), (180, 6.0 / 120.0)]));
    assert_eq!(
        one("ABS(0 - m2)/PERIOD(m1)"),
        Ok(vec![(0, 1.0 / 60.0), (60, 0.0), (240, 5.0 / 60.0)])
    );
    let chain = [("e1", "m1 * 2"), ("e2", "e1 + 1"), ("e3", "e2 - e1")];
    assert_eq!(worked_out(&chain, "e3"), Ok(vec![(0, 1.0), (60, 1.0), (180, 1.0)]));
}

#[test]
fn comparisons_and_choices() {
    assert_eq!(one("m1 > 3"), Ok(vec![(0, 0.0), (60, 1.0), (180, 1.0)]));
    assert_eq!(one("m1 >= 4 AND m1 != 10"), Ok(vec![(0, 0.0), (60, 1.0), (180, 0.0)]));
    assert_eq!(one("m1 < 3 || m1 == 10"), Ok(vec![(0, 1.0), (60, 0.0), (180, 1.0)]));
    assert_eq!(one("m1 + 1 <= 3"), Ok(vec![(0, 1.0), (60, 0.0), (180, 0.0)]));
    assert_eq!(one("IF(m1 > 3, m1, 0)"), Ok(vec![(0, 0.0), (60, 4.0), (180, 10.0)]));
    assert_eq!(one("IF(m1 > 3, m1)"), Ok(vec![(60, 4.0), (180, 10.0)]));
    assert_eq!(one("IF(m1, m2, m1)"), Ok(vec![(0, 1.0), (60, 0.0)]));
    assert_eq!(one("IF(1 > 2, m1, m2)"), one("m2 * 1"));
    assert_eq!(one("IF(1, m1)"), one("m1 + 0"));
    assert_eq!(one("-m1 ^ 2 + 2 ^ m1 * 0"), Ok(vec![(0, -4.0), (60, -16.0), (180, -100.0)]));
}

#[test]
fn lines_of_steps_and_of_times() {
    assert_eq!(one("DIFF(m1)"), Ok(vec![(60, 2.0), (180, 6.0)]));
    assert_eq!(one("DIFF_TIME(m1)"), Ok(vec![(60, 60.0), (180, 120.0)]));
    assert_eq!(one("RUNNING_SUM(m1)"), Ok(vec![(0, 2.0), (60, 6.0), (180, 16.0)]));
    assert_eq!(one("CEIL(m1 / 3)"), Ok(vec![(0, 1.0), (60, 2.0), (180, 4.0)]));
    assert_eq!(one("FLOOR(m1 / 3)"), Ok(vec![(0, 0.0), (60, 1.0), (180, 3.0)]));
    assert_eq!(one("LOG10(m1 * 0 + 100) + LOG(1)"), Ok(vec![(0, 2.0), (60, 2.0), (180, 2.0)]));
    assert_eq!(one("MINUTE(m1)"), Ok(vec![(0, 0.0), (60, 1.0), (180, 3.0)]));
    // The first of January of 1970 was a Thursday.
    let calendar = "YEAR(m1) * 10000 + MONTH(m1) * 100 + DATE(m1) + DAY(m1) / 10 + HOUR(m1)";
    assert_eq!(one(calendar).unwrap()[0], (0, 19_700_101.4));
    assert_eq!(one("EPOCH(m1)"), Ok(vec![(0, 0.0), (60, 60.0), (180, 180.0)]));
    let linear = vec![(0, 2.0), (60, 4.0), (120, 7.0), (180, 10.0)];
    assert_eq!(one("FILL(m1, LINEAR)"), Ok(linear));
    assert_eq!(one("FILL(m1, m2)").unwrap(), [(0, 2.0), (60, 4.0), (180, 10.0), (240, 5.0)]);
    assert_eq!(one("TIME_SERIES(SUM(m1) + STDDEV(m2) * 0)").unwrap().len(), 5);
    assert_eq!(one("SUM(m1) / DATAPOINT_COUNT(m1) + m2 * 0").unwrap()[0], (0, 16.0 / 3.0));
}

#[test]
fn lists_of_lines() {
    let lines = |text| all_of(&[("e1", text)], "e1").unwrap();
    assert_eq!(lines("METRICS()").len(), 2);
    assert_eq!(lines("METRICS(\"2\")"), [one("m2 + 0").unwrap()]);
    assert_eq!(lines("RATE([m1, m2])")[0], one("RATE(m1)").unwrap());
    assert_eq!(lines("10 - METRICS()")[0], one("10 - m1").unwrap());
    assert_eq!(one("SUM(METRICS()) / METRIC_COUNT(METRICS())"), one("SUM(METRICS()) / 2"));
    assert_eq!(one("DATAPOINT_COUNT([m1, m2])").unwrap()[0], (0, 2.0));
    assert_eq!(one("FIRST(SORT(METRICS(), SUM, DESC))"), one("m1 + 0"));
    assert_eq!(one("LAST(SORT(METRICS(), MAX, DESC))"), one("m2 + 0"));
    assert_eq!(lines("SLICE(METRICS(), 1)"), [one("m2 + 0").unwrap()]);
    assert_eq!(lines("SLICE(METRICS(), 0, 1)"), [one("m1 + 0").unwrap()]);
    assert_eq!(lines("REMOVE_EMPTY([m1, IF(m1 > 99, m1)])"), [one("m1 + 0").unwrap()]);
    assert_eq!(lines("FILL(METRICS(), 0)")[1].len(), 5);
}

#[test]
fn what_is_wrong_is_said_by_the_id() {
    for (text, why) in [
        ("m1 +", "Invalid syntax"),
        ("(m1", "Invalid syntax"),
        ("m1 m2", "Invalid syntax"),
        ("1e5x", "Invalid syntax"),
        ("", "Invalid syntax"),
        ("SUM(m1)", "must return a time series"),
        ("1 / 0 + m1", "Unsupported operand type"),
        ("nobody", "Unknown id 'nobody'"),
        ("FILL(m1)", "Wrong number of arguments"),
        ("WHAT(m1)", "not supported"),
        ("LAMBDA('x')", "LAMBDA of metric math is not built"),
        ("SERVICE_QUOTA(m1)", "SERVICE_QUOTA of metric math is not built"),
        ("FILL(m1, AVG)", "Invalid syntax"),
        ("'m1'", "Invalid syntax"),
        ("[m1, m2] + [m1, m2]", "Unsupported operand type"),
        ("SORT([m1, m2], RATE)", "Invalid syntax"),
        ("IF([m1], 1, 2)", "Unsupported argument type"),
        ("METRICS(m1)", "Unsupported argument type"),
        ("e1 + 1", "refers to itself"),
        ("RATE(1)", "Unsupported argument type"),
    ] {
        let error = one(text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
    let deep = "(".repeat(5_000);
    assert!(one(&deep).unwrap_err().contains("too deep"));
    assert!(one(&"-".repeat(2_000)).unwrap_err().contains("too deep"));
    let circle = [("e1", "e2"), ("e2", "e1")];
    assert!(worked_out(&circle, "e1").unwrap_err().contains("refers to itself"));
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "[m12e+*/() ,\\[\\]SUMFIL.<=>^\"-]{0,60}|.{0,60}") {
        let _ = one(&text);
    }
}
