//! One request that waits at a Session, and what can come of it.

use std::sync::Arc;

use broker::BrokerError;
use events::TopicPattern;
use tokio::time::Instant;

use super::{batch::Batch, last_seen::LastSeen, window::View};

/// Names one poll within this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PollId(pub(super) u64);

/// What a poll asks of its Session.
#[derive(Debug, Clone)]
pub struct PollRequest {
    /// Patterns that the mailbox is bound to from now on.
    pub topics: Vec<TopicPattern>,
    /// What the client saw last.
    pub last_seen: Option<LastSeen>,
    /// The most events of one batch, at least 1.
    pub limit: usize,
    /// When to answer with nothing.
    pub deadline: Instant,
    /// Where the poll stands among those of its instance.
    pub order: Option<PollOrder>,
    /// What the client may be shown, whatever its mailbox is bound to; `None` is everything.
    pub may_see: Option<Arc<[TopicPattern]>>,
}

/// The `poll=<instance>.<n>` of a request: within one instance a lower `n` never replaces a higher one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollOrder {
    /// The client's instance, e.g. one page in one tab.
    pub instance: String,
    /// The number of the poll within it.
    pub number: u64,
}

impl PollOrder {
    /// Tells whether the same instance sent `self` before `other`.
    pub(super) fn is_before(&self, other: &Self) -> bool {
        self.instance == other.instance && self.number < other.number
    }
}

/// A poll at its desk.
#[derive(Debug)]
pub(super) struct Poll {
    pub(super) id: PollId,
    pub(super) last_seen: Option<LastSeen>,
    pub(super) limit: usize,
    pub(super) deadline: Instant,
    pub(super) order: Option<PollOrder>,
    /// It was answered before and goes on.
    pub(super) is_resumed: bool,
    /// It has got everything up to this tag, and not confirmed it.
    pub(super) after: Option<u64>,
    pub(super) may_see: Option<Arc<[TopicPattern]>>,
}

/// What a poll that was answered wants besides, without a word on what it got.
#[derive(Debug)]
pub struct Continuation {
    /// The token of the last event that it got, if it got any.
    pub after: Option<LastSeen>,
    /// The most events of one batch, at least 1.
    pub limit: usize,
    /// When to answer with nothing.
    pub deadline: Instant,
    /// What the client may be shown: the same as before.
    pub may_see: Option<Arc<[TopicPattern]>>,
}

impl Poll {
    pub(super) fn new(id: PollId, request: &PollRequest) -> Self {
        Self {
            id,
            last_seen: request.last_seen.clone(),
            limit: request.limit,
            deadline: request.deadline,
            order: request.order.clone(),
            is_resumed: false,
            after: None,
            may_see: request.may_see.clone(),
        }
    }

    pub(super) fn resumed(id: PollId, continuation: &Continuation) -> Self {
        let Continuation { after, limit, deadline, may_see } = continuation;
        let after = after.as_ref().and_then(|token| token.place).map(|place| place.tag);
        let (limit, deadline, may_see) = (*limit, *deadline, may_see.clone());
        Self { id, last_seen: None, limit, deadline, order: None, is_resumed: true, after, may_see }
    }

    pub(super) fn view(&self) -> View<'_> {
        View { may_see: self.may_see.as_deref(), has_seen: self.last_seen.is_some() || self.is_resumed }
    }
}

/// What a poll is answered with.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Events, or the news that an older mailbox is gone.
    Batch(Batch),
    /// Nothing came before the deadline.
    Nothing,
    /// The client holds as much as it may, and nothing more comes before it confirms some of it.
    WindowFull,
    /// A newer poll of the same client took the place.
    Replaced,
    /// The mailbox was deleted while the poll was held.
    MailboxGone,
    /// There is no mailbox, and the poll named no topics to create one.
    NoMailbox,
    /// Another gateway reads the mailbox.
    Held,
    /// The gateway holds as many mailboxes as it may.
    TooManyMailboxes,
    /// The broker cannot be used.
    Broker(BrokerError),
    /// The gateway is shutting down; the mailbox is free for another one.
    ShuttingDown,
}
