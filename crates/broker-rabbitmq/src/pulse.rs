//! Whether this process has stood still for so long that the broker may have given up its connections.
//!
//! A process that was frozen, or whose machine slept, goes on with what it held, while others have read those mailboxes
//! meanwhile. A poll may come to it before its connections say that they are closed. So a Lease that is older than a
//! standstill has to ask the broker before it is relied on.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep};

/// How often it beats.
const BEAT: Duration = Duration::from_millis(200);

/// A pause from which on the process has stood still. The shortest heartbeat is one second, and RabbitMQ gives a
/// connection up after two of them at least. The last byte may have left half a heartbeat before the pause. A machine that
/// is so busy that it runs no task for this long pays with one question for each mailbox that is read.
const STANDSTILL: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Pulse {
    start: Instant,
    /// The last beat, in milliseconds since the start.
    last: AtomicU64,
    /// The end of the last standstill; 0 is none.
    stood_still: AtomicU64,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0), stood_still: AtomicU64::new(0) }
    }

    /// Beats, as long as it is polled.
    pub(super) async fn beat(&self) {
        loop {
            self.note(Instant::now());
            sleep(BEAT).await;
        }
    }

    fn note(&self, now: Instant) {
        if !self.beats(now) {
            self.stood_still.store(self.millis(now), Ordering::Release);
        }
        self.last.store(self.millis(now), Ordering::Release);
    }

    /// Tells whether the process has run without a standstill since then.
    pub(super) fn has_run_since(&self, then: Instant) -> bool {
        self.has_run(then, Instant::now())
    }

    fn has_run(&self, then: Instant, now: Instant) -> bool {
        // In this order: the beat that ends a standstill tells of it first.
        let beats = self.beats(now);
        let stood_still = self.stood_still.load(Ordering::Acquire);
        beats && (stood_still == 0 || stood_still < self.millis(then))
    }

    fn beats(&self, now: Instant) -> bool {
        let last = self.start + Duration::from_millis(self.last.load(Ordering::Acquire));
        now.saturating_duration_since(last) < STANDSTILL
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_a_standstill_is_not_relied_on() {
        let pulse = Pulse::new();
        let at = |ms| pulse.start + Duration::from_millis(ms);
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
