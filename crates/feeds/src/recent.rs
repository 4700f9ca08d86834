//! The newest events of the log, in memory.

use std::{collections::VecDeque, time::Duration};

use broker::log::Logged;
use tokio::time::Instant;

use super::cursor::Cursor;

/// How many of the newest events are held. The newest event stays as long as the log keeps it.
#[derive(Debug, Clone, Copy)]
pub struct WindowLimits {
    /// By size, in bytes of memory.
    pub bytes: usize,
    /// By age.
    pub age: Duration,
}

/// A run of events up to the end of the log, within its limits.
#[derive(Debug)]
pub(super) struct RecentEvents {
    limits: WindowLimits,
    bytes: usize,
    events: VecDeque<Logged>,
    /// When each of them came.
    arrivals: VecDeque<Instant>,
    /// The place before the oldest of them.
    before: Cursor,
    /// No event has this offset or a higher one.
    next: u64,
}

fn cost(logged: &Logged) -> usize {
    logged.event.memory()
}

impl RecentEvents {
    /// Makes an empty run at the end of a log.
    pub(super) fn new(limits: WindowLimits, next: u64) -> Self {
        let before = Cursor { next, check: 0 };
        Self { limits, bytes: 0, events: VecDeque::new(), arrivals: VecDeque::new(), before, next }
    }

    /// Adds the next event.
    pub(super) fn push(&mut self, logged: Logged, now: Instant) {
        self.next = logged.offset + 1;
        self.bytes += cost(&logged);
        self.events.push_back(logged);
        self.arrivals.push_back(now);
        // The newest stays: its place is that of every client that has seen all.
        while self.events.len() > 1 && (self.bytes > self.limits.bytes || self.is_oldest_too_old(now)) {
            self.drop_oldest();
        }
    }

    /// Drops what the log does not keep any more, and what is too old; of that the newest stays.
    pub(super) fn trim(&mut self, oldest: u64, now: Instant) {
        while self.events.front().is_some_and(|event| event.offset < oldest)
            || (self.events.len() > 1 && self.is_oldest_too_old(now))
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        self.arrivals.pop_front();
        if let Some(oldest) = self.events.pop_front() {
            self.bytes -= cost(&oldest);
            self.before = Cursor::after(&oldest);
        }
    }

    fn is_oldest_too_old(&self, now: Instant) -> bool {
        self.arrivals.front().is_some_and(|arrival| now.duration_since(*arrival) > self.limits.age)
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
        self.events.back().map_or(self.before, Cursor::after)
    }

    /// Tells whether the end is before a place.
    pub(super) const fn is_before(&self, cursor: Cursor) -> bool {
        self.next < cursor.next
    }

    /// Tells whether a place is in this log; `None` if that cannot be told from here.
    pub(super) fn knows(&self, cursor: Cursor) -> Option<bool> {
        if cursor.has_no_event_before() && cursor.next >= self.before.next {
            // Its offset tells nothing but how much that is no event has been stored, by whatever gateway.
            let is_after_event = cursor.next == self.before.next && !self.before.has_no_event_before();
            return Some(!is_after_event && self.events.front().is_none_or(|oldest| oldest.offset >= cursor.next));
        }
        if self.is_before(cursor) {
            return Some(false);
        }
        if self.before == cursor {
            return Some(true);
        }
        let offset = cursor.next.checked_sub(1).filter(|offset| *offset >= self.start())?;
        Some(self.from(offset).next().is_some_and(|logged| cursor.is_after(logged)))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use events::Event;

    use super::*;

    #[test]
    fn it_keeps_what_is_neither_too_much_nor_too_old_and_the_newest_in_any_case() {
        let event = |bytes| Arc::new(Event::new("a".parse().unwrap(), None, vec![0; bytes]));
        let limits = WindowLimits { bytes: 3 * event(10).memory(), age: Duration::from_mins(1) };
        let (start, mut recent) = (Instant::now(), RecentEvents::new(limits, 0));
        let mut push = |offset, bytes, at| {
            let event = event(bytes);
            recent.push(Logged { offset, event }, start + Duration::from_secs(at));
            let kept: Vec<u64> = recent.from(0).map(|logged| logged.offset).collect();
            assert_eq!(recent.knows(recent.before()), Some(true));
            kept
        };
        for offset in 0..3 {
            push(offset, 10, offset);
        }
        assert_eq!(push(3, 10, 3), [1, 2, 3], "too much");
        assert_eq!(push(4, 0, 62), [2, 3, 4], "1 is 61 s old");
        assert_eq!(push(5, 10_000, 63), [5], "too large for it, but the newest");
        assert_eq!(push(6, 10, 200), [6]);
    }
}
