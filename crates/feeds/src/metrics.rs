//! What is counted of Feeds: whether they can be read, whether that rests, and the searches of the log.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// Counts searches of the log, and tells whether Feeds can be read.
#[derive(Debug, Default)]
pub struct FeedMetrics {
    /// Whether the end of the log is known, so that polls are served: 1 or 0.
    pub(super) ready: Gauge,
    /// Whether reading the log rests until a poll comes: 1 or 0.
    pub(super) resting: Gauge,
    /// Searches of the log that run now, or wait for their turn.
    searches: Gauge,
    /// Those that failed.
    pub(super) searches_failed: Counter,
}

impl FeedMetrics {
    /// Shows all of this to Prometheus.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "feed_ready",
            "Whether feeds can be read: the end of the log is known; without that their polls get 503",
            self.ready.clone(),
        );
        registry.register(
            "feed_resting",
            "Whether the log is not read until the next poll of a feed, because none came for a while",
            self.resting.clone(),
        );
        registry.register(
            "feed_searches",
            "Searches of the log that run now, for followers that lag behind what is in memory",
            self.searches.clone(),
        );
        registry.register(
            "feed_searches_failed",
            "Searches of the log that failed, or waited for their turn in vain",
            self.searches_failed.clone(),
        );
    }

    /// Counts one more search, until the value is dropped.
    pub(super) fn searching(&self) -> Searching {
        self.searches.inc();
        Searching(self.searches.clone())
    }
}

/// One search of the log that runs.
#[derive(Debug)]
pub(super) struct Searching(Gauge);

impl Drop for Searching {
    fn drop(&mut self) {
        self.0.dec();
    }
}
