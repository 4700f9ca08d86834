//! Whether this gateway should get requests.

use std::sync::Arc;

use access::Access;
use broker::Broker;
use feeds::Feed;
use tokio_util::sync::CancellationToken;

use super::problem::Problem;

/// Looks at the parts that a request needs.
pub(super) struct Readiness<B: Broker> {
    broker: Arc<B>,
    feed: Arc<Feed<B::Log>>,
    access: Arc<Access>,
    shutting_down: CancellationToken,
}

impl<B: Broker> Clone for Readiness<B> {
    fn clone(&self) -> Self {
        Self::new(&self.broker, &self.feed, &self.access, &self.shutting_down)
    }
}

impl<B: Broker> Readiness<B> {
    pub(super) fn new(
        broker: &Arc<B>,
        feed: &Arc<Feed<B::Log>>,
        access: &Arc<Access>,
        shutting_down: &CancellationToken,
    ) -> Self {
        Self {
            broker: Arc::clone(broker),
            feed: Arc::clone(feed),
            access: Arc::clone(access),
            shutting_down: shutting_down.clone(),
        }
    }

    /// Tells whether the broker can be used now.
    pub(super) fn is_broker_ready(&self) -> bool {
        self.broker.is_ready()
    }

    /// Says why this gateway should get no requests.
    ///
    /// Feeds that were read once do not count: if they cannot be read any more, mailboxes still can. They are named all
    /// the same if the broker cannot be used.
    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.shutting_down.is_cancelled() {
            return Err(Problem::ShuttingDown);
        }
        match (self.broker.is_ready(), self.feed.is_ready()) {
            (true, _) if !self.access.is_ready() => Err(Problem::PartsNotReady("keys of tokens")),
            (true, true) => Ok(()),
            (true, false) if self.feed.has_been_ready() => Ok(()),
            (true, false) => Err(Problem::PartsNotReady("feeds")),
            (false, true) => Err(Problem::PartsNotReady("broker")),
            (false, false) => Err(Problem::PartsNotReady("broker, feeds")),
        }
    }
}
