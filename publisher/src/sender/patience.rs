//! How long to go on: pure decisions about time, on a clock that others read.

use std::time::Duration;

use tokio::time::Instant;

/// The first pause between two attempts to connect; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Tells when to give up: after too long a time without a confirm, or when the time after a signal is over.
#[derive(Debug)]
pub(super) struct Patience {
    timeout: Duration,
    since: Instant,
    stop_by: Option<Instant>,
}

impl Patience {
    pub(super) const fn new(timeout: Duration, now: Instant) -> Self {
        Self { timeout, since: now, stop_by: None }
    }

    /// Something was confirmed, or there was nothing to be confirmed until now.
    pub(super) const fn renew(&mut self, now: Instant) {
        self.since = now;
    }

    /// A stop was asked for: there is only this much time left, whatever happens.
    pub(super) fn stop_within(&mut self, grace: Duration, now: Instant) {
        self.stop_by = Some(now + grace);
    }

    /// Returns when to give up.
    pub(super) fn deadline(&self) -> Instant {
        let deadline = self.since + self.timeout;
        self.stop_by.map_or(deadline, |stop_by| stop_by.min(deadline))
    }
}

/// Growing pauses between attempts to connect.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    taken: u32,
}

impl Pauses {
    /// A confirm came: the next trouble is a new one.
    pub(super) const fn reset(&mut self) {
        self.taken = 0;
    }

    /// Returns the next pause. `jitter` (0 to 1) spreads publishers that lost the same broker over half its length.
    pub(super) fn next(&mut self, jitter: f64) -> Duration {
        let full = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.taken)).min(LONGEST_PAUSE);
        self.taken += 1;
        full.mul_f64(0.5 + jitter / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit_and_start_again_after_a_confirm() {
        let mut pauses = Pauses::default();
        let millis: Vec<_> = (0..7).map(|_| pauses.next(1.0).as_millis()).collect();
        assert_eq!(millis, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(pauses.next(0.0).as_millis(), 2500);
        pauses.reset();
        assert_eq!(pauses.next(0.0).as_millis(), 125);
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_shortens_the_wait_and_never_lengthens_it() {
        let now = Instant::now();
        let seconds = Duration::from_secs;
        let mut patience = Patience::new(seconds(30), now);
        patience.renew(now + seconds(2));
        assert_eq!(patience.deadline(), now + seconds(32));
        patience.stop_within(seconds(5), now + seconds(30));
        assert_eq!(patience.deadline(), now + seconds(32));
        patience.renew(now + seconds(31));
        assert_eq!(patience.deadline(), now + seconds(35));
    }
}
