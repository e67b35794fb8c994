//! Instants as the API writes them.

use serde::{Serialize, Serializer};
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

/// The last instant RFC 3339 can write, 9999-12-31T23:59:59.999Z, in milliseconds since the Unix epoch.
const LAST_MS: u64 = 253_402_300_799_999;

/// An instant in UTC, written as RFC 3339 with milliseconds: `2026-03-01T12:00:00.250Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The instant `ms` milliseconds after the Unix epoch; at most the end of the year 9999.
    pub fn from_unix_ms(ms: u64) -> Timestamp {
        Timestamp(ms.min(LAST_MS))
    }

    /// Milliseconds since the Unix epoch.
    pub fn unix_ms(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(self.0)).fmt(out)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_rfc_3339_in_utc_with_milliseconds() {
        assert_eq!(Timestamp::from_unix_ms(1_772_366_400_250).to_string(), "2026-03-01T12:00:00.250Z");
        assert_eq!(Timestamp::from_unix_ms(0).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn an_instant_past_the_year_9999_is_cut_and_not_an_error() {
        assert_eq!(Timestamp::from_unix_ms(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }
}
