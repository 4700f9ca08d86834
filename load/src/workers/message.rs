//! What workers are ordered and what they tell.

use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2Serializer},
};
use serde::{Deserialize, Serialize};

use crate::{
    crowd::Standing,
    ledger::Ledger,
    record::{Counts, Latencies},
};

/// An order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Have so many clients, over all workers, and begin after what has been published.
    Wanted(u32, Ledger),
    /// Publishing begins: what has been published is not known until further notice.
    Publishing,
    /// This has been published; tell what is missing.
    Published(Ledger),
    /// Have all clients say that they leave.
    Farewell,
}

/// What a worker tells.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Told {
    /// The number of the last order that it has obeyed.
    pub(crate) order: u32,
    /// How many clients do what.
    pub(crate) standing: Standing,
    /// What was counted since the start.
    pub(crate) counts: Counts,
    /// How many events are missing, by the ledger that it has.
    pub(crate) lost: u64,
    /// All clients have said that they leave.
    pub(crate) is_farewell_said: bool,
    /// CPU time since the start, in nanoseconds.
    pub(crate) cpu: u64,
    /// The longest turn of the loop since the message before.
    pub(crate) longest_turn: u64,
    /// Latencies since the message before: a histogram in the format V2, as base64.
    recent: Option<String>,
}

impl Told {
    /// Adds latencies, and forgets them.
    pub(crate) fn set_recent(&mut self, recent: &mut Latencies) {
        self.recent = (recent.count() > 0).then(|| {
            let mut bytes = Vec::new();
            // It fails only where the bytes cannot be written.
            let _ = V2Serializer::new().serialize(recent.histogram(), &mut bytes);
            STANDARD.encode(bytes)
        });
        recent.clear();
    }

    /// Returns the latencies.
    pub(crate) fn recent(&self) -> Option<Histogram<u64>> {
        let bytes = STANDARD.decode(self.recent.as_ref()?).ok()?;
        Deserializer::new().deserialize(&mut &bytes[..]).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_reach_another_process() {
        let mut recent = Latencies::default();
        (1..=100).for_each(|millisecond| recent.take(millisecond * 1_000_000));
        let expected = recent.quantiles();
        let mut told = Told::default();
        told.set_recent(&mut recent);
        assert_eq!(recent.count(), 0);
        let told: Told = serde_json::from_str(&serde_json::to_string(&told).unwrap()).unwrap();
        let mut merged = Latencies::default();
        merged.add_histogram(&told.recent().unwrap());
        assert_eq!(merged.quantiles(), expected);
    }
}
