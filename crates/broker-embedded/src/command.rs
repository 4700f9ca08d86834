//! What the writer is asked to do.

use events::{ClientId, Event, TopicPattern};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{position::Position, repeats::Fingerprint, store::StoreError};

/// What the writer can be asked for.
#[derive(Debug)]
pub(super) enum Task {
    /// Store events for every mailbox that is bound to their topics, all of them or none, but for those that were stored
    /// lately.
    Publish(Vec<(Event, Fingerprint)>),
    /// Bind a mailbox, which is made if there is none: with a marker, if the flag says so.
    Bind(ClientId, Vec<TopicPattern>, bool),
    Unbind(ClientId, TopicPattern),
    Delete(ClientId),
    /// Confirm everything up to and including a position.
    Confirm(ClientId, Position),
    /// Write down what is only in memory and end.
    Close,
    /// Fail as no writer should.
    #[cfg(test)]
    Panic,
}

impl Task {
    /// Stores events.
    pub(super) fn publish(events: impl IntoIterator<Item = Event>) -> Self {
        let known_by = |event: Event| {
            let fingerprint = Fingerprint::of(&event);
            (event, fingerprint)
        };
        Self::Publish(events.into_iter().map(known_by).collect())
    }
}

/// A task and where the answer goes.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) task: Task,
    pub(super) done: oneshot::Sender<Result<(), StoreError>>,
    /// Kept until it is stored.
    pub(super) room: OwnedSemaphorePermit,
}
