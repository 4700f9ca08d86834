//! What has been published: of each stream the last number, and the numbers that were not confirmed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{failure::Failure, record::Latencies, tally::Published};

/// The maximum of unconfirmed events that are remembered one by one; those beyond it count as confirmed, and so as lost where a
/// client has not had them.
const MAX_UNCONFIRMED: usize = 1_000_000;

/// See the module.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Ledger {
    last: Vec<u32>,
    unconfirmed: BTreeMap<u32, Vec<u32>>,
    remembered: usize,
}

/// What publishers have done: all together, and since it was last taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent {
    /// Events that were sent.
    pub(crate) events: u64,
    /// Events that were confirmed.
    pub(crate) confirmed: u64,
    /// What went wrong, by kind.
    pub(crate) failures: BTreeMap<Failure, u64>,
    /// From sending to the confirm.
    pub(crate) confirms: Latencies,
    /// How late events were sent.
    pub(crate) lateness: Latencies,
}

impl Ledger {
    /// Begins with so many streams.
    pub(crate) fn new(streams: u32) -> Self {
        Self { last: vec![0; streams as usize], ..Self::default() }
    }

    /// Returns the number of the next event of a stream.
    pub(crate) fn next(&mut self, stream: u32) -> u32 {
        let last = &mut self.last[stream as usize];
        *last = last.saturating_add(1);
        *last
    }

    /// Takes down that an event was not confirmed. Of one stream, they come in order.
    pub(crate) fn not_confirmed(&mut self, stream: u32, number: u32) {
        if self.remembered < MAX_UNCONFIRMED {
            self.unconfirmed.entry(stream).or_default().push(number);
            self.remembered += 1;
        }
    }

    /// Returns what was published in a stream.
    pub(crate) fn published(&self, stream: u32) -> Published<'_> {
        let unconfirmed = self.unconfirmed.get(&stream).map(Vec::as_slice).unwrap_or_default();
        Published { last: self.last.get(stream as usize).copied().unwrap_or_default(), unconfirmed }
    }

    /// Takes down what another program has published, in every stream.
    pub(crate) fn assume(&mut self, last: u32) {
        self.last.fill(last);
    }

    /// Takes down that another program has published an event that has come.
    pub(crate) fn seen(&mut self, stream: u32, number: u32) {
        if let Some(last) = self.last.get_mut(stream as usize) {
            *last = (*last).max(number);
        }
    }
}
