//! Points in time as values: whoever needs "now" is handed it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A point in time, in whole seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Reads an RFC 3339 time such as `2026-03-01T12:00:00Z`; fractions of a second are cut off.
    ///
    /// Registries also send `2026-03-01T12:00:00` without a zone, which is read as UTC.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(t) = text.parse::<jiff::Timestamp>() {
            return Some(Self(t.as_second()));
        }
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(Self(zoned.timestamp().as_second()))
    }

    /// Reads an RFC 2822 date (`Sat, 12 Jul 2025 08:30:01 UTC`), as Debian's Release files hold.
    #[must_use]
    pub fn parse_rfc2822(text: &str) -> Option<Self> {
        let text = text.trim().replace(" UTC", " +0000").replace(" GMT", " +0000");
        let t = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(&text).ok()?;
        Some(Self(t.as_second()))
    }

    /// Whole hours from `earlier` to `self`; negative when `earlier` lies after `self`.
    #[must_use]
    pub fn hours_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0).div_euclid(3600)
    }

    /// The time `seconds` later.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// The calendar date, as `2026-03-01`.
    #[must_use]
    pub fn date(self) -> String {
        self.to_string().chars().take(10).collect()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(t) => write!(f, "{t}"),
            Err(_) => write!(f, "@{}", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not an RFC 3339 time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_times_parse() {
        let want = Timestamp(1_275_383_977);
        for text in [
            "2010-06-01T09:19:37.458396Z",
            "2010-06-01T09:19:37+00:00",
            "2010-06-01T09:19:37",
            "2010-06-01T11:19:37+02:00",
        ] {
            assert_eq!(Timestamp::parse(text), Some(want), "{text}");
        }
        assert_eq!(Timestamp::parse("yesterday"), None);
        assert_eq!(want.to_string(), "2010-06-01T09:19:37Z");
        assert_eq!(want.date(), "2010-06-01");
    }

    #[test]
    fn release_dates_parse() {
        assert_eq!(
            Timestamp::parse_rfc2822("Tue, 01 Jun 2010 09:19:37 UTC"),
            Some(Timestamp(1_275_383_977))
        );
    }
}
