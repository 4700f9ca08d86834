//! The log of every event: what a Feed is read from.
//!
//! It holds the events whose topics an operator has chosen for Feeds. Reading it consumes nothing, so any number of
//! readers follow it. The contract, for every broker:
//!
//! * **Offsets** grow strictly with the order in which events were stored, and every reader finds an event at the same
//!   one. They may have gaps, and none is given twice, also not after the event is gone or the broker has started
//!   again.
//! * **Durability.** An event is in the log before its publisher is answered. A broker that outlives its process keeps
//!   it.
//! * **Retention** drops the oldest events, whether mailboxes have confirmed them or not. A confirm drops none.
//!
//! A broker that keeps nothing on disk begins another log when it starts.

use std::sync::Arc;

use events::{Event, Selection, Topic};

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
    /// Every event that was stored before the end was found has a lower offset, and every later one has this offset or
    /// a higher one.
    pub next: u64,
    /// Every event from this offset on was shown, or was followed by a newer one of its topic. Before it, events were not
    /// looked at, or are damaged and their topics not known.
    pub complete_from: u64,
    /// Follows the log from here on.
    pub tail: T,
}

/// What a search came to. Everything that matches from where it began up to [`Self::reached`] is in [`Self::found`],
/// unless it is damaged, or gone.
#[derive(Debug, Default)]
pub struct Searched {
    /// The event after which [`EventLog::search_after`] went on, if it is still there.
    pub before: Option<Logged>,
    /// What was found, in order.
    pub found: Vec<Logged>,
    /// Before what was found, or if nothing was, before where the search stopped, retained events are missing that may
    /// have matched: they are damaged. A search that has found something stops before such events.
    pub damaged: bool,
    /// The last event before [`Self::reached`] that was looked at, whether it matched or not, if it is known: the next
    /// search can go on after it.
    pub last: Option<Logged>,
    /// Everything before this offset was looked at, and the next search can go on from it. It is never after the
    /// search's end, and after its beginning if that was before its end and the limit was not 0.
    pub reached: u64,
    /// If this is after where the search began, events before it are gone, and it is the oldest offset that is kept.
    /// Otherwise none is gone from where the search began.
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

    /// Finds the end of the log, and shows the topic and the offset of events before it, in order: at least of the
    /// newest event of each topic that has one from [`LogEnd::complete_from`] on. How long it takes does not depend on how
    /// long the log is: a broker that cannot tell which those are, shows some of the last events. Events are stored
    /// meanwhile.
    fn open_tail(
        &self,
        show: impl FnMut(&Topic, u64) + Send,
    ) -> impl Future<Output = Result<LogEnd<Self::Tail>, BrokerError>> + Send;

    /// Returns a number by which this log can be told from another one of the same broker, such as the one before a
    /// start without a disk; 0 if the broker has none. It is given to clients.
    fn id(&self) -> u32 {
        0
    }

    /// Returns an offset before which nothing is kept any more, as far as that is known without asking a broker
    /// elsewhere; else 0.
    fn known_oldest(&self) -> u64 {
        0
    }

    /// Tells where the newest events of matching topics are that have none from this offset on; of too many the oldest
    /// `most`. `None`: the broker cannot tell without reading the log; it always says so, or never.
    fn newest_before(
        &self,
        _selection: &Selection,
        _before: u64,
        _most: usize,
    ) -> impl Future<Output = Option<NewestBefore>> + Send {
        std::future::ready(None)
    }

    /// Tells whether an event of this offset or a higher one is stored already, which a tail that has not come so far
    /// will hand over. A broker that is slow to answer may say no.
    fn reaches(&self, offset: u64) -> impl Future<Output = Result<bool, BrokerError>> + Send;

    /// Looks through the log in `from..to` for events of matching topics, until there are `limit` of them, or
    /// [`MAX_BATCH_BYTES`](super::limits::MAX_BATCH_BYTES) of payload, or a bounded number of events was looked at. A
    /// first event that is larger is found all the same.
    ///
    /// `to` must be within the known end. When too many search at once, it fails with an error that
    /// [can be retried](BrokerError::is_retryable).
    fn search(
        &self,
        selection: &Selection,
        from: u64,
        to: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Searched, BrokerError>> + Send;

    /// As [`Self::search`], from right after the event that a client saw last, by its offset, which must be before
    /// `to`; gives that event, too, whether it matches or not, so that it can be compared. If it is not there, nothing
    /// else is looked for. With a limit of 0 only that event is looked for.
    ///
    /// A search that goes on where another one of the same pattern has stopped, by what it reached or by the last event
    /// that it looked at, costs the least.
    fn search_after(
        &self,
        selection: &Selection,
        seen: u64,
        to: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Searched, BrokerError>> + Send;
}

/// Follows the log from where its end was.
pub trait LogTail: Send + 'static {
    /// Waits for the next events, at least one and at most [`MAX_TAIL_EVENTS`](super::limits::MAX_TAIL_EVENTS), in
    /// order: each event that is stored from [`LogEnd::next`] on comes once. If one is gone or damaged before it is
    /// handed over, this is an error, after all that comes before it. Cancel-safe. After an error the end has to be
    /// found anew.
    fn next(&mut self) -> impl Future<Output = Result<Vec<Logged>, BrokerError>> + Send;

    /// Stops reading, so that the tail costs the broker nothing until [`Self::resume`]. Returns when the log has to be
    /// read on although no client asks for it: what was lost with a connection has to be made anew, or events would not
    /// be stored. Cancel-safe; called again, it goes on waiting.
    fn rest(&mut self) -> impl Future<Output = ()> + Send;

    /// Reads on where it was stopped, and shows the events that were stored meanwhile, as [`Self::next`] gives them: all
    /// that were stored before the call, and none that are stored after it returned. An error is one of
    /// [`Self::next`], also where the log does not go on where reading stopped. Not cancel-safe.
    fn resume(&mut self, show: impl FnMut(Vec<Logged>) + Send) -> impl Future<Output = Result<(), BrokerError>> + Send;
}
