//! What is known of the log in memory, and what that says to a poll.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker::log::Logged;
use events::{Matcher, Selection};
use tokio::{sync::oneshot, time::Instant};

use super::{
    batch::FeedBatch,
    cursor::{Cursor, Mark, Seen, Start},
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
    /// The index is still being filled with topics that have been quiet for long.
    pub(super) fills_index: bool,
    /// The id of the log.
    log: u32,
    /// Nothing before this offset is kept any more, as far as is known.
    oldest: u64,
    /// Tells this state from the one after it, which may be of another log.
    epoch: Ticket,
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
    /// These are what the poll wants up to this offset, and there is more to look at.
    Part(Vec<Logged>, u64),
    /// These are all that the poll wants up to this offset; at least one.
    Ready(Vec<Logged>, u64),
    Newest(NewestLookup),
    /// The place is before the recent events; without one, the oldest event is. The recent events begin after `to`.
    InLog {
        cursor: Option<Cursor>,
        to: RecentFrom,
    },
    /// The place is none of this log.
    Unknown,
    /// The place is beyond the end; the poll is among those who wait for anything.
    BeyondEnd(Cursor, Ticket, oneshot::Receiver<Arc<FeedBatch>>),
    /// There is nothing yet; the poll is among the watchers.
    Watching(Cursor, Ticket, oneshot::Receiver<Arc<FeedBatch>>),
}

/// Where the recent events begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecentFrom {
    pub(super) offset: u64,
    epoch: Ticket,
}

/// Whether a place is of this log.
enum Known {
    Yes,
    No,
    /// It is beyond the end.
    NotYet,
    /// It is before the recent events.
    AskLog,
}

/// What is known of the newest events that a poll asks for.
pub(super) struct NewestLookup {
    /// Where they are, from `evicted_before` on; `None`: the index has more topics than one look compares.
    pub(super) offsets: Option<Vec<u64>>,
    /// Other topics may have theirs before this offset.
    pub(super) evicted_before: u64,
    /// The end.
    pub(super) end: u64,
}

impl State {
    /// Makes the state of a log with this id.
    pub(super) fn new(recent: RecentEvents, index: TopicIndex, log: u32) -> Self {
        let fills_index = index.complete_from() > 0;
        Self { recent, index, watchers: Watchers::default(), fills_index, log, oldest: 0, epoch: Ticket::new() }
    }

