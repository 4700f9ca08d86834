//! Whether this process has stood still for so long that the broker may have given up its connections.
//!
//! A process that was frozen, or whose machine slept, goes on with what it held, while others have read those mailboxes
//! meanwhile. A poll may come to it before its connections say that they are closed. So a Lease that is older than a
//! standstill has to ask the broker before it is relied on.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::sleep;

/// How often it beats.
const BEAT: Duration = Duration::from_millis(200);

/// A pause in milliseconds from which on the process has stood still. The shortest heartbeat is one second, and RabbitMQ gives a
/// connection up after two of them at least. The last byte may have left half a heartbeat before the pause. A machine that
/// is so busy that it runs no task for this long pays with one question for each mailbox that is read.
const STANDSTILL: u64 = 1000;

/// The clock of Linux that goes on while the machine sleeps; that of [`Instant`](std::time::Instant) does not.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// A moment of that clock, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

impl Moment {
    pub(super) fn now() -> Self {
        let now = clock_gettime(CLOCK);
        let [seconds, nanoseconds] = [now.tv_sec, now.tv_nsec].map(|part| u64::try_from(part).unwrap_or_default());
        Self(seconds * 1000 + nanoseconds / 1_000_000)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pulse {
    /// The last beat.
    last: AtomicU64,
    /// The end of the last standstill; 0 is none.
    stood_still: AtomicU64,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self::since(Moment::now())
    }

    const fn since(Moment(start): Moment) -> Self {
        Self { last: AtomicU64::new(start), stood_still: AtomicU64::new(0) }
    }

    /// Beats, as long as it is polled.
    pub(super) async fn beat(&self) {
        loop {
            self.note(Moment::now());
            sleep(BEAT).await;
        }
    }

    fn note(&self, now: Moment) {
        if !self.beats(now) {
            self.stood_still.store(now.0, Ordering::Release);
        }
        self.last.store(now.0, Ordering::Release);
    }

    /// Tells whether the process has run without a standstill since then.
    pub(super) fn has_run_since(&self, then: Moment) -> bool {
        self.has_run(then, Moment::now())
    }

    fn has_run(&self, then: Moment, now: Moment) -> bool {
        // In this order: the beat that ends a standstill tells of it first.
        let beats = self.beats(now);
        let stood_still = self.stood_still.load(Ordering::Acquire);
        beats && (stood_still == 0 || stood_still < then.0)
    }

    fn beats(&self, now: Moment) -> bool {
        now.0.saturating_sub(self.last.load(Ordering::Acquire)) < STANDSTILL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_a_standstill_is_not_relied_on() {
        let pulse = Pulse::since(Moment(0));
        let at = Moment;
        for beat in [200, 400, 1300] {
            pulse.note(at(beat));
        }
        assert!(pulse.has_run(at(0), at(1500)), "pauses of less than a second");
        assert!(!pulse.has_run(at(1300), at(2300)), "it has just gone on, and has not noticed");
        pulse.note(at(9000));
        assert!(!pulse.has_run(at(8999), at(9001)));
        assert!(!pulse.has_run(at(9000), at(9001)), "in the same millisecond");
        assert!(pulse.has_run(at(9001), at(9001)));
        assert!(pulse.has_run(at(9001), at(9900)));
    }
}
