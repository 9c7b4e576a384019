//! Days, and the periods that quotas are for: days, weeks and months of UTC.
//!
//! A quota's offset is the day on which its weeks or months begin, as AWS's checks of it have it (none for days, 0 to 6 for
//! weeks, which begin on Sunday, 0 to 27 for months).

use gatemill_wire::Timestamp;

use super::record::{Period, Quota};

const SECONDS: u64 = 86_400;

/// Days since 1970.
pub(crate) fn day_of(now: Timestamp) -> u64 {
    u64::try_from(now.seconds()).unwrap_or(0) / SECONDS
}

/// The day that a text such as `2026-11-29` names.
pub(crate) fn parse_day(text: &str) -> Option<u64> {
    let is_date =
        text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let begun = is_date.then(|| Timestamp::parse_iso8601(&format!("{text}T00:00:00Z")))??;
    u64::try_from(begun.seconds()).ok().map(|seconds| seconds / SECONDS)
}

/// A day as it is written.
pub(crate) fn day_text(day: u64) -> String {
    let ms = i64::try_from(day.saturating_mul(SECONDS * 1_000)).unwrap_or(i64::MAX);
    let text = Timestamp(ms).iso8601();
    text.split('T').next().unwrap_or_default().to_owned()
}

impl Quota {
    /// The first day of the period that a day is in.
    pub(crate) fn period_of(&self, day: u64) -> u64 {
        let offset = u64::from(self.offset.unsigned_abs());
        match self.period {
            Period::Day => day,
            // The first of January 1970 was a Thursday, four days after a Sunday.
            Period::Week => day.saturating_sub((day + 4 + 7 - offset % 7) % 7),
            Period::Month => {
                // Months of 28 days at least: going back by the days in this month ends at its first.
                let of_month = day_of_month(day);
                if of_month >= offset {
                    return day - of_month + offset;
                }
                let Some(last_of_before) = (day - of_month).checked_sub(1) else { return 0 };
                last_of_before - day_of_month(last_of_before) + offset
            }
        }
    }
}

/// How many days of its month came before a day.
fn day_of_month(day: u64) -> u64 {
    let text = day_text(day);
    let number = text.rsplit('-').next().and_then(|number| number.parse::<u64>().ok());
    number.unwrap_or(1).saturating_sub(1).min(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(period: Period, offset: i32, on: &str) -> String {
        let quota = Quota { limit: 1, offset, period };
        day_text(quota.period_of(parse_day(on).unwrap()))
    }

    #[test]
    fn days_are_read_and_written() {
        assert_eq!(parse_day("1970-01-02"), Some(1));
        assert_eq!(day_text(20_786), "2026-11-29");
        assert_eq!(parse_day("2026-11-29"), Some(20_786));
        for none in
            ["", "2026-11-31", "2026-13-01", "29-11-2026", "2026-11-29T00", "2026-1-1", "now"]
        {
            assert_eq!(parse_day(none), None, "{none}");
        }
        assert_eq!(day_of(Timestamp(86_400_000 * 3 - 1)), 2);
    }

    #[test]
    fn periods_begin_where_their_offset_says() {
        assert_eq!(begins(Period::Day, 0, "2026-11-29"), "2026-11-29");
        // A Sunday, and the Saturday before.
        assert_eq!(begins(Period::Week, 0, "2026-11-29"), "2026-11-29");
        assert_eq!(begins(Period::Week, 0, "2026-11-28"), "2026-11-22");
        assert_eq!(begins(Period::Week, 1, "2026-11-29"), "2026-11-23");
        assert_eq!(begins(Period::Week, 6, "2026-11-28"), "2026-11-28");
        assert_eq!(begins(Period::Week, 6, "2026-11-27"), "2026-11-21");
        assert_eq!(begins(Period::Month, 0, "2026-11-29"), "2026-11-01");
        assert_eq!(begins(Period::Month, 0, "2026-12-01"), "2026-12-01");
        assert_eq!(begins(Period::Month, 27, "2026-03-27"), "2026-02-28");
        assert_eq!(begins(Period::Month, 27, "2026-03-28"), "2026-03-28");
        assert_eq!(begins(Period::Month, 14, "2026-01-03"), "2025-12-15");
        assert_eq!(begins(Period::Month, 14, "1970-01-03"), "1970-01-01");
        assert_eq!(begins(Period::Week, 0, "1970-01-02"), "1970-01-01");
    }

    #[test]
    fn every_day_is_in_its_period() {
        for (period, offsets, longest) in
            [(Period::Day, 0..1, 1), (Period::Week, 0..7, 7), (Period::Month, 0..28, 31)]
        {
            for offset in offsets {
                let quota = Quota { limit: 1, offset, period };
                for day in 20_000..20_800 {
                    let begin = quota.period_of(day);
                    assert!(begin <= day && day - begin < longest, "{quota:?} {day}");
                    assert_eq!(quota.period_of(begin), begin, "{quota:?} {day}");
                }
            }
        }
    }
}
