//! What is known of the log in memory, and what that says to a poll.

use std::sync::Arc;

use events::Matcher;
use tokio::{sync::oneshot, time::Instant};

use super::{
    FeedRequest,
    batch::FeedBatch,
    cursor::{Cursor, Start},
    look_back::everything,
    newest::Newest,
    watchers::{Ticket, Watchers},
    window::Window,
};
use crate::broker::log::Logged;

/// How many events of the window are folded at once, where the index does not know the newest of each topic; so few in unit tests
/// that they come to the end of a part.
const MAX_FOLDED: usize = if cfg!(test) { 4 } else { 4096 };

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    pub(super) window: Window,
    pub(super) newest: Newest,
    pub(super) watchers: Watchers,
}

/// What a look at the window came to.
pub(super) enum Look {
    Found(FeedBatch),
    Newest(NewestLook),
    /// The place is before the window; without one, the oldest event is. The window begins behind `to`.
    Older {
        cursor: Option<Cursor>,
        to: Cursor,
    },
    /// The place is none of this log.
    Elsewhere,
    /// The place is beyond the end; the poll is among those who wait for anything.
    Ahead(Cursor, Ticket, oneshot::Receiver<Arc<FeedBatch>>),
    /// There is nothing yet; the poll is among the watchers.
    Wait(Cursor, Ticket, oneshot::Receiver<Arc<FeedBatch>>),
}

/// What is known of the newest events that a poll asks for.
pub(super) struct NewestLook {
    /// Where they are, from `forgotten_before` on.
    pub(super) offsets: Vec<u64>,
    /// Other topics may have theirs before this offset.
    pub(super) forgotten_before: u64,
    /// The place at the end.
    pub(super) end: Cursor,
}

impl State {
    /// Takes the next events, and tells the polls that wait for them.
    pub(super) fn append(&mut self, events: &[Logged]) {
        let now = Instant::now();
        for logged in events {
            self.newest.note(&logged.event.topic, logged.offset);
            self.window.push(logged.clone(), now);
        }
        self.watchers.tell(events, self.window.end());
    }

    /// Forgets what the log does not keep any more. The window and the index forget it together: a place in a window that the
    /// index knows less of would be moved past events that no client got.
    pub(super) fn trim(&mut self, oldest: u64) {
        self.window.trim(oldest, Instant::now());
        self.newest.trim(oldest);
    }

    /// Looks for an answer; if there is none yet, the poll is among the watchers from this moment on.
    pub(super) fn look(&mut self, request: &FeedRequest, start: Start) -> Look {
        let to = self.window.before();
        match start {
            Start::Elsewhere => return Look::Elsewhere,
            Start::Oldest => return Look::Older { cursor: None, to },
            Start::Newest => {
                let complete_from = self.newest.complete_from();
                let offsets = self.newest.since(&request.pattern, complete_from, request.limit + 1);
                let is_all = request.pattern.is_topic() && !offsets.is_empty();
                let forgotten_before = if is_all { 0 } else { complete_from };
                if !offsets.is_empty() || forgotten_before > 0 {
                    return Look::Newest(NewestLook { offsets, forgotten_before, end: self.window.end() });
                }
            }
            Start::Now => {}
            Start::Behind(cursor) => match self.window.knows(cursor) {
                Some(true) => {
                    // One more than fits tells that there are more.
                    let (found, end) = self.after(request, cursor.next, request.limit + 1);
                    if !found.is_empty() {
                        return Look::Found(FeedBatch::of(found, request.limit, request.latest_only, end));
                    }
                }
                Some(false) if self.window.is_before(cursor) => {
                    let (ticket, answer) = self.watchers.watch(&everything(), 1, false);
                    return Look::Ahead(cursor, ticket, answer);
                }
                Some(false) => return Look::Elsewhere,
                None => return Look::Older { cursor: Some(cursor), to },
            },
        }
        let (ticket, answer) = self.watchers.watch(&request.pattern, request.limit, request.latest_only);
        Look::Wait(self.window.end(), ticket, answer)
    }

    /// Returns what a poll wants after an offset of the window, and the place up to which that is all; at most `room` events.
    ///
    /// The index of newest events spares the window from being looked through for nothing, and for one event of each topic.
    pub(super) fn after(&self, request: &FeedRequest, offset: u64, room: usize) -> (Vec<Logged>, Cursor) {
        let FeedRequest { pattern, latest_only, .. } = request;
        let end = self.window.end();
        if self.newest.is_quiet_since(pattern, offset) {
            return (Vec::new(), end);
        }
        if *latest_only && offset >= self.newest.complete_from() {
            let offsets = self.newest.since(pattern, offset, room);
            return (offsets.into_iter().filter_map(|offset| self.window.get(offset).cloned()).collect(), end);
        }
        let matcher = Matcher::new(pattern);
        let mut matching = self.window.from(offset).filter(|logged| matcher.matches(&logged.event.topic));
        let found: Vec<Logged> =
            matching.by_ref().take(if *latest_only { MAX_FOLDED } else { room }).cloned().collect();
        // Of a part that is folded, later parts have newer events.
        let is_part = *latest_only && matching.next().is_some();
        let end = found.last().filter(|_| is_part).map_or(end, Cursor::behind);
        (found, end)
    }
}