    /// Tells whether the recent events still are all from there on, and of the same log.
    pub(super) fn begins_with(&self, from: RecentFrom) -> bool {
        from.epoch == self.epoch && self.recent.before() <= from.offset
    }

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
        self.oldest = self.oldest.max(oldest);
    }

    /// Tells whether a place of a selection is of this log.
    ///
    /// What it is compared by is a selected event, or it is as good as none: a client must not find out by a
    /// place that it made up what else there is.
    fn knows(&self, selection: &Selection, place: Cursor, is_compared: bool) -> Known {
        let Cursor { next, seen } = place;
        if self.recent.end() < next {
            let is_of_new_log = self.recent.is_new() && seen == Seen::Nothing(self.log);
            return if is_of_new_log { Known::Yes } else { Known::NotYet };
        }
        let is_known = match seen {
            Seen::Nothing(log) => log == self.log,
            Seen::Event(mark) => match self.knows_mark(selection, mark, next) {
                _ if is_compared => true,
                Some(is_known) => is_known,
                None => return Known::AskLog,
            },
            Seen::LastOfAll(check) => match place.mark().filter(|mark| mark.offset >= self.recent.start()) {
                Some(mark) => match self.recent.marked(mark.offset) {
                    Some((logged, own)) => own == mark || !selection.matches(&logged.event.topic),
                    None => check == 0,
                },
                None if next == 0 => true,
                None => return Known::AskLog,
            },
        };
        match is_known {
            false => Known::No,
            true if next >= self.recent.before() => Known::Yes,
            true => Known::AskLog,
        }
    }

    /// Tells whether there was this selected event before a place, for all that can be told from here.
    ///
    /// To look into the log for each poll of a quiet topic would cost too much, so an event that is not recent passes
    /// if it is the newest of its topic, or if there can be a newer one after the place. Else a newer one is between
    /// them, which the client should have got: that one is damaged, or the place is of another log. The log knows.
    fn knows_mark(&self, selection: &Selection, mark: Mark, next: u64) -> Option<bool> {
        if mark.offset >= self.recent.start() {
            let own = self.recent.marked(mark.offset);
            return Some(own.is_some_and(|(logged, own)| own == mark && selection.matches(&logged.event.topic)));
        }
        let is_newest = self.index.topic_at(mark.offset).is_some_and(|topic| selection.matches(topic));
        let is_gone = mark.offset < self.oldest;
        let has_newer = || mark.offset < self.index.complete_from() || !self.index.has_nothing_since(selection, next);
        (is_newest || is_gone || has_newer()).then_some(true)
    }

    /// Returns the place at the end, for a selection of which nothing is to be told: with its last event, as far as that
    /// is known at once.
    fn now(&self, selection: &Selection) -> Cursor {
        let last = if selection.is_of_topics() {
            let newest = self.index.since(selection, 0, usize::MAX).unwrap_or_default();
            newest.last().and_then(|newest| self.recent.get(*newest))
        } else {
            let matcher = Matcher::of(selection);
            self.recent.newest_first().take(MAX_COMPARED).find(|logged| matcher.matches(&logged.event.topic))
        };
        let seen = last.map_or(Seen::Nothing(self.log), |last| Seen::Event(Mark::of(last)));
        Cursor { next: self.recent.end(), seen }
    }

    /// Returns the place at what was the end, for a selection of which nothing before that is to be told.
    pub(super) fn now_from(&self, selection: &Selection, end: u64) -> Cursor {
        if end == self.recent.end() { self.now(selection) } else { Cursor { next: end, seen: Seen::Nothing(self.log) } }
    }

    /// Looks for an answer; if there is none yet, the poll is among the watchers from this moment on.
    /// So many events were found before.
    /// `is_compared`: the log has the event that the place names.
    pub(super) fn lookup(
        &mut self,
        request: &FeedRequest,
        start: Start,
        found_before: usize,
        is_compared: bool,
    ) -> Lookup {
        let to = RecentFrom { offset: self.recent.before(), epoch: self.epoch };
        let mut place = start.moved_to(self.recent.end(), self.log);
        match start {
            Start::Unknown => return Lookup::Unknown,
            Start::Oldest => return Lookup::InLog { cursor: None, to },
            Start::Newest => {
                let complete_from = self.index.complete_from();
                let offsets = self.index.since(&request.selection, complete_from, request.limit + 1);
                let has_some = offsets.as_ref().is_none_or(|offsets| !offsets.is_empty());
                let topics = request.selection.is_of_topics().then(|| request.selection.patterns().len());
                let is_all = offsets.as_ref().is_some_and(|offsets| topics == Some(offsets.len()));
                let evicted_before = if is_all { 0 } else { complete_from };
                if has_some || evicted_before > 0 {
                    return Lookup::Newest(NewestLookup { offsets, evicted_before, end: self.recent.end() });
                }
            }
            Start::Now => place = self.now(&request.selection),
            Start::After(cursor) => match self.knows(&request.selection, cursor, is_compared) {
                Known::Yes => {
                    let (found, end) = self.after(request, cursor.next, request.room_after(found_before));
                    if end != self.recent.end() {
                        return Lookup::Part(found, end);
                    }
                    if found_before + found.len() > 0 {
                        return Lookup::Ready(found, end);
                    }
                }
                Known::NotYet => {
                    let (ticket, answer) = self.watchers.watch(&Selection::all(), 1, false);
                    return Lookup::BeyondEnd(cursor, ticket, answer);
                }
                Known::No => return Lookup::Unknown,
                Known::AskLog => return Lookup::InLog { cursor: Some(cursor), to },
            },
        }
        let (ticket, answer) = self.watchers.watch(&request.selection, request.limit, request.latest_only);
        Lookup::Watching(place, ticket, answer)
    }

    /// Returns what a poll wants after an offset of the recent events, at most `room` events, and the offset up to
    /// which that is all: as far as one look goes.
    ///
    /// The index of newest events spares the recent events from being looked through for nothing, and for one event of
    /// each topic.
    pub(super) fn after(&self, request: &FeedRequest, offset: u64, room: usize) -> (Vec<Logged>, u64) {
        let FeedRequest { selection, latest_only, .. } = request;
        let end = self.recent.end();
        if self.index.has_nothing_since(selection, offset) {
            return (Vec::new(), end);
        }
        if *latest_only
            && offset >= self.index.complete_from()
            && let Some(offsets) = self.index.since(selection, offset, room)
        {
            return (offsets.into_iter().filter_map(|offset| self.recent.get(offset).cloned()).collect(), end);
        }
        let matcher = Matcher::of(selection);
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
        (found, last.map_or(end, |last| last.offset + 1))
    }
}
