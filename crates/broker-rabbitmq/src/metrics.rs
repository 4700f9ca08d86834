//! What is counted of RabbitMQ: the openings of Leases, and its connections.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{
        MetricType,
        counter::Counter,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::Registry,
};

use crate::connections::Connections;

/// Upper bounds of how long an opening takes, in seconds: from a broker that is idle to a return of ten thousand
/// clients.
const OPENINGS: [f64; 12] = [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Counts the openings of Leases.
#[derive(Debug)]
pub(crate) struct OpeningMetrics {
    /// Openings that wait for their turn.
    pub(super) waiting: Gauge,
    /// Openings that the broker works on.
    pub(super) under_way: Gauge,
    /// Openings that the broker did not do.
    pub(super) failed: Counter,
    /// How long those took that succeeded.
    pub(super) durations: Histogram,
}

impl Default for OpeningMetrics {
    fn default() -> Self {
        Self {
            waiting: Gauge::default(),
            under_way: Gauge::default(),
            failed: Counter::default(),
            durations: Histogram::new(OPENINGS),
        }
    }
}

impl OpeningMetrics {
    /// Shows all of this to Prometheus.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("openings_waiting", "Mailboxes that wait for their turn to be opened", self.waiting.clone());
        registry.register("openings_under_way", "Mailboxes that are being opened", self.under_way.clone());
        registry.register("openings_failed", "Mailboxes that the broker did not open", self.failed.clone());
        registry.register(
            "opening_seconds",
            "From the wish to read a mailbox to its opening, the wait for its turn included",
            self.durations.clone(),
        );
    }
}

/// The open connections, looked at whenever Prometheus reads.
#[derive(Debug)]
pub(crate) struct ConnectionMetrics(pub(crate) Arc<Connections>);

impl Collector for ConnectionMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Open connections to RabbitMQ, by address and by what they are for.";
        let mut family = encoder.encode_descriptor("broker_connections", help, None, MetricType::Gauge)?;
        for (kind, nodes) in self.0.connected() {
            for (node, count) in nodes {
                let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
                gauge.encode(family.encode_family(&[("node", node), ("kind", kind)])?)?;
            }
        }
        Ok(())
    }
}
