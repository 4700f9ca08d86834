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

pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Ok(duration) if duration.is_zero() => Err("a duration above zero, e.g. 5s".to_owned()),
        other => other,
    }
}
