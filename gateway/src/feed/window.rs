//! The newest events of the log, in memory.

use std::collections::VecDeque;

use crate::broker::log::Logged;

use super::cursor::Cursor;

/// A run of events up to the end of the log, within a limit of payload bytes.
#[derive(Debug)]
pub(super) struct Window {
    limit: usize,
    bytes: usize,
    events: VecDeque<Logged>,
    /// The place before the oldest of them.
    before: Cursor,
    /// No event has this offset or a higher one.
    next: u64,
}

/// What an event takes besides its payload, in bytes, about.
const AROUND_PAYLOAD: usize = 256;

fn cost(logged: &Logged) -> usize {
    logged.event.payload.len() + AROUND_PAYLOAD
}

impl Window {
    /// Makes an empty window at the end of a log.
    pub(super) fn new(limit: usize, next: u64) -> Self {
        let before = Cursor { next, check: 0 };
        Self { limit, bytes: 0, events: VecDeque::new(), before, next }
    }

    /// Adds the next event.
    pub(super) fn push(&mut self, logged: Logged) {
        self.next = logged.offset + 1;
        self.bytes += cost(&logged);
        self.events.push_back(logged);
        // The newest stays: its place is that of everybody who has seen all.
        while self.bytes > self.limit && self.events.len() > 1 {
            if let Some(oldest) = self.events.pop_front() {
                self.bytes -= cost(&oldest);
                self.before = Cursor::behind(&oldest);
            }
        }
    }

    /// Returns the offset from which on everything is here.
    fn start(&self) -> u64 {
        self.events.front().map_or(self.next, |oldest| oldest.offset)
    }

    /// Returns the place before the oldest of them.
    pub(super) const fn before(&self) -> Cursor {
        self.before
    }

    /// Returns the place at the end.
    pub(super) fn end(&self) -> Cursor {
        self.events.back().map_or(self.before, Cursor::behind)
    }

    /// Tells whether a place is in this log; `None` if that cannot be told from here.
    pub(super) fn knows(&self, cursor: Cursor) -> Option<bool> {
        if cursor.next > self.next {
            return Some(false);
        }
        if self.before == cursor {
            return Some(true);
        }
        let offset = cursor.next.checked_sub(1).filter(|offset| *offset >= self.start())?;
        Some(self.from(offset).next().is_some_and(|logged| cursor.is_behind(logged)))
    }

    /// Returns the events from an offset on.
    pub(super) fn from(&self, offset: u64) -> impl Iterator<Item = &Logged> {
        self.events.range(self.events.partition_point(|logged| logged.offset < offset)..)
    }

    /// Returns the event at an offset.
    pub(super) fn get(&self, offset: u64) -> Option<&Logged> {
        self.from(offset).next().filter(|logged| logged.offset == offset)
    }
}
