//! What Prometheus reads of the connections, looked at whenever it reads.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

use crate::connections::Connections;

/// See the module.
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
