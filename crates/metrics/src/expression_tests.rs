//! What expressions are worth, and that any text is survived.

use proptest::prelude::*;

use super::*;

fn line(values: &[(i64, f64)]) -> Line {
    let span = Span::new(0, 300, 60, 1_000);
    Line { span, values: values.iter().copied().collect() }
}

fn worked_out(texts: &[(&str, &str)], id: &str) -> Result<Vec<(i64, f64)>, String> {
    let known = BTreeMap::from([
        ("m1".to_owned(), line(&[(0, 2.0), (60, 4.0), (180, 10.0)])),
        ("m2".to_owned(), line(&[(0, 1.0), (60, 0.0), (240, 5.0)])),
    ]);
    let mut expressions = BTreeMap::new();
    for (id, text) in texts {
        let expression = Expression::read(text, id).map_err(|error| error.to_string())?;
        expressions.insert((*id).to_owned(), expression);
    }
    let line = Evaluation::new(known, &expressions).line(id).map_err(|error| error.to_string())?;
    Ok(line.values.into_iter().collect())
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
        ("SEARCH('x', 'Sum')", "SEARCH of metric math is not built"),
        ("FILL(m1, LINEAR)", "not built"),
        ("[m1, m2]", "not built"),
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
    fn any_text_is_survived(text in "[m12e+*/() ,\\[\\]SUMFIL.-]{0,60}|.{0,60}") {
        let _ = one(&text);
    }
}
