//! What is known of the log in memory, and what that says to a poll.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use events::{Matcher, TopicPattern};
use tokio::{sync::oneshot, time::Instant};

use super::{
    batch::FeedBatch,
    cursor::{Cursor, Start},
    recent::RecentEvents,
    request::FeedRequest,
    topic_index::TopicIndex,
    watchers::{Ticket, Watchers},
};
use crate::broker::log::Logged;

/// How many recent events are folded at once, where the index does not know the newest of each topic; so few in unit tests
/// that they come to the end of a part.
const MAX_FOLDED: usize = if cfg!(test) { 4 } else { 4096 };

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    pub(super) recent: RecentEvents,
    pub(super) index: TopicIndex,
    pub(super) watchers: Watchers,
}

/// The state under its lock; `None` as long as the end of the log is not known.
#[derive(Debug, Default)]
pub(super) struct SharedState(Mutex<Option<State>>);

impl SharedState {
    /// Locks the state; never held across an await.
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a look at the state came to.
pub(super) enum Lookup {
    Ready(FeedBatch),
    Newest(NewestLookup),
    /// The place is before the recent events; without one, the oldest event is. The recent events begin after `to`.
    InLog {
        cursor: Option<Cursor>,
        to: Cursor,
    },
    /// The place is none of this log.
    Unknown,
    /// The place is beyond the end; the poll is among those who wait for anything.
    BeyondEnd(Cursor, Ticket, oneshot::Receiver<Arc<FeedBatch>>),
    /// There is nothing yet; the poll is among the watchers.
    Watching(Cursor, Ticket, oneshot::Receiver<Arc<FeedBatch>>),
}

/// What is known of the newest events that a poll asks for.
pub(super) struct NewestLookup {
    /// Where they are, from `evicted_before` on.
    pub(super) offsets: Vec<u64>,
    /// Other topics may have theirs before this offset.
    pub(super) evicted_before: u64,
    /// The place at the end.
    pub(super) end: Cursor,
}

impl State {
    /// Takes the next events, and tells the polls that wait for them.
    pub(super) fn append(&mut self, events: &[Logged]) {
        let now = Instant::now();
        for logged in events {
            self.index.note(&logged.event.topic, logged.offset);
            self.recent.push(logged.clone(), now);
        }
        self.watchers.notify(events, self.recent.end());
    }

    /// Forgets what the log does not keep any more. The recent events and the index forget it together: a place among events that the
    /// index knows less of would be moved past events that no client got.
    pub(super) fn trim(&mut self, oldest: u64) {
        self.recent.trim(oldest, Instant::now());
        self.index.trim(oldest);
    }

    /// Looks for an answer; if there is none yet, the poll is among the watchers from this moment on.
    pub(super) fn lookup(&mut self, request: &FeedRequest, start: Start) -> Lookup {
        let to = self.recent.before();
        match start {
            Start::Unknown => return Lookup::Unknown,
            Start::Oldest => return Lookup::InLog { cursor: None, to },
            Start::Newest => {
                let complete_from = self.index.complete_from();
                let offsets = self.index.since(&request.pattern, complete_from, request.limit + 1);
                let is_all = request.pattern.is_topic() && !offsets.is_empty();
                let evicted_before = if is_all { 0 } else { complete_from };
                if !offsets.is_empty() || evicted_before > 0 {
                    return Lookup::Newest(NewestLookup { offsets, evicted_before, end: self.recent.end() });
                }
            }
            Start::Now => {}
            Start::After(cursor) => match self.recent.knows(cursor) {
                Some(true) => {
                    // One more than fits tells that there are more.
                    let (found, end) = self.after(request, cursor.next, request.limit + 1);
                    if !found.is_empty() {
                        return Lookup::Ready(FeedBatch::of(found, request.limit, request.latest_only, end));
                    }
                }
                Some(false) if self.recent.is_before(cursor) => {
                    let (ticket, answer) = self.watchers.watch(&TopicPattern::all(), 1, false);
                    return Lookup::BeyondEnd(cursor, ticket, answer);
                }
                Some(false) => return Lookup::Unknown,
                None => return Lookup::InLog { cursor: Some(cursor), to },
            },
        }
        let (ticket, answer) = self.watchers.watch(&request.pattern, request.limit, request.latest_only);
        Lookup::Watching(self.recent.end(), ticket, answer)
    }

    /// Returns what a poll wants after an offset of the recent events, and the place up to which that is all; at most `room` events.
    ///
    /// The index of newest events spares the recent events from being looked through for nothing, and for one event of each topic.
    pub(super) fn after(&self, request: &FeedRequest, offset: u64, room: usize) -> (Vec<Logged>, Cursor) {
        let FeedRequest { pattern, latest_only, .. } = request;
        let end = self.recent.end();
        if self.index.has_nothing_since(pattern, offset) {
            return (Vec::new(), end);
        }
        if *latest_only && offset >= self.index.complete_from() {
            let offsets = self.index.since(pattern, offset, room);
            return (offsets.into_iter().filter_map(|offset| self.recent.get(offset).cloned()).collect(), end);
        }
        let matcher = Matcher::new(pattern);
        let mut matching = self.recent.from(offset).filter(|logged| matcher.matches(&logged.event.topic));
        let found: Vec<Logged> =
            matching.by_ref().take(if *latest_only { MAX_FOLDED } else { room }).cloned().collect();
        // Of a part that is folded, later parts have newer events.
        let is_part = *latest_only && matching.next().is_some();
        let end = found.last().filter(|_| is_part).map_or(end, Cursor::after);
        (found, end)
    }
}
