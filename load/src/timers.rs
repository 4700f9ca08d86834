//! When which client wants to be woken.

use std::{cmp::Reverse, collections::BinaryHeap};

/// See the module. A client has at most one timer of each kind that counts: one that was set before has another generation.
#[derive(Debug, Default)]
pub(crate) struct Timers(BinaryHeap<Reverse<Timer>>);

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timer {
    /// When it is due.
    pub(crate) at: u64,
    /// Whose it is.
    pub(crate) client: u32,
    /// What for.
    pub(crate) kind: Kind,
    /// Which of that client and kind.
    pub(crate) generation: u32,
}

/// What a client is woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// To poll again.
    Poll,
    /// To go away.
    Leave,
}

impl Timers {
    /// Adds one.
    pub(crate) fn add(&mut self, timer: Timer) {
        self.0.push(Reverse(timer));
    }

    /// Returns when the first is due.
    pub(crate) fn next(&self) -> Option<u64> {
        self.0.peek().map(|Reverse(timer)| timer.at)
    }

    /// Takes the first that is due.
    pub(crate) fn take_due(&mut self, now: u64) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(timer)| timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_due_in_order() {
        let mut timers = Timers::default();
        for at in [30, 10, 20] {
            timers.add(Timer { at, client: 1, kind: Kind::Poll, generation: 0 });
        }
        assert_eq!(timers.next(), Some(10));
        let mut due = Vec::new();
        while let Some(timer) = timers.take_due(20) {
            due.push(timer.at);
        }
        assert_eq!((due, timers.next()), (vec![10, 20], Some(30)));
    }
}
