//! The condition operators.
//!
//! An operator has three parts: an optional set prefix (`ForAnyValue:`, `ForAllValues:`), the comparison, and an
//! optional `IfExists`. Values of one key are alternatives; for a negated comparison all of them must differ.

use crate::pattern::{matches, matches_arn};

/// Whether a condition holds for the values that the request has for its key.
///
/// `None` means that the operator is not known here; the caller fails closed.
pub fn holds(operator: &str, wanted: &[String], present: Option<&[String]>) -> Option<bool> {
    let (set, operator) = match operator.split_once(':') {
        Some(("ForAnyValue", rest)) => (Set::Any, rest),
        Some(("ForAllValues", rest)) => (Set::All, rest),
        Some(_) => return None,
        None => (Set::Single, operator),
    };
    if operator == "Null" {
        let absent = present.is_none_or(<[String]>::is_empty);
        return Some(wanted.iter().any(|value| value.eq_ignore_ascii_case(&absent.to_string())));
    }
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    let comparison = Comparison::named(operator)?;
    let Some(present) = present.filter(|values| !values.is_empty()) else {
        // What is absent differs from everything, and an empty set is contained in every set.
        return Some(if_exists || comparison.negated || set == Set::All);
    };
    let fits = |value: &String| {
        let equal = wanted.iter().any(|wanted| (comparison.test)(wanted, value));
        equal != comparison.negated
    };
    Some(match set {
        Set::Any | Set::Single => present.iter().any(fits),
        Set::All => present.iter().all(fits),
    })
}

#[derive(PartialEq, Eq)]
enum Set {
    Single,
    Any,
    All,
}

/// A comparison of a wanted value with one of the request.
struct Comparison {
    test: fn(&str, &str) -> bool,
    negated: bool,
}

impl Comparison {
    fn named(operator: &str) -> Option<Self> {
        let (test, negated): (fn(&str, &str) -> bool, bool) = match operator {
            "StringEquals" => (|wanted, value| wanted == value, false),
            "StringNotEquals" => (|wanted, value| wanted == value, true),
            "StringEqualsIgnoreCase" => (|wanted, value| fold(wanted) == fold(value), false),
            "StringNotEqualsIgnoreCase" => (|wanted, value| fold(wanted) == fold(value), true),
            "StringLike" => (matches, false),
            "StringNotLike" => (matches, true),
            // AWS treats the two alike: both take wildcards.
            "ArnEquals" | "ArnLike" => (matches_arn, false),
            "ArnNotEquals" | "ArnNotLike" => (matches_arn, true),
            "Bool" => (|wanted, value| wanted.eq_ignore_ascii_case(value), false),
            "NumericEquals" => (|wanted, value| number(wanted, value, |w, v| v == w), false),
            "NumericNotEquals" => (|wanted, value| number(wanted, value, |w, v| v == w), true),
            "NumericLessThan" => (|wanted, value| number(wanted, value, |w, v| v < w), false),
            "NumericLessThanEquals" => {
                (|wanted, value| number(wanted, value, |w, v| v <= w), false)
            }
            "NumericGreaterThan" => (|wanted, value| number(wanted, value, |w, v| v > w), false),
            "NumericGreaterThanEquals" => {
                (|wanted, value| number(wanted, value, |w, v| v >= w), false)
            }
            _ => return None,
        };
        Some(Self { test, negated })
    }
}

fn fold(text: &str) -> String {
    text.to_lowercase()
}

fn number(wanted: &str, value: &str, test: fn(f64, f64) -> bool) -> bool {
    match (wanted.parse::<f64>(), value.parse::<f64>()) {
        (Ok(wanted), Ok(value)) => test(wanted, value),
        (Ok(_), Err(_)) | (Err(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(operator: &str, wanted: &[&str], present: &[&str]) -> Option<bool> {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let present = own(present);
        holds(operator, &own(wanted), (!present.is_empty()).then_some(&present))
    }

    #[test]
    fn every_operator() {
        let arn = "arn:aws:s3:::bucket";
        for (operator, wanted, present, expected) in [
            ("StringEquals", &["a", "b"][..], &["b"][..], true),
            ("StringEquals", &["a"], &["A"], false),
            ("StringEquals", &["a"], &[], false),
            ("StringEqualsIfExists", &["a"], &[], true),
            ("StringEqualsIfExists", &["a"], &["b"], false),
            ("StringNotEquals", &["a", "b"], &["c"], true),
            ("StringNotEquals", &["a", "b"], &["b"], false),
            ("StringNotEquals", &["a"], &[], true),
            ("StringEqualsIgnoreCase", &["aB"], &["Ab"], true),
            ("StringNotEqualsIgnoreCase", &["aB"], &["Ab"], false),
            ("StringLike", &["a*"], &["abc"], true),
            ("StringNotLike", &["a*"], &["abc"], false),
            ("ArnEquals", &[arn], &[arn], true),
            ("ArnLike", &["arn:aws:s3:::b*"], &[arn], true),
            ("ArnLike", &["arn:aws:sqs:::b*"], &[arn], false),
            ("ArnNotLike", &["arn:aws:sqs:::b*"], &[arn], true),
            ("ArnNotEquals", &[arn], &[arn], false),
            ("Bool", &["true"], &["True"], true),
            ("Bool", &["true"], &["false"], false),
            ("NumericEquals", &["10"], &["10.0"], true),
            ("NumericNotEquals", &["10"], &["11"], true),
            ("NumericLessThan", &["10"], &["9"], true),
            ("NumericLessThanEquals", &["10"], &["10"], true),
            ("NumericGreaterThan", &["10"], &["10"], false),
            ("NumericGreaterThanEquals", &["10"], &["10"], true),
            ("NumericEquals", &["10"], &["ten"], false),
            ("Null", &["true"], &[], true),
            ("Null", &["false"], &["x"], true),
            ("Null", &["true"], &["x"], false),
            ("ForAnyValue:StringEquals", &["a"], &["x", "a"], true),
            ("ForAnyValue:StringEquals", &["a"], &[], false),
            ("ForAllValues:StringEquals", &["a", "b"], &["a", "b"], true),
            ("ForAllValues:StringEquals", &["a"], &["a", "b"], false),
            ("ForAllValues:StringEquals", &["a"], &[], true),
        ] {
            assert_eq!(
                check(operator, wanted, present),
                Some(expected),
                "{operator} {wanted:?} {present:?}"
            );
        }
        assert_eq!(check("IpAddress", &["10.0.0.0/8"], &["10.0.0.1"]), None);
        assert_eq!(check("Odd:StringEquals", &["a"], &["a"]), None);
    }
}
