//! What the log holds of an event.

use events::{Event, Topic};

use super::super::{clock::LogTime, repeats::Fingerprint};

/// An event and its position in the log.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) offset: u64,
    pub(crate) event: Event,
    pub(crate) fingerprint: Fingerprint,
}

impl Stored {
    #[cfg(test)]
    pub(crate) fn new(offset: u64, event: Event) -> Self {
        Self { offset, fingerprint: Fingerprint::of(&event), event }
    }

    pub(crate) fn head(&self, stored: LogTime) -> EventMeta {
        let (topic, bytes) = (self.event.topic.clone(), self.event.payload.len() as u64);
        EventMeta { topic, bytes, stored, fingerprint: Some(self.fingerprint) }
    }
}

/// What is known of an event that need not be in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventMeta {
    pub(crate) topic: Topic,
    /// The bytes of its payload.
    pub(crate) bytes: u64,
    pub(crate) stored: LogTime,
    /// Older gateways did not write it.
    pub(crate) fingerprint: Option<Fingerprint>,
}
