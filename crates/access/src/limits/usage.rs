//! What a sender uses.

use std::sync::Arc;

use super::rate::Bucket;

/// What is counted by a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// Events that are published.
    Publishes,
    /// Mailboxes that are made.
    Mailboxes,
    /// Requests for mailboxes that got nothing.
    Failures,
}

/// What is counted as long as it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// Connections.
    Connections,
    /// Polls that are held, and streams.
    Polls,
}

/// One more of what a sender holds, until it is dropped.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "it is there to be dropped")] pub(super) Arc<()>);

/// What one sender has used.
#[derive(Debug, Default)]
pub(super) struct Usage {
    pub(super) allowances: [Bucket; 3],
    /// Each place has a clone.
    pub(super) holdings: [Option<Arc<()>>; 2],
}

impl Usage {
    pub(super) fn held(&self, holding: Holding) -> usize {
        self.holdings[holding as usize].as_ref().map_or(0, |held| Arc::strong_count(held) - 1)
    }

    pub(super) fn has_places(&self) -> bool {
        self.held(Holding::Connections) + self.held(Holding::Polls) > 0
    }

    pub(super) fn is_idle(&self, now: u64) -> bool {
        !self.has_places() && self.allowances.iter().all(|bucket| bucket.is_unused(now))
    }
}
