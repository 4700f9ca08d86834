//! What a client of a mailbox does and gets.

use crate::history::Seen;

/// One step. A request is named by a number of the client's own; it begins with `Asked` and is over with `Nothing`,
/// `Refused`, `Ended` or `Broken`.
#[derive(Debug, Clone)]
pub enum Step {
    /// A request is about to be sent.
    Asked {
        /// The request.
        request: u64,
        /// Where to and in which way, for people.
        how: String,
        /// The token that it carries, from an answer before.
        token: Option<String>,
    },
    /// A batch came whole, or the next event of a stream.
    Events {
        /// The request.
        request: u64,
        /// The events, in order.
        events: Vec<Seen>,
        /// The token that confirms them.
        token: String,
    },
    /// The news that something is gone.
    Reset {
        /// The request.
        request: u64,
        /// The token that confirms the news.
        token: String,
    },
    /// The request was answered, and there was nothing. Not where a gateway that shuts down says so.
    Nothing {
        /// The request.
        request: u64,
    },
    /// The request was answered with an error.
    Refused {
        /// The request.
        request: u64,
        /// The status.
        status: u16,
    },
    /// An answer with events is over.
    Ended {
        /// The request.
        request: u64,
        /// What the client does now, for people.
        how: String,
    },
    /// The client hung up, or the gateway: what was not told by then was perhaps handed out.
    Broken {
        /// The request.
        request: u64,
        /// How, for people.
        how: String,
    },
    /// A gateway is about to be killed, or connections to the broker to be closed: from here to the next `Disturbed`,
    /// acknowledgements may get lost at any moment.
    Breaks(String),
    /// Acknowledgements up to here may be lost, and no others.
    Disturbed(String),
    /// Something changed through which nothing may be lost, such as a gateway that was asked to end.
    Changed(String),
    /// From a moment later on, the client reads without waiting.
    Drains,
    /// It was told that there is nothing more: it has all that was stored when it began.
    Drained,
    /// The mailbox was deleted, or has expired, with all that was in it.
    Dropped,
}
