//! Statistics by their names: `Sum`, `p99.9`.

use gatemill_meter::Statistic;

use crate::{error::Error, gaps};

/// What is asked of the values of a period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Asked {
    SampleCount,
    Average,
    Sum,
    Minimum,
    Maximum,
    /// The share below the value, 0 to 1.
    Percentile(f64),
}

impl Asked {
    /// Reads a name; `parameter` is what a message calls it.
    pub(crate) fn read(name: &str, parameter: &str) -> Result<Self, Error> {
        Ok(match name {
            "SampleCount" => Self::SampleCount,
            "Average" => Self::Average,
            "Sum" => Self::Sum,
            "Minimum" => Self::Minimum,
            "Maximum" => Self::Maximum,
            other => Self::percentile(other, parameter)?,
        })
    }

    /// Reads `p99.9`.
    pub(crate) fn percentile(name: &str, parameter: &str) -> Result<Self, Error> {
        let percent = name.strip_prefix('p').filter(|digits| {
            digits.starts_with(|first: char| first.is_ascii_digit())
                && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        });
        let percent = percent.and_then(|digits| digits.parse::<f64>().ok());
        if let Some(percent) = percent.filter(|percent| (0.0..=100.0).contains(percent)) {
            return Ok(Self::Percentile(percent / 100.0));
        }
        let trimmed = ["tm", "wm", "tc", "ts", "TM", "WM", "TC", "TS", "PR", "IQM"];
        if trimmed.iter().any(|prefix| name.starts_with(prefix)) {
            let is_extended = parameter.contains("Extended");
            let gap = if is_extended { &gaps::EXTENDED_STATISTIC } else { &gaps::STATISTIC };
            return Err(Error::NotBuiltNamed {
                gap,
                what: format!("The statistic {}", shown(name)),
            });
        }
        let text = format!("The value {} for parameter {parameter} is not supported.", shown(name));
        Err(Error::InvalidValue(text))
    }

    /// The value of a period; `None` when there were no values.
    pub(crate) fn of(self, statistic: &Statistic) -> Option<f64> {
        if statistic.count == 0 {
            return None;
        }
        match self {
            #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53 values")]
            Self::SampleCount => Some(statistic.count as f64),
            Self::Average => statistic.average(),
            Self::Sum => Some(statistic.sum),
            Self::Minimum => Some(statistic.min),
            Self::Maximum => Some(statistic.max),
            Self::Percentile(share) => statistic.percentile(share),
        }
    }
}

/// A caller's name in a message: its beginning.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_statistics() {
        let mut statistic = Statistic::default();
        (1..=100).for_each(|n| statistic.add(f64::from(n)));
        for (name, value) in [
            ("SampleCount", 100.0),
            ("Sum", 5050.0),
            ("Average", 50.5),
            ("Minimum", 1.0),
            ("Maximum", 100.0),
            ("p100", 100.0),
            ("p0", 1.0),
        ] {
            let asked = Asked::read(name, "Stat").unwrap();
            assert!((asked.of(&statistic).unwrap() - value).abs() < 1.0, "{name}");
        }
        assert_eq!(Asked::Sum.of(&Statistic::default()), None);
        for bad in ["", "p", "p101", "p-1", "pNaN", "p.5", "sum", "p1e1"] {
            assert!(matches!(Asked::read(bad, "Stat"), Err(Error::InvalidValue(_))), "{bad}");
        }
        assert!(matches!(Asked::read("tm99", "Stat"), Err(Error::NotBuiltNamed { .. })));
    }
}
