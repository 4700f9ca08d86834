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

    /// Says why this gateway should get no requests: it cannot serve mailboxes.
    ///
    /// Feeds do not count: where their log is long, it takes minutes until they can be read. They are named all the same
    /// if the broker cannot be used.
    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.shutting_down.is_cancelled() {
            return Err(Problem::ShuttingDown);
        }
        match (self.broker.is_ready(), self.feed.is_ready()) {
            (true, _) if !self.access.is_ready() => Err(Problem::PartsNotReady("keys of tokens")),
            (true, _) => Ok(()),
            (false, true) => Err(Problem::PartsNotReady("broker")),
            (false, false) => Err(Problem::PartsNotReady("broker, feeds")),
        }
    }

    /// Says why this gateway should get no requests for feeds.
    pub(super) fn check_feeds(&self) -> Result<(), Problem> {
        self.check()?;
        if self.feed.is_ready() { Ok(()) } else { Err(Problem::PartsNotReady("feeds")) }
    }
}
