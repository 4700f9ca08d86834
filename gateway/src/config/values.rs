//! Values that several groups of settings have.

use std::time::Duration;

/// Beyond this a number is a slip: no machine has so many connections.
pub(super) const MAX_NUMBER: usize = 1_000_000_000;

/// Beyond this a duration is a slip, and added to a clock's time it could overflow.
const MAX_DURATION: Duration = Duration::from_hours(366 * 24);

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration > MAX_DURATION => Err("a duration of at most a year".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

/// The longest time for which a cache may keep an answer: events go at the end of their retention, also from caches.
const MAX_CACHE: Duration = Duration::from_hours(1);

/// How long a cache may keep something, which it is told in whole seconds.
pub(super) fn cache_time(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Ok(time) if time.subsec_nanos() == 0 && !time.is_zero() && time <= MAX_CACHE => Ok(time),
        _ => Err("whole seconds from 1s to 1h, e.g. 60s; without --feed-cache no answer is kept".to_owned()),
    }
}

pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Ok(duration) if duration.is_zero() => Err("a duration above zero, e.g. 5s".to_owned()),
        other => other,
    }
}
