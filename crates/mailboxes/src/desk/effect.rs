//! What a desk decides, for its owner to carry out.

use broker::handover::Reply;

use super::wishes::WishId;
use crate::poll::{Outcome, PollId};

/// Why a Session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// The client went away, or never got its answer.
    Disconnected,
    /// No poll came within the linger.
    Lingered,
    /// A Delivery stayed unconfirmed for the confirm deadline.
    Unconfirmed,
    /// Another gateway gets the mailbox, and is to be told so after the release.
    HandedOver {
        wish: WishId,
        /// What the token of the wish stands for was confirmed.
        has_confirmed_seen: bool,
    },
}

/// What the owner has to do.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Confirm to the broker up to and including this tag. Always before the answer that follows it.
    Confirm(u64),
    /// Ask the broker whether the mailbox is drained, and pass the answer on after the messages that have arrived.
    Ask,
    /// Give this poll its answer.
    Answer(PollId, Outcome),
    /// Tell this to another gateway.
    Reply(WishId, Reply),
    /// Release the Lease; the answers that follow are given after that.
    End(EndReason),
}
