//! Time in nanoseconds of `CLOCK_MONOTONIC`, which all processes of one machine share: an event carries the time at which it
//! was to be sent, and any client can tell how long it took.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A second.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// A millisecond.
pub(crate) const MILLISECOND: u64 = 1_000_000;

/// Returns the time.
pub(crate) fn now() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Returns how long this process has kept a core busy.
pub(crate) fn cpu() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime))
}

fn nanoseconds(time: Timespec) -> u64 {
    let (seconds, rest) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or_default().saturating_mul(SECOND).saturating_add(rest.unwrap_or_default())
}
