//! The newest events of the log, in memory.

use std::{collections::VecDeque, time::Duration};

use broker::log::Logged;
use tokio::time::Instant;

use super::cursor::Mark;

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
    arrivals: VecDeque<Arrival>,
    /// All events from this offset on are here.
    before: u64,
    /// No event has this offset or a higher one.
    next: u64,
    /// There was never an event in this log, as far as is known.
    is_new: bool,
}

/// What is known of an event since it came.
#[derive(Debug)]
struct Arrival {
    at: Instant,
    /// As a place names the event. Each poll compares it, and to make it takes a walk through the whole payload.
    mark: Mark,
}

impl Arrival {
    fn of(logged: &Logged, at: Instant) -> Self {
        Self { at, mark: Mark::of(logged) }
    }
}

fn cost(logged: &Logged) -> usize {
    logged.event.memory()
}

impl RecentEvents {
    /// Makes an empty run at the end of a log.
    pub(super) fn new(limits: WindowLimits, next: u64) -> Self {
        Self { limits, bytes: 0, events: VecDeque::new(), arrivals: VecDeque::new(), before: next, next, is_new: true }
    }

    /// Adds the next event.
    pub(super) fn push(&mut self, logged: Logged, now: Instant) {
        self.next = logged.offset + 1;
        self.is_new = false;
        self.bytes += cost(&logged);
        self.arrivals.push_back(Arrival::of(&logged, now));
        self.events.push_back(logged);
        // The newest stays: its place is that of every client that has seen all.
        while self.events.len() > 1 && (self.bytes > self.limits.bytes || self.is_oldest_too_old(now)) {
            self.drop_oldest();
        }
    }

    /// Puts all events from an offset on before those that are here, as far as there is room; the newest of all in any
    /// case.
    pub(super) fn extend_back(&mut self, from: u64, events: Vec<Logged>, now: Instant) {
        for logged in events.into_iter().rev() {
            if self.bytes + cost(&logged) > self.limits.bytes && !self.is_empty() {
                return;
            }
            self.bytes += cost(&logged);
            self.before = logged.offset;
            self.is_new = false;
            self.arrivals.push_front(Arrival::of(&logged, now));
            self.events.push_front(logged);
        }
        self.before = from;
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
            self.before = oldest.offset + 1;
        }
    }

    fn is_oldest_too_old(&self, now: Instant) -> bool {
        self.arrivals.front().is_some_and(|arrival| now.duration_since(arrival.at) > self.limits.age)
    }

    /// Tells whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Returns for how many bytes more there is room.
    pub(super) const fn room(&self) -> usize {
        self.limits.bytes.saturating_sub(self.bytes)
    }

    /// Returns the offset of the oldest of them.
    pub(super) fn start(&self) -> u64 {
        self.events.front().map_or(self.next, |oldest| oldest.offset)
    }

    /// Returns the offset from which on everything is here.
    pub(super) const fn before(&self) -> u64 {
        self.before
    }

    /// Returns the offset at the end.
    pub(super) const fn end(&self) -> u64 {
        self.next
    }

    /// Tells whether there was never an event in this log. Then the end tells nothing but how much that is no event has
    /// been stored, by whatever gateway.
    pub(super) const fn is_new(&self) -> bool {
        self.is_new
    }

    /// Returns the events from an offset on.
    pub(super) fn from(&self, offset: u64) -> impl Iterator<Item = &Logged> {
        self.events.range(self.index_from(offset)..)
    }

    /// Returns them from the newest on.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Logged> {
        self.events.iter().rev()
    }

    /// Returns the event at an offset.
    pub(super) fn get(&self, offset: u64) -> Option<&Logged> {
        self.marked(offset).map(|(logged, _)| logged)
    }

    /// Returns the event at an offset, and as a place names it.
    pub(super) fn marked(&self, offset: u64) -> Option<(&Logged, Mark)> {
        let index = self.index_from(offset);
        let logged = self.events.get(index).filter(|logged| logged.offset == offset)?;
        Some((logged, self.arrivals.get(index)?.mark))
    }

    fn index_from(&self, offset: u64) -> usize {
        self.events.partition_point(|logged| logged.offset < offset)
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
            assert_eq!(kept.first(), Some(&recent.before()));
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
