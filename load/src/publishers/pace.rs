//! When events are to be sent.
//!
//! With a rate or in bursts these times are fixed before anything is sent, and latencies count from them: an event that had to
//! wait because the server was slow has a long latency, as it would have had for a user (no coordinated omission).

use std::time::Duration;

use crate::{
    clock::SECOND,
    number::{float, nanoseconds, whole},
};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// So many events a second, evenly.
    Rate(f64),
    /// So many events a second on average; each publisher draws its gaps (exponential), as of events that do not know of each other.
    Random(f64),
    /// So many events at once, each time this has passed.
    Burst(u64, Duration),
    /// Each publisher sends the next event when the last one is confirmed.
    Confirmed,
    /// The next event is sent when every client has had the last one and waits again.
    Lockstep,
}

impl Pace {
    /// Returns how long after the beginning an event is to be sent, counted from 0 over all publishers; `None`: when its publisher
    /// is free.
    pub(crate) fn offset(self, event: u64) -> Option<u64> {
        match self {
            Self::Rate(rate) => Some(whole(float(event) / rate * float(SECOND))),
            Self::Burst(count, every) => Some((event / count.max(1)).saturating_mul(nanoseconds(every))),
            Self::Random(_) | Self::Confirmed | Self::Lockstep => None,
        }
    }

    /// Draws the gap to the next event of one of so many publishers; `None` where gaps are not drawn.
    pub(crate) fn gap(self, publishers: usize) -> Option<u64> {
        let Self::Random(rate) = self else { return None };
        let mean = float(publishers as u64) / rate * float(SECOND);
        // 1 less a number below 1 has a logarithm.
        Some(whole(-mean * (1.0 - rand::random::<f64>()).ln()))
    }

    /// Returns the same with another rate.
    pub(crate) const fn at_rate(self, rate: f64) -> Self {
        if matches!(self, Self::Random(_)) { Self::Random(rate) } else { Self::Rate(rate) }
    }

    /// Returns how many events a second that makes, if it is known.
    pub(crate) fn rate(self) -> Option<f64> {
        match self {
            Self::Rate(rate) | Self::Random(rate) => Some(rate),
            Self::Burst(count, every) => Some(float(count) / every.as_secs_f64()),
            Self::Confirmed | Self::Lockstep => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_fixed_before() {
        let rate = Pace::Rate(500.0);
        assert_eq!([0, 1, 500].map(|event| rate.offset(event)), [Some(0), Some(2_000_000), Some(SECOND)]);
        let burst = Pace::Burst(100, Duration::from_secs(2));
        assert_eq!(
            [0, 99, 100, 250].map(|event| burst.offset(event)),
            [Some(0), Some(0), Some(2 * SECOND), Some(4 * SECOND)]
        );
        assert_eq!((burst.rate(), Pace::Confirmed.offset(3)), (Some(50.0), None));
    }

    #[test]
    fn random_gaps_have_the_rate_on_average() {
        let random = Pace::Random(100.0);
        let gaps: Vec<u64> = (0..10_000).filter_map(|_| random.gap(4)).collect();
        let (mean, long) = (gaps.iter().sum::<u64>() / 10_000, gaps.iter().filter(|gap| **gap > SECOND / 25).count());
        assert!((SECOND / 27..SECOND / 23).contains(&mean), "{mean}");
        // Of exponential gaps, 37 % are longer than the mean.
        assert!((3_400..4_000).contains(&long), "{long}");
        assert_eq!((random.offset(3), Pace::Rate(1.0).gap(1)), (None, None));
    }
}
