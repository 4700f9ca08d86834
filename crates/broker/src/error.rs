//! Why a broker did not do what it was asked.

use std::time::Duration;

/// Why the broker did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// There is no connection, or it went while the broker was asked; the same call can succeed later.
    #[error("the broker cannot be reached: {0}")]
    Unavailable(String),
    /// There is no connection, so the broker was not asked; the same call can succeed later.
    #[error("there is no connection to the broker now; the gateway keeps trying")]
    NotConnected,
    /// The connection was lost a moment ago, and no try to connect again has failed, so the broker was not asked; the
    /// same call can succeed very soon.
    #[error("the connection to the broker was lost; the gateway connects again")]
    Reconnecting,
    /// The broker is slower than it is asked, and the call still waits for its turn; the same call can succeed later.
    #[error("the broker is slow, and earlier calls come first")]
    Busy,
    /// It is connected, and takes nothing because it is short of memory or disk; the same call can succeed later.
    #[error("the broker is short of memory or disk and takes nothing")]
    Blocked,
    /// It is connected, but a queue is on a node that is down, or its process has stopped; the same call can succeed
    /// later.
    #[error("the broker cannot reach a queue, to {attempted}: {reason}")]
    QueueAway {
        /// What was asked of it.
        attempted: &'static str,
        /// Its own words.
        reason: String,
    },
    /// The queue exists as another type than this needs, such as a quorum queue where order and exclusiveness are
    /// promised.
    #[error("a queue is of another type than classic (a mailbox) or stream (the feed), to {attempted}: {reason}")]
    OtherQueueType {
        /// What was asked of it.
        attempted: &'static str,
        /// Its own words.
        reason: String,
    },
    /// A limit of the broker is reached; the same call can succeed when something else has ended, or with a higher
    /// limit.
    #[error("a limit of the broker is reached, to {attempted}: {reason}")]
    LimitReached {
        /// What was asked of it.
        attempted: &'static str,
        /// Its own words.
        reason: String,
    },
    /// As much is open as the broker allows; the same call can succeed when something else has ended.
    #[error("there is no room to {attempted}: {reason}")]
    NoRoom {
        /// What was asked of it.
        attempted: &'static str,
        /// Which limit it is.
        reason: &'static str,
    },
    /// A mailbox would be bound to more than this many patterns; it is bound to none of the new ones.
    #[error("a mailbox is bound to at most {0} patterns")]
    TooManyBindings(usize),
    /// At least one mailbox did not take the event; the others have it.
    #[error("a mailbox is full and its policy rejects events, or its node is away")]
    Rejected,
    /// It keeps its own store, and cannot write to it; the same call can succeed later.
    #[error("the store cannot be written: {0}")]
    Unwritable(String),
    /// The broker said no, and will say so again until an operator changes something.
    #[error("the broker refused to {attempted}: {reason}")]
    Refused {
        /// What was asked of it.
        attempted: &'static str,
        /// Its own words.
        reason: String,
    },
    /// No confirm came within the time that a publisher is made to wait.
    #[error("the broker did not confirm within {} s", .0.as_secs())]
    Unconfirmed(Duration),
}

impl BrokerError {
    /// Returns the error of a call that had sent something before.
    #[must_use]
    pub fn after_sending(self) -> Self {
        match self {
            Self::NotConnected | Self::Reconnecting => Self::Unavailable("the connection was lost".to_owned()),
            other => other,
        }
    }

    /// Tells whether the same call can succeed without a change by an operator.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable(_)
            | Self::NotConnected
            | Self::Reconnecting
            | Self::Busy
            | Self::Blocked
            | Self::QueueAway { .. }
            | Self::NoRoom { .. }
            | Self::Unwritable(_)
            | Self::Unconfirmed(_) => true,
            Self::OtherQueueType { .. }
            | Self::LimitReached { .. }
            | Self::TooManyBindings(_)
            | Self::Rejected
            | Self::Refused { .. } => false,
        }
    }
}

/// Why a Lease could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// There is no mailbox, and no topics were named to create one.
    #[error("there is no such mailbox")]
    NoMailbox,
    /// Another gateway reads the mailbox.
    #[error("the mailbox is read through another gateway")]
    Held,
    /// Another gateway has a newer poll of the same instance of the client.
    #[error("another gateway has a newer poll of this client")]
    Newer,
    /// Anything else.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// Why a Lease ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseEnded {
    /// The mailbox was deleted.
    MailboxGone,
    /// The connection to the broker went, or the broker lost the queue's node; whatever was unconfirmed is back in the
    /// mailbox.
    BrokerLost,
}
