//! The newest events, whole.

use std::{collections::VecDeque, sync::Arc};

use super::stored::Stored;

/// A run of events up to the newest one, within a limit of bytes of memory.
#[derive(Debug)]
pub(super) struct TailCache {
    limit: u64,
    bytes: u64,
    events: VecDeque<Arc<Stored>>,
}

fn cost(stored: &Stored) -> u64 {
    stored.event.memory() as u64
}

impl TailCache {
    pub(super) const fn new(limit: u64) -> Self {
        Self { limit, bytes: 0, events: VecDeque::new() }
    }

    /// Adds the newest event; drops what is too much, but never this one.
    pub(super) fn push(&mut self, stored: Arc<Stored>) {
        self.bytes += cost(&stored);
        self.events.push_back(stored);
        while self.bytes > self.limit && self.events.len() > 1 {
            self.pop();
        }
    }

    /// Drops everything before an offset.
    pub(super) fn trim(&mut self, offset: u64) {
        while self.events.front().is_some_and(|stored| stored.offset < offset) {
            self.pop();
        }
    }

    /// Returns the event at an offset.
    pub(super) fn get(&self, offset: u64) -> Option<&Arc<Stored>> {
        let first = self.events.front()?.offset;
        self.events.get(usize::try_from(offset.checked_sub(first)?).ok()?)
    }

    fn pop(&mut self) {
        if let Some(stored) = self.events.pop_front() {
            self.bytes -= cost(&stored);
        }
    }
}
