//! How often something may be done: the generic cell rate algorithm (ITU-T I.371), whose whole state is one moment.

use std::time::Duration;

/// So many in each period, and some at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// From one to the next, in nanoseconds.
    interval: u64,
    /// How far ahead of the pace a burst may be, in nanoseconds: as many intervals as it has.
    burst: u64,
}

impl Rate {
    /// Returns that of so many in each period, with bursts of so many; both at least 1.
    #[must_use]
    pub fn new(count: u32, period: Duration, burst: u32) -> Self {
        let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let interval = (period / u64::from(count.max(1))).max(1);
        Self { interval, burst: interval.saturating_mul(u64::from(burst.max(1))) }
    }
}

/// When all that was taken would have been taken at the pace alone, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bucket(u64);

impl Bucket {
    /// Takes so many, or none and tells how long to wait for them. More than a burst has never come.
    pub(super) fn take(&mut self, rate: Rate, count: u32, now: u64) -> Result<(), Duration> {
        let next = self.0.max(now).saturating_add(rate.interval.saturating_mul(count.into()));
        let ahead = next - now;
        if ahead > rate.burst {
            return Err(Duration::from_nanos(ahead - rate.burst));
        }
        self.0 = next;
        Ok(())
    }

    /// Tells whether it is as if nothing had ever been taken.
    pub(super) const fn is_unused(self, now: u64) -> bool {
        self.0 <= now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_is_taken_at_once_and_the_rest_at_the_pace() {
        let rate = Rate::new(60, Duration::from_hours(1), 32);
        let mut bucket = Bucket::default();
        for _ in 0..32 {
            assert_eq!(bucket.take(rate, 1, 7), Ok(()));
        }
        assert_eq!(bucket.take(rate, 1, 7), Err(Duration::from_mins(1)));
        assert_eq!(bucket.take(rate, 1, 7 + 30 * SECOND), Err(Duration::from_secs(30)));
        assert_eq!(bucket.take(rate, 1, 7 + 60 * SECOND), Ok(()));
        assert_eq!(bucket.take(rate, 1, 7 + 60 * SECOND), Err(Duration::from_mins(1)));
    }

    #[test]
    fn nothing_overflows() {
        for rate in [Rate::new(u32::MAX, Duration::ZERO, 0), Rate::new(0, Duration::MAX, u32::MAX)] {
            let mut bucket = Bucket(u64::MAX - 1);
            let _ = bucket.take(rate, 1, u64::MAX);
            let _ = bucket.take(rate, 1, u64::MAX);
        }
    }

    proptest! {
        /// As a bucket of tokens that is filled bit by bit; and the time to wait is exact.
        #[test]
        fn it_is_a_bucket_of_tokens(
            count in 1_u32..1000, seconds in 1_u64..4000, burst in 1_u32..300,
            pauses in prop::collection::vec((0_u64..5 * SECOND, 1_u32..5), 1..400),
        ) {
            let rate = Rate::new(count, Duration::from_secs(seconds), burst);
            let (mut bucket, mut tokens, mut now) = (Bucket::default(), rate.burst, 0);
            for (pause, count_at_once) in pauses {
                let taken_at_once = count_at_once.min(burst);
                let wanted = rate.interval * u64::from(taken_at_once);
                now += pause;
                tokens = (tokens + pause).min(rate.burst);
                let taken = bucket.take(rate, taken_at_once, now);
                if tokens >= wanted {
                    prop_assert_eq!(taken, Ok(()));
                    tokens -= wanted;
                } else {
                    let wait = wanted - tokens;
                    prop_assert_eq!(taken, Err(Duration::from_nanos(wait)));
                    prop_assert!(bucket.clone().take(rate, taken_at_once, now + wait - 1).is_err());
                    prop_assert!(bucket.clone().take(rate, taken_at_once, now + wait).is_ok());
                }
                prop_assert_eq!(bucket.is_unused(now), tokens == rate.burst);
            }
        }
    }
}
