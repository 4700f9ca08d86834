//! What is known of the log in memory, and what that says to a poll.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker::log::Logged;
use events::{Matcher, TopicPattern};
use tokio::{sync::oneshot, time::Instant};

use super::{
    batch::FeedBatch,
    cursor::{Cursor, Start},
    recent::RecentEvents,
    request::FeedRequest,
    topic_index::{MAX_COMPARED, TopicIndex},
    watchers::{Ticket, Watchers},
};

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
    /// These are what the poll wants up to this place, and there is more to look at.
    Part(Vec<Logged>, Cursor),
    /// These are all that the poll wants up to this place; at least one.
    Ready(Vec<Logged>, Cursor),
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
    /// Where they are, from `evicted_before` on; `None`: the index has more topics than one look compares.
    pub(super) offsets: Option<Vec<u64>>,
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

    /// Forgets what the log does not keep any more. The recent events and the index forget it together: a place among
    /// events that the index knows less of would be moved past events that no client got.
    pub(super) fn trim(&mut self, oldest: u64) {
        self.recent.trim(oldest, Instant::now());
        self.index.trim(oldest);
    }

    /// Looks for an answer; if there is none yet, the poll is among the watchers from this moment on.
    /// So many events were found before.
    pub(super) fn lookup(&mut self, request: &FeedRequest, start: Start, found_before: usize) -> Lookup {
        let to = self.recent.before();
        match start {
            Start::Unknown => return Lookup::Unknown,
            Start::Oldest => return Lookup::InLog { cursor: None, to },
            Start::Newest => {
                let complete_from = self.index.complete_from();
                let offsets = self.index.since(&request.pattern, complete_from, request.limit + 1);
                let has_some = offsets.as_ref().is_none_or(|offsets| !offsets.is_empty());
                let is_all = request.pattern.is_topic() && has_some;
                let evicted_before = if is_all { 0 } else { complete_from };
                if has_some || evicted_before > 0 {
                    return Lookup::Newest(NewestLookup { offsets, evicted_before, end: self.recent.end() });
                }
            }
            Start::Now => {}
            Start::After(cursor) => match self.recent.knows(cursor) {
                Some(true) => {
                    let (found, end) = self.after(request, cursor.next, request.room_after(found_before));
                    if end != self.recent.end() {
                        return Lookup::Part(found, end);
                    }
                    if found_before + found.len() > 0 {
                        return Lookup::Ready(found, end);
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

    /// Returns what a poll wants after an offset of the recent events, at most `room` events, and the place up to which
    /// that is all: as far as one look goes.
    ///
    /// The index of newest events spares the recent events from being looked through for nothing, and for one event of
    /// each topic.
    pub(super) fn after(&self, request: &FeedRequest, offset: u64, room: usize) -> (Vec<Logged>, Cursor) {
        let FeedRequest { pattern, latest_only, .. } = request;
        let end = self.recent.end();
        if self.index.has_nothing_since(pattern, offset) {
            return (Vec::new(), end);
        }
        if *latest_only
            && offset >= self.index.complete_from()
            && let Some(offsets) = self.index.since(pattern, offset, room)
        {
            return (offsets.into_iter().filter_map(|offset| self.recent.get(offset).cloned()).collect(), end);
        }
        let matcher = Matcher::new(pattern);
        // Of a part that is folded, later parts have newer events.
        let room = if *latest_only { usize::MAX } else { room };
        let (mut found, mut last) = (Vec::new(), None);
        for logged in self.recent.from(offset).take(MAX_COMPARED) {
            if found.len() == room {
                break;
            }
            last = Some(logged);
            if matcher.matches(&logged.event.topic) {
                found.push(logged.clone());
            }
        }
        (found, last.map_or(end, Cursor::after))
    }
}
