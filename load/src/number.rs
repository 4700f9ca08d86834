//! Numbers for people: where the last digits do not matter.

use std::time::Duration;

use crate::clock::{MILLISECOND, SECOND};

/// Returns a count as a number with a fraction.
#[expect(clippy::cast_precision_loss, reason = "beyond 2^53 the last digits of a count do not matter")]
pub(crate) const fn float(count: u64) -> f64 {
    count as f64
}

/// Returns a whole number; what is below zero or no number is zero.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "such casts saturate")]
pub(crate) const fn whole(number: f64) -> u64 {
    number as u64
}

/// Returns nanoseconds in seconds.
pub(crate) fn seconds(nanoseconds: u64) -> f64 {
    float(nanoseconds) / float(SECOND)
}

/// Returns nanoseconds in milliseconds.
pub(crate) fn milliseconds(nanoseconds: u64) -> f64 {
    float(nanoseconds) / float(MILLISECOND)
}

/// Returns a quotient, or zero where nothing is divided by.
pub(crate) fn ratio(of: u64, by: u64) -> f64 {
    if by == 0 { 0.0 } else { float(of) / float(by) }
}

/// Returns a duration in nanoseconds; beyond 584 years they are as many as there can be.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
