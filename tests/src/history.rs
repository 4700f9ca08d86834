//! A checker of histories: did the gateways keep their promises to publishers and readers, as seen from outside?
//!
//! Pure: no clock, no socket, no task. Publishers write into [`Published`] what they sent and what came of it. A reader
//! of a mailbox writes each [`Step`] into its [`MailboxHistory`], a reader of a feed each [`FeedStep`] into the
//! [`FeedHistory`] of its topic; the first step that breaks a promise is answered with a [`Fault`], and so is the end
//! of a history in which something is missing.
//!
//! Two things keep the judgement sharp:
//!
//! * Every attempt to publish is a message of its own, with a number in its payload, also where it sends the same event
//!   (the same id) again. So a repeat that the gateway makes is told from one that the publisher made.
//! * One publisher for each topic, which sends a message only after it knows, or has given up to know, what became of
//!   the one before. So the order of the topic is known.
//!
//! The checker leaves open all that a client cannot know: whether an answer that broke off was handed out, whether a
//! request that got no answer confirmed its token, whether a message without a confirm exists.

mod fault;
mod feed;
mod mailbox;
mod published;

pub use fault::{Fault, FaultKind};
pub use feed::{FeedHistory, FeedStep, Place};
pub use mailbox::{MailboxHistory, Promises, Returned, Step};
pub use published::{Published, Sent, Stored};

use crate::EventView;

/// An event as a reader got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its topic.
    pub topic: String,
    /// The number of its message within the topic, from the payload.
    pub number: u64,
    /// Its id.
    pub id: String,
    /// It says that it may be a repeat.
    pub redelivered: bool,
}

impl Seen {
    /// Reads an event of a batch; the payload has its number as `n`.
    pub fn of(event: &EventView) -> Self {
        let (topic, id) = (event.topic.clone(), event.id.clone());
        Self { topic, number: event.number("n"), id, redelivered: event.redelivered }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}{}", self.topic, self.number, if self.redelivered { "R" } else { "" })
    }
}

/// Shows a list of events in one line.
fn listed(events: &[Seen]) -> String {
    let events: Vec<_> = events.iter().map(ToString::to_string).collect();
    format!("[{}]", events.join(" "))
}

/// Shows the end of a token, which is what differs.
fn short(token: &str) -> &str {
    token.get(token.len().saturating_sub(30)..).unwrap_or(token)
}
