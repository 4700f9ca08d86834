//! One request that waits at a Session, and what can come of it.

use std::{fmt, str::FromStr, sync::Arc};

use broker::{BrokerError, handover::Claim};
use events::{TopicPattern, is_token_byte};
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
    /// It is a stream: after an answer with events, or with nothing, it goes on.
    pub goes_on: bool,
}

impl PollRequest {
    /// Returns what is said of it to a gateway that holds the mailbox.
    pub(super) fn claim(&self) -> Claim {
        Claim {
            holder: self.last_seen.as_ref().and_then(LastSeen::instance),
            last_seen: self.last_seen.as_ref().map(|token| token.as_str().to_owned()),
            poll: self.order.as_ref().map(ToString::to_string),
        }
    }
}

/// The `poll=<instance>.<n>` of a request: within one instance a lower `n` never replaces a higher one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollOrder {
    /// The client's instance, e.g. one page in one tab.
    pub instance: String,
    /// The number of the poll within it.
    pub number: u64,
}

/// The longest instance, in bytes.
const MAX_INSTANCE: usize = 64;

/// A text is no `<instance>.<n>`, with 1 to 64 bytes of `A-Z a-z 0-9 . _ ~ -` before the last dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it looks like <instance>.<n>, e.g. poll=tab7.42")]
pub struct PollOrderError;

impl PollOrder {
    /// Tells whether the same instance sent `self` before `other`.
    pub(super) fn is_before(&self, other: &Self) -> bool {
        self.instance == other.instance && self.number < other.number
    }
}

impl FromStr for PollOrder {
    type Err = PollOrderError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (instance, number) = text.rsplit_once('.').ok_or(PollOrderError)?;
        let fits = (1..=MAX_INSTANCE).contains(&instance.len()) && instance.bytes().all(is_token_byte);
        let number = number.parse().map_err(|_| PollOrderError)?;
        if fits { Ok(Self { instance: instance.to_owned(), number }) } else { Err(PollOrderError) }
    }
}

impl fmt::Display for PollOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.instance, self.number)
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
    /// It goes on after its answer.
    pub(super) goes_on: bool,
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
            goes_on: request.goes_on,
        }
    }

    pub(super) fn resumed(id: PollId, continuation: &Continuation) -> Self {
        let Continuation { after, limit, deadline, may_see } = continuation;
        let after = after.as_ref().and_then(|token| token.place).map(|place| place.tag);
        let (limit, deadline, may_see) = (*limit, *deadline, may_see.clone());
        let (order, is_resumed, goes_on) = (None, true, true);
        Self { id, last_seen: None, limit, deadline, order, is_resumed, after, may_see, goes_on }
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
    ShuttingDown {
        /// Nothing was there while the poll was held, and what it has seen is confirmed.
        has_looked: bool,
    },
}
