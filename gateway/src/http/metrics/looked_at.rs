//! What is not counted but looked at whenever the metrics are read.

use std::fmt;

use broker::Broker;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
};

use crate::http::{readiness::Readiness, transit::Transit};

/// See the module.
pub(in crate::http) struct LookedAt<B: Broker> {
    pub(in crate::http) readiness: Readiness<B>,
    pub(in crate::http) incoming: Transit,
    pub(in crate::http) outgoing: Transit,
}

impl<B: Broker> Collector for LookedAt<B> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut add = |name: &str, help: &str, value: i64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        add("ready", "Whether the gateway says that it is ready.", i64::from(self.readiness.check().is_ok()))?;
        add("broker_ready", "Whether the broker can be used.", i64::from(self.readiness.is_broker_ready()))?;
        add("transit_in_bytes", "Bytes of published events on their way in.", self.incoming.used())?;
        add("transit_out_bytes", "Bytes of answers on their way out.", self.outgoing.used())
    }
}

impl<B: Broker> fmt::Debug for LookedAt<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookedAt").finish_non_exhaustive()
    }
}
