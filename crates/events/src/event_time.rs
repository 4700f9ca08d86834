//! When an event was published.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A time of publication: milliseconds since 1970, at most year 9999, shown as RFC 3339 in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(u64);

impl EventTime {
    /// The last millisecond of year 9999; RFC 3339 has four digits for the year.
    const MAX_MILLIS: u64 = 253_402_300_799_999;

    /// Reads the clock.
    #[must_use]
    pub fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since_epoch.as_millis()).unwrap_or(Self::MAX_MILLIS).min(Self::MAX_MILLIS))
    }

    /// Takes milliseconds since 1970; `None` past year 9999.
    #[must_use]
    pub fn from_unix_millis(millis: u64) -> Option<Self> {
        (millis <= Self::MAX_MILLIS).then_some(Self(millis))
    }

    /// Takes an AMQP `timestamp`: seconds since 1970 by the specification (AMQP 0-9-1, section 4.2.5.4).
    ///
    /// Some publishers write milliseconds; what would be past year 9999 as seconds is read so. `None` past that too.
    #[must_use]
    pub fn from_amqp_timestamp(timestamp: u64) -> Option<Self> {
        timestamp.checked_mul(1000).and_then(Self::from_unix_millis).or_else(|| Self::from_unix_millis(timestamp))
    }

    /// Takes a time of RFC 3339, of any time zone; what is finer than a millisecond is cut off. `None` if it is none, is
    /// before 1970 or past year 9999.
    #[must_use]
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let zulu = text.len().checked_sub(1)?;
        let (local, offset_minutes) = match text.get(zulu..)? {
            "Z" | "z" => (text.get(..zulu)?, 0),
            _ => {
                let at = text.len().checked_sub(6)?;
                let (local, offset) = (text.get(..at)?, text.get(at..)?);
                let (hours, minutes) = offset.get(1..)?.split_once(':')?;
                let minutes = hours.parse::<u8>().ok().filter(|hours| *hours < 24).map(i64::from)? * 60
                    + minutes.parse::<u8>().ok().filter(|minutes| *minutes < 60).map(i64::from)?;
                match offset.get(..1)? {
                    "+" => (local, minutes),
                    "-" => (local, -minutes),
                    _ => return None,
                }
            }
        };
        let local = humantime::parse_rfc3339(&format!("{}Z", local.to_ascii_uppercase())).ok()?;
        let local = i64::try_from(local.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()?;
        u64::try_from(local - offset_minutes * 60_000).ok().and_then(Self::from_unix_millis)
    }

    /// Returns the milliseconds since 1970.
    #[must_use]
    pub const fn unix_millis(self) -> u64 {
        self.0
    }

    /// Returns the whole seconds since 1970, as AMQP's `timestamp` has them.
    #[must_use]
    pub const fn unix_seconds(self) -> u64 {
        self.0 / 1000
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(self.0)).fmt(f)
    }
}

impl fmt::Debug for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_be_of_any_zone() {
        let millis = |text: &str| EventTime::from_rfc3339(text).map(EventTime::unix_millis);
        let noon = Some(1_767_355_200_000);
        for text in ["2026-01-02T12:00:00Z", "2026-01-02t13:30:00.0009+01:30", "2026-01-02T06:00:00-06:00"] {
            assert_eq!(millis(text), noon, "{text}");
        }
        assert_eq!(millis("2026-01-02T12:00:00.123456Z"), noon.map(|noon| noon + 123));
        for text in [
            "",
            "Z",
            "ä",
            "2026-01-02",
            "2026-01-02T12:00:00",
            "2026-01-02T12:00:00+1:00",
            "1969-01-01T00:00:00Z",
            "2026-01-02T12:00:00*01:00",
            "2026-01-02T12:00:00+24:00",
        ] {
            assert_eq!(millis(text), None, "{text}");
        }
    }

    #[test]
    fn shows_milliseconds() {
        let time = EventTime::from_unix_millis(1_767_323_045_678).unwrap();
        assert_eq!(time.to_string(), "2026-01-02T03:04:05.678Z");
    }

    #[test]
    fn an_odd_timestamp_never_breaks_the_text() {
        let seconds = EventTime::from_amqp_timestamp(1_767_323_045).unwrap();
        assert_eq!(seconds.to_string(), "2026-01-02T03:04:05.000Z");
        let millis = EventTime::from_amqp_timestamp(1_767_323_045_678).unwrap();
        assert_eq!(millis.to_string(), "2026-01-02T03:04:05.678Z");
        assert_eq!(EventTime::from_amqp_timestamp(u64::MAX), None);
        let last = EventTime::from_unix_millis(EventTime::MAX_MILLIS).unwrap();
        assert_eq!(last.to_string(), "9999-12-31T23:59:59.999Z");
    }
}
