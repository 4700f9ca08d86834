//! The poll that sits at a desk.

use tokio::time::Instant;

use crate::poll::Poll;

#[derive(Debug)]
pub(super) struct Seated {
    pub(super) poll: Poll,
    pub(super) since: Instant,
    pub(super) confirmed: bool,
    /// The broker has said that the mailbox is drained.
    pub(super) is_drained: bool,
    /// Its batch is held back.
    pub(super) is_held_back: bool,
}

impl Seated {
    pub(super) const fn new(poll: Poll, since: Instant, confirmed: bool) -> Self {
        Self { poll, since, confirmed, is_drained: false, is_held_back: false }
    }

    /// Tells whether it only asks for what is there. Then an event that was confirmed to its publisher must not be
    /// missed because it is still on its way to this Lease.
    pub(super) fn is_short(&self) -> bool {
        self.poll.deadline <= self.since
    }
}
