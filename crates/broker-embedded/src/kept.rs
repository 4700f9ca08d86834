//! Which mailboxes are kept.

use std::time::Duration;

use broker::{Seldom, expiry::spread};
use events::ClientId;
use tracing::warn;

use super::{batch::Batch, state::BrokerState, store::StoreError};

/// Which mailboxes are kept, and for how long. A time is spread by ±10 % between clients.
#[derive(Debug, Clone, Copy)]
pub struct KeptMailboxes {
    /// How long one is kept without a reader.
    pub expiry: Duration,
    /// The same for one in which nothing was ever confirmed, if that is shorter.
    pub unconfirmed_expiry: Duration,
    /// How many there may be.
    pub max: usize,
}

impl KeptMailboxes {
    /// Keeps any number, all for as long.
    #[must_use]
    pub const fn all_for(expiry: Duration) -> Self {
        Self { expiry, unconfirmed_expiry: expiry, max: usize::MAX }
    }

    pub(super) fn expiry_of(&self, client: &ClientId, is_new: bool) -> Duration {
        spread(if is_new { self.expiry.min(self.unconfirmed_expiry) } else { self.expiry }, client)
    }

    /// Refuses one more mailbox than may be kept, with those that are staged.
    pub(super) fn find_place(&self, state: &BrokerState, batch: &Batch) -> Result<(), StoreError> {
        static FULL: Seldom = Seldom::a_second();
        let (there, is_there) = (state.mailbox_count(), |client: &ClientId| state.mailbox(client).is_some());
        // Whether those of the batch are new is looked at only where it matters.
        if there + batch.mailbox_count() < self.max || there + batch.made(is_there) < self.max {
            return Ok(());
        }
        if let Some(left_out) = FULL.due() {
            let max = self.max;
            warn!(max, left_out, "as many mailboxes are kept as may be (--max-kept-mailboxes); no other one is made");
        }
        Err(StoreError::TooManyMailboxes)
    }
}
