//! What the log holds of an event.

use events::{Event, Topic};

use super::super::{clock::LogTime, repeats::Fingerprint};

/// An event and its position in the log.
#[derive(Debug)]
pub(in super::super) struct Stored {
    pub(in super::super) offset: u64,
    pub(in super::super) event: Event,
    pub(in super::super) fingerprint: Fingerprint,
}

impl Stored {
    #[cfg(test)]
    pub(in super::super) fn new(offset: u64, event: Event) -> Self {
        Self { offset, fingerprint: Fingerprint::of(&event), event }
    }

    pub(in super::super) fn head(&self, stored: LogTime) -> EventMeta {
        let (topic, bytes) = (self.event.topic.clone(), self.event.payload.len() as u64);
        EventMeta { topic, bytes, stored, fingerprint: Some(self.fingerprint) }
    }
}

/// What is known of an event that need not be in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct EventMeta {
    pub(in super::super) topic: Topic,
    /// The bytes of its payload.
    pub(in super::super) bytes: u64,
    pub(in super::super) stored: LogTime,
    /// Older gateways did not write it.
    pub(in super::super) fingerprint: Option<Fingerprint>,
}
