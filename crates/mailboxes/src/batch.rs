//! What one answer hands to a client.

use events::Event;

use super::last_seen::{LastSeen, Place};

/// Events in order, and the token that confirms them.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The events, oldest first; empty only with `reset`.
    pub events: Vec<BatchEvent>,
    /// An older mailbox of this client is gone, with whatever was in it.
    pub reset: bool,
    /// What the client echoes once it has seen them all.
    pub last_seen: LastSeen,
}

/// One event of a batch.
#[derive(Debug, Clone)]
pub struct BatchEvent {
    /// The event.
    pub event: Event,
    /// It may be a repeat: handed out before, flagged by the broker, or marked as resent by its publisher.
    pub redelivered: bool,
    pub(super) place: Place,
    /// Of the run that ends with it.
    pub(super) check: u32,
}

impl BatchEvent {
    /// Makes the token that confirms everything up to this event.
    #[must_use]
    pub fn last_seen(&self) -> LastSeen {
        LastSeen::new(self.event.id.clone(), self.place, self.check)
    }
}
