//! The seam between what is published and how it gets there: over AMQP to the broker, or over HTTP to a gateway.
//!
//! A [`Transport`] is a place that is known and may be connected to, again and again; a [`Link`] is one such
//! connection. The contract, for both:
//!
//! * [`Link::send`] answers `Ok` only when the event is stored wherever it has to be.
//! * Several events may be sent at once, within what [`Transport::concurrency`] allows; then they are stored in the
//!   order that was asked for.
//! * A transport tries everything once. When to try again, and when to give up, is the [`crate::sender`]'s business.
//! * `send` and `connect` may be dropped. A dropped `send` leaves it open whether the event is stored.

use std::{fmt::Display, time::Duration};

use events::Event;

use crate::{outbox::Concurrency, source::Order};

/// A place where events are published. It is shown to the user, so `Display` leaves passwords out.
pub(crate) trait Transport: Display {
    type Link: Link;

    /// What the user can do when no target is there.
    const ADVICE: &'static str;

    /// Returns what may be on its way at once so that events are stored in this order. It can change with what is learned
    /// of the place.
    fn concurrency(&self, order: Order) -> Concurrency;

    /// Returns how long one attempt to connect may take; a host that swallows packets must not use up all the patience.
    fn connect_limit(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// Connects, or says why not. Tries once, each address if there are several, and takes its time.
    async fn connect(&self) -> Result<Self::Link, ConnectError>;
}

/// A connection to such a place.
pub(crate) trait Link {
    /// Sends an event and waits for the answer. On a link that keeps order, that of the first polls counts.
    async fn send(&self, event: Event) -> Result<(), SendError>;

    /// Sends events in one go and waits for the answer; returns what became of each. Only asked of a transport that says
    /// [`Concurrency::Batches`].
    async fn send_batch(&self, events: Vec<Event>) -> Vec<Result<(), SendError>> {
        let mut answers = Vec::new();
        for event in events {
            answers.push(self.send(event).await);
        }
        answers
    }

    /// Tells whether an event that is sent now has a chance.
    fn is_open(&self) -> bool {
        true
    }

    /// Says why nothing is answered, if that can be known.
    fn blocked_reason(&self) -> Option<&'static str> {
        None
    }

    /// Says goodbye.
    async fn close(self);
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The target said no; it will not be otherwise until an operator changes something.
    #[error("{0}")]
    Refused(String),
    /// No answer came; the same may go well later.
    #[error("{0}")]
    Unreachable(String),
}

/// Why an event is not known to be stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// This event will never be taken; others may.
    #[error("{0}")]
    Refused(String),
    /// A queue is full. Each further try leaves a repeat in the queues that did take the event.
    #[error("{0}")]
    Rejected(String),
    /// Nothing is wrong with the event, but no target takes it now.
    #[error("{reason}")]
    Unavailable {
        reason: String,
        /// It may be stored all the same.
        was_sent: bool,
        /// How long we were asked to wait before the next try.
        retry_after: Option<Duration>,
    },
    /// Nothing is wrong with the event, and it was not looked at, because of another one: it can be sent again at once.
    #[error("{0}")]
    NotTried(String),
    /// Over one of the events in flight the link was closed; which one is not said.
    #[error("{0}")]
    RefusedOne(String),
    /// The link was lost.
    #[error("{0}")]
    Lost(String),
    /// The server that answers there takes no events at all.
    #[error("{0}")]
    WrongDestination(String),
}
