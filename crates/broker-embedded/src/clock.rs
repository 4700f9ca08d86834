//! The clock of the log, by which events grow old.
//!
//! It follows the monotonic clock while a gateway runs, and goes on from there at the next start, later by what the
//! wall clock says has passed. So it never goes back, and a wall clock that is set, or that was wrong for a while,
//! makes no event older or younger than it is. The first clock of a store begins with the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// The wall clock was set if it went so much further than the clock of the log, or less.
const SET: u64 = 60 * 1000;

/// A time of the clock of the log, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct LogTime(u64);

impl LogTime {
    pub(super) const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    pub(super) const fn millis(self) -> u64 {
        self.0
    }

    /// Returns how long ago `earlier` was; nothing if it is later.
    pub(super) const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// What both clocks showed at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reading {
    pub(super) log: LogTime,
    /// Milliseconds since 1970.
    wall: u64,
}

impl Reading {
    /// Tells whether the wall clock was set since an earlier reading of the same run.
    pub(super) const fn was_set_since(self, earlier: Self) -> bool {
        let log = self.log.0.saturating_sub(earlier.log.0);
        self.wall.abs_diff(earlier.wall.saturating_add(log)) > SET
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Clock {
    begun: LogTime,
    at: Instant,
}

impl Clock {
    /// Goes on from the last reading of the run before, if there is one.
    pub(super) fn resume(last: Option<Reading>) -> Self {
        Self::resume_at(last, wall())
    }

    fn resume_at(last: Option<Reading>, wall: u64) -> Self {
        let begun = last.map_or(wall, |last| last.log.0.saturating_add(wall.saturating_sub(last.wall)));
        Self { begun: LogTime(begun), at: Instant::now() }
    }

    pub(super) fn now(&self) -> LogTime {
        LogTime(self.begun.0.saturating_add(u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX)))
    }

    pub(super) fn read(&self) -> Reading {
        Reading { log: self.now(), wall: wall() }
    }
}

/// Returns what the wall clock shows, in milliseconds since 1970.
fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60 * 60 * 1000;

    fn reading(log: u64, wall: u64) -> Reading {
        Reading { log: LogTime(log), wall }
    }

    #[tokio::test(start_paused = true)]
    async fn it_begins_with_the_wall_clock_and_follows_the_monotonic_one() {
        let clock = Clock::resume_at(None, 1000 * DAY);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now(), LogTime(1000 * DAY + 5000));
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_by_what_the_wall_clock_says_has_passed_and_never_back() {
        let begun = |last, wall| Clock::resume_at(Some(last), wall).now().0;
        assert_eq!(begun(reading(10 * DAY, 1000 * DAY), 1003 * DAY), 13 * DAY);
        assert_eq!(begun(reading(10 * DAY, 1000 * DAY), 7 * DAY), 10 * DAY, "no battery, and no network yet");
        assert_eq!(begun(reading(10 * DAY, 9000 * DAY), 1000 * DAY), 10 * DAY, "it was in the future for a while");
        assert_eq!(begun(reading(u64::MAX, 0), DAY), u64::MAX);
    }

    #[test]
    fn a_wall_clock_that_was_set_is_noticed_and_one_that_drifts_is_not() {
        let before = reading(10 * DAY, 1000 * DAY);
        assert!(!reading(11 * DAY, 1001 * DAY + 1000).was_set_since(before));
        assert!(reading(11 * DAY, 1013 * DAY).was_set_since(before), "ahead");
        assert!(reading(11 * DAY, DAY).was_set_since(before), "back");
    }
}
