//! Points in time, and the several ways in which AWS writes them.
//!
//! A [`Timestamp`] is a number of milliseconds; it comes from the context of a call and is never read here.

use jiff::{Timestamp as Instant, tz::Offset};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Milliseconds since the epoch.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This long after.
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    fn civil(self) -> jiff::civil::DateTime {
        let instant = Instant::from_millisecond(self.0).unwrap_or(Instant::UNIX_EPOCH);
        Offset::UTC.to_datetime(instant)
    }

    fn format(self, format: &str) -> String {
        self.civil().strftime(format).to_string()
    }

    /// `20261122T202654Z`, the date of a signature.
    pub fn amz_date(self) -> String {
        self.format("%Y%m%dT%H%M%SZ")
    }

    /// `2026-11-22T20:26:54.123+0000`, Lambda's `LastModified`.
    pub fn lambda(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%S%.3f+0000")
    }

    /// `2026-11-22T20:26:54.123Z`.
    pub fn iso8601_millis(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%S%.3fZ")
    }

    /// `2026-11-22T20:26:54Z`.
    pub fn iso8601(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%SZ")
    }

    /// `22/Nov/2026:20:26:54 +0000`, the common log format.
    pub fn common_log(self) -> String {
        self.format("%d/%b/%Y:%H:%M:%S +0000")
    }

    /// `Sun, 22 Nov 2026 20:26:54 GMT`, the `Date` header.
    pub fn http_date(self) -> String {
        self.format("%a, %d %b %Y %H:%M:%S GMT")
    }

    /// `2026/11/22`, the start of a log stream's name.
    pub fn log_stream_date(self) -> String {
        self.format("%Y/%m/%d")
    }

    /// Reads `20261122T202654Z`.
    pub fn parse_amz_date(text: &str) -> Option<Self> {
        let civil = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
        let instant = Offset::UTC.to_timestamp(civil).ok()?;
        Some(Self(instant.as_millisecond()))
    }

    /// Reads `Sun, 22 Nov 2026 20:26:54 GMT`.
    pub fn parse_http_date(text: &str) -> Option<Self> {
        let instant = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Some(Self(instant.as_millisecond()))
    }

    /// Reads an ISO 8601 time with an offset.
    pub fn parse_iso8601(text: &str) -> Option<Self> {
        text.parse::<Instant>().ok().map(|instant| Self(instant.as_millisecond()))
    }
}

/// A timestamp that JSON carries as seconds with a fraction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EpochSeconds(pub Timestamp);

/// A timestamp that JSON carries as ISO 8601 text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Iso8601(pub Timestamp);

impl Serialize for EpochSeconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ms = self.0.millis();
        if ms % 1000 == 0 {
            return serializer.serialize_i64(ms / 1000);
        }
        #[allow(
            clippy::cast_precision_loss,
            reason = "milliseconds stay exact in a double for 285,000 years"
        )]
        serializer.serialize_f64(ms as f64 / 1000.0)
    }
}

impl<'de> Deserialize<'de> for EpochSeconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        #[allow(clippy::cast_possible_truncation, reason = "a float cast saturates")]
        Ok(Self(Timestamp((seconds * 1000.0).round() as i64)))
    }
}

impl Serialize for Iso8601 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.iso8601())
    }
}

impl<'de> Deserialize<'de> for Iso8601 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Timestamp::parse_iso8601(&text)
            .map(Self)
            .ok_or_else(|| D::Error::custom("not an ISO 8601 timestamp"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_one_instant() {
        let t = Timestamp(1_795_379_214_123);
        assert_eq!(t.amz_date(), "20261122T202654Z");
        assert_eq!(t.lambda(), "2026-11-22T20:26:54.123+0000");
        assert_eq!(t.iso8601(), "2026-11-22T20:26:54Z");
        assert_eq!(t.common_log(), "22/Nov/2026:20:26:54 +0000");
        assert_eq!(t.http_date(), "Sun, 22 Nov 2026 20:26:54 GMT");
        assert_eq!(
            Timestamp::parse_amz_date("20261122T202654Z"),
            Some(Timestamp(1_795_379_214_000))
        );
        assert_eq!(Timestamp::parse_amz_date("yesterday"), None);
        assert_eq!(Timestamp::parse_http_date(&t.http_date()), Some(Timestamp(1_795_379_214_000)));
        assert_eq!(Timestamp::parse_http_date("20261122T202654Z"), None);
    }

    #[test]
    fn epoch_seconds_keep_their_fraction() {
        let json = serde_json::to_string(&EpochSeconds(Timestamp(1_764_000_000_123))).unwrap();
        assert_eq!(json, "1764000000.123");
        assert_eq!(serde_json::to_string(&EpochSeconds(Timestamp(5000))).unwrap(), "5");
    }
}
