//! What is left to say when a Session is over.

use super::Desk;
use crate::{last_seen::Place, poll::PollId, window::Window};

impl Desk {
    /// Tells whether a poll waits for what is still to come. One that asks what is there has no answer as long as it waits:
    /// its client would take "nothing" for the end of its mailbox.
    pub(crate) fn has_looked_for(&self, poll: PollId) -> bool {
        let waits = self.poll.as_ref().is_some_and(|seated| seated.poll.id == poll && !seated.is_short());
        waits && self.window.as_ref().is_some_and(|window| !window.awaits_head())
    }

    /// Returns the last place that was confirmed.
    pub(crate) fn confirmed(&self) -> Option<Place> {
        self.window.as_ref().and_then(Window::confirmed)
    }
}
