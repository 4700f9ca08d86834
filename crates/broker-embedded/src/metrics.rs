//! What is counted of the store.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// Counts what the embedded store writes and keeps. All of it is 0 as long as no store uses it.
#[derive(Debug, Default)]
pub struct StoreMetrics {
    /// How often the store was synced.
    pub(super) syncs: Counter,
    /// Payload bytes that it stored.
    pub(super) payload_bytes: Counter,
    /// Events that it keeps.
    pub(super) events: Gauge,
    /// What they count for retention, in bytes.
    pub(super) bytes: Gauge,
    /// How much they may count.
    pub(super) max_bytes: Gauge,
}

impl StoreMetrics {
    /// Shows all of this to Prometheus.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("store_syncs", "Syncs of the embedded store", self.syncs.clone());
        registry.register(
            "store_payload_bytes",
            "Payload bytes written to the embedded store",
            self.payload_bytes.clone(),
        );
        registry.register("store_events", "Events kept in the embedded store", self.events.clone());
        registry.register("store_bytes", "What they count for retention", self.bytes.clone());
        registry.register(
            "store_max_bytes",
            "How much they may count before the oldest go; 0 without an embedded store",
            self.max_bytes.clone(),
        );
    }
}
