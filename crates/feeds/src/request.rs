//! What a poll of a Feed asks for, and what it is answered.

use std::sync::Arc;

use broker::BrokerError;
use events::Selection;
use tokio::time::Instant;

use super::{
    batch::FeedBatch,
    cursor::{Cursor, Start},
};

/// A poll of a Feed.
#[derive(Debug, Clone)]
pub struct FeedRequest {
    /// Which topics.
    pub selection: Selection,
    /// From where on.
    pub start: Start,
    /// Most events of the answer.
    pub limit: usize,
    /// Only the newest event of each topic in what the poll looks at.
    pub latest_only: bool,
    /// When to answer with nothing.
    pub deadline: Instant,
}

impl FeedRequest {
    /// Returns how many events are looked for after so many were found: one more than fits tells that there are more.
    /// Folded, all that were found may be of the same topics as those that come.
    pub(super) fn room_after(&self, found: usize) -> usize {
        (self.limit + 1).saturating_sub(if self.latest_only { 0 } else { found })
    }
}

/// How a poll of a Feed is answered.
#[derive(Debug, Clone)]
pub enum FeedOutcome {
    /// With events, or with the news that some are gone.
    Batch(Arc<FeedBatch>),
    /// With nothing; everything up to this place was looked at.
    Nothing(Cursor),
    /// The end of the log is not known yet, or not any more.
    NotReady,
    /// The broker could not be read.
    Broker(BrokerError),
    /// The gateway ends; with a place up to which everything was looked at, if there is one.
    ShuttingDown(Option<Cursor>),
}
