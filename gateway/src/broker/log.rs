//! The log of every event: what a Feed is read from.
//!
//! Reading it consumes nothing, so any number of readers follow it. The contract, for every broker:
//!
//! * **Offsets** grow strictly with the order in which events were stored. They may have gaps, and are never given twice.
//! * **Durability.** An event is in the log before its publisher is answered.
//! * **Retention** drops the oldest events, confirmed or not.

use std::sync::Arc;

use events::{Event, Topic, TopicPattern};

use super::error::BrokerError;

/// An event and its place in the log.
#[derive(Debug, Clone)]
pub struct Logged {
    /// Its place.
    pub offset: u64,
    /// The event, shared by all who read it.
    pub event: Arc<Event>,
}

/// The end of the log, as it was when it was looked at.
#[derive(Debug)]
pub struct LogEnd<T> {
    /// No event before it has this offset or a higher one.
    pub next: u64,
    /// Every event from this offset on was shown, or was followed by a newer one of its topic. Before it, events are damaged
    /// whose topics are not known.
    pub complete_from: u64,
    /// Follows the log from here on.
    pub tail: T,
}

/// What a search came to.
#[derive(Debug, Default)]
pub struct Searched {
    /// The event after which the search went on, if it is still there.
    pub before: Option<Logged>,
    /// What was found, in order.
    pub found: Vec<Logged>,
    /// Before what was found, or if nothing was, before where the search stopped, retained events are missing that may have
    /// matched: they are damaged. A search that has found something stops before such events.
    pub damaged: bool,
    /// The last event that was looked at, if that is known: the next search can go on after it.
    pub last: Option<Logged>,
    /// Everything before this offset was looked at; always beyond where the search began, if that was before its end.
    pub reached: u64,
    /// The oldest offset that is kept; events before it are gone.
    pub oldest: u64,
}

/// Where the newest events of topics are.
#[derive(Debug)]
pub struct NewestBefore {
    /// In order.
    pub offsets: Vec<u64>,
    /// Retained events are missing that may have been among them: they are damaged.
    pub damaged: bool,
}

/// Keeps the log. Every method may be called at any time, also without a connection.
pub trait EventLog: Send + Sync + 'static {
    /// Follows the log.
    type Tail: LogTail;

    /// Finds the end of the log, and shows the topic and the offset of events before it, in order: at least of the newest
    /// event of each topic. May take long: a broker that cannot tell which those are reads all of it.
    fn open_tail(
        &self,
        show: impl FnMut(&Topic, u64) + Send,
    ) -> impl Future<Output = Result<LogEnd<Self::Tail>, BrokerError>> + Send;

    /// Returns an offset before which nothing is kept any more, as far as that is known without asking a broker elsewhere; else 0.
    fn known_oldest(&self) -> u64 {
        0
    }

    /// Tells where the newest events of matching topics are that have none from this offset on; of too many the oldest `most`.
    /// `None`: the broker cannot tell without reading the log.
    fn newest_before(
        &self,
        _pattern: &TopicPattern,
        _before: u64,
        _most: usize,
    ) -> impl Future<Output = Option<NewestBefore>> + Send {
        std::future::ready(None)
    }

    /// Tells whether a tail will hand over an event of this offset or a higher one which is stored already.
    fn reaches(&self, offset: u64) -> impl Future<Output = Result<bool, BrokerError>> + Send;

    /// Looks through the log in `from..to` for events of matching topics, until there are `limit` of them, or 1 MiB of
    /// payload, or a bounded number of events was looked at.
    ///
    /// `to` must be within the known end.
    fn search(
        &self,
        pattern: &TopicPattern,
        from: u64,
        to: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Searched, BrokerError>> + Send;

    /// As [`Self::search`], from right after the event that a client saw last, by its offset; gives that event, too, so that
    /// it can be compared. If it is not there, nothing else is looked for.
    ///
    /// A search that goes on where another one of the same pattern has stopped, by what it reached or by the last event that it
    /// looked at, costs the least.
    fn search_after(
        &self,
        pattern: &TopicPattern,
        seen: u64,
        to: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Searched, BrokerError>> + Send;
}

/// Follows the log from where its end was.
pub trait LogTail: Send + 'static {
    /// Waits for the next events, at least one, in order and without a gap. Cancel-safe. After an error the end has to be
    /// found anew.
    fn next(&mut self) -> impl Future<Output = Result<Vec<Logged>, BrokerError>> + Send;
}
