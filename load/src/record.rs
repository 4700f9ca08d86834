//! What is counted while a run goes on, and can be added up over processes.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{failure::Failure, number::float};

/// The longest latency that is told apart: an hour, in nanoseconds.
const MAX_LATENCY: u64 = 3_600_000_000_000;

/// Three digits of a latency are kept.
const DIGITS: u8 = 3;

/// See the module. Counts since the start, or of one second.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Counts {
    /// Connections that were begun.
    pub(crate) connections: u64,
    /// Requests that clients have sent.
    pub(crate) polls: u64,
    /// Answers with events, and events of streams.
    pub(crate) answers: u64,
    /// Bytes of those.
    pub(crate) bytes: u64,
    /// Events that a client had for the first time.
    pub(crate) events: u64,
    /// Events that a client had had before, said to be repeats.
    pub(crate) repeated_flagged: u64,
    /// Events that a client had had before, not said to be repeats.
    pub(crate) repeated_unflagged: u64,
    /// Events that came after a later one of their stream.
    pub(crate) out_of_order: u64,
    /// Events of other programs, or of another run.
    pub(crate) foreign: u64,
    /// Answers without events.
    pub(crate) nothing: u64,
    /// Polls that had no answer by the deadline.
    pub(crate) unanswered: u64,
    /// Answers that told of events which are gone.
    pub(crate) resets: u64,
    /// Clients that hung up or went away.
    pub(crate) left: u64,
    /// What went wrong, by kind.
    #[serde(with = "failures")]
    pub(crate) failures: BTreeMap<Failure, u64>,
}

impl Counts {
    /// Returns how often something went wrong.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Returns how often the answer was that there is nothing, or there was none.
    pub(crate) const fn timed_out(&self) -> u64 {
        self.nothing + self.unanswered
    }

    /// Adds other counts.
    pub(crate) fn add(&mut self, other: &Self) {
        for (failure, count) in &other.failures {
            *self.failures.entry(*failure).or_default() += count;
        }
        for (mine, theirs) in self.numbers().into_iter().zip(other.clone().numbers()) {
            *mine += *theirs;
        }
    }

    /// Returns what was counted since an earlier moment.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        for (mine, theirs) in since.numbers().into_iter().zip(before.clone().numbers()) {
            *mine = mine.saturating_sub(*theirs);
        }
        for (failure, count) in &mut since.failures {
            *count -= before.failures.get(failure).copied().unwrap_or_default();
        }
        since.failures.retain(|_, count| *count > 0);
        since
    }

    const fn numbers(&mut self) -> [&mut u64; 13] {
        [
            &mut self.connections,
            &mut self.polls,
            &mut self.answers,
            &mut self.bytes,
            &mut self.events,
            &mut self.repeated_flagged,
            &mut self.repeated_unflagged,
            &mut self.out_of_order,
            &mut self.foreign,
            &mut self.nothing,
            &mut self.unanswered,
            &mut self.resets,
            &mut self.left,
        ]
    }
}

/// As a list of pairs, because a name in JSON is a text.
mod failures {
    use super::{BTreeMap, Failure};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(failures: &BTreeMap<Failure, u64>, to: S) -> Result<S::Ok, S::Error> {
        failures.iter().collect::<Vec<_>>().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Failure, u64>, D::Error> {
        Ok(Vec::deserialize(from)?.into_iter().collect())
    }
}

/// Latencies, in nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

/// Quantiles of latencies, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many there are.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half of them are below this.
    pub p50: f64,
    /// Nine tenths are.
    pub p90: f64,
    /// 99 % are.
    pub p99: f64,
    /// 99.9 % are.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        // Only wrong bounds can fail, and an automatic one is as good.
        Self(Histogram::new_with_max(MAX_LATENCY, DIGITS).unwrap_or_else(|_| unreachable!("the bounds are fixed")))
    }
}

impl Latencies {
    /// Takes one. What is longer than an hour counts as an hour.
    pub(crate) fn take(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    /// Adds others.
    pub(crate) fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    /// Returns how many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns what is told of them.
    pub(crate) fn quantiles(&self) -> Quantiles {
        if self.0.is_empty() {
            return Quantiles::default();
        }
        let at = |quantile| float(self.0.value_at_quantile(quantile)) / 1e6;
        Quantiles {
            count: self.0.len(),
            mean: self.0.mean() / 1e6,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: float(self.0.max()) / 1e6,
        }
    }

    /// Returns the latency of so many shares of all, from the shortest to the longest: `(share, ms)`.
    pub(crate) fn curve(&self) -> Vec<(f64, f64)> {
        const POINTS: [f64; 22] = [
            0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99, 0.995, 0.999,
            0.9995, 0.9999, 1.0,
        ];
        if self.0.is_empty() {
            return Vec::new();
        }
        POINTS.iter().map(|share| (*share, float(self.0.value_at_quantile(*share)) / 1e6)).collect()
    }

    /// Returns them for another process.
    pub(crate) const fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }

    /// Adds those of another process.
    pub(crate) fn add_histogram(&mut self, other: &Histogram<u64>) {
        let _ = self.0.add(other);
    }
}

/// What the clients of one process have seen: all together, and since it was last taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    /// Counts since the start.
    pub(crate) counts: Counts,
    /// From the time at which an event was to be sent until a client had it, since it was last taken. Without clients that were
    /// away at that time.
    pub(crate) recent: Latencies,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_can_be_taken_apart() {
        let mut counts = Counts { polls: 3, events: 5, ..Counts::default() };
        counts.failures.insert(Failure::Status(503), 2);
        let before = counts.clone();
        let mut more = Counts { polls: 4, left: 1, ..Counts::default() };
        more.failures.insert(Failure::Status(503), 1);
        more.failures.insert(Failure::Reset, 6);
        counts.add(&more);
        assert_eq!((counts.polls, counts.failed()), (7, 9));
        assert_eq!(counts.since(&before), more);
        let text = serde_json::to_string(&counts).unwrap();
        assert_eq!(serde_json::from_str::<Counts>(&text).unwrap(), counts);
    }

    #[test]
    fn quantiles_are_those_of_all_that_was_added() {
        let (mut latencies, mut others) = (Latencies::default(), Latencies::default());
        for milliseconds in 1..=500_u64 {
            latencies.take(milliseconds * 1_000_000);
            others.take((milliseconds + 500) * 1_000_000);
        }
        latencies.add(&others);
        let Quantiles { count, mean, p50, p99, max, .. } = latencies.quantiles();
        assert_eq!(count, 1000);
        for (found, expected) in [(mean, 500.5), (p50, 500.0), (p99, 990.0), (max, 1000.0)] {
            assert!((found - expected).abs() < expected / 500.0, "{found} is not about {expected}");
        }
        assert_eq!(Latencies::default().quantiles(), Quantiles::default());
    }
}
