//! What the writer hands to an open Lease as it is stored.
//!
//! A Lease is either *live*: everything new in its mailbox is pushed to it; or *lagging*: it reads the log, and becomes
//! live where the log ends. One that takes too little lags again, so that a slow reader holds no events in memory.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use broker::LeaseEnded;
use tokio::sync::Notify;

use super::{log::Stored, position::Position};

/// How many events may wait for a Lease to take them; more, and it reads the log.
const MAX_EVENTS: usize = 64;

/// How many payload bytes may.
const MAX_BYTES: usize = 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct LiveQueue {
    state: Mutex<State>,
    /// Something changed that the Lease may wait for. Only one task does.
    changed: Notify,
    /// Everything before this position was handed over, or was not in the mailbox.
    handed_over: AtomicU64,
}

#[derive(Debug)]
enum State {
    /// There is nothing for it before this offset but what it has.
    Lagging(u64),
    Live(Live),
    Ended(LeaseEnded),
}

#[derive(Debug)]
struct Live {
    waiting: VecDeque<Arc<Stored>>,
    /// The offset of what was pushed last, which may be taken already.
    last: Option<u64>,
    /// How many messages the Lease has that are not confirmed.
    held: usize,
}

/// What a Lease finds in its live queue.
#[derive(Debug)]
pub(super) enum Taken {
    /// The next event.
    Event(Arc<Stored>),
    /// It is to be read from the log, from this offset on, or from where the Lease has come to.
    Lagging(u64),
    /// There is nothing new.
    Nothing,
    /// The Lease has ended.
    Ended(LeaseEnded),
}

impl LiveQueue {
    pub(super) const fn new(handed_over: Position) -> Self {
        let handed_over = AtomicU64::new(handed_over.number());
        Self { state: Mutex::new(State::Lagging(0)), changed: Notify::const_new(), handed_over }
    }

    /// Adds an event after all others; one that was added already, because two patterns select it, is not added again.
    pub(super) fn push(&self, stored: &Arc<Stored>) {
        let mut state = self.state();
        let State::Live(live) = &mut *state else { return };
        if live.last.replace(stored.offset) == Some(stored.offset) {
            return;
        }
        let waiting = &mut live.waiting;
        let bytes = || waiting.iter().map(|stored| stored.event.payload.len()).sum::<usize>();
        match waiting.front() {
            Some(first) if waiting.len() >= MAX_EVENTS || bytes() + stored.event.payload.len() > MAX_BYTES => {
                *state = State::Lagging(first.offset);
            }
            _ => waiting.push_back(Arc::clone(stored)),
        }
        self.changed.notify_one();
    }

    /// From now on everything is pushed to the Lease, which has so many unconfirmed messages. To be called under the
    /// lock of the state, at the end of the log.
    pub(super) fn go_live(&self, held: usize) {
        let mut state = self.state();
        if matches!(*state, State::Lagging(_)) {
            *state = State::Live(Live { waiting: VecDeque::new(), last: None, held });
        }
    }

    /// Takes note that the Lease has so many unconfirmed messages less.
    pub(super) fn confirmed(&self, count: usize) {
        if let State::Live(live) = &mut *self.state() {
            live.held = live.held.saturating_sub(count);
        }
    }

    /// Tells whether everything in the mailbox is confirmed. To be called under the lock of the state.
    pub(super) fn is_idle(&self) -> bool {
        matches!(&*self.state(), State::Live(live) if live.waiting.is_empty() && live.held == 0)
    }

    /// Returns whether the Lease has taken every message of the mailbox; it may still hold messages that it read ahead.
    pub(super) fn is_drained(&self) -> bool {
        matches!(&*self.state(), State::Live(live) if live.waiting.is_empty())
    }

    /// Ends the Lease.
    pub(super) fn end(&self, why: LeaseEnded) {
        *self.state() = State::Ended(why);
        self.changed.notify_one();
    }

    pub(super) fn take(&self) -> Taken {
        match &mut *self.state() {
            State::Lagging(from) => Taken::Lagging(*from),
            State::Live(live) => match live.waiting.pop_front() {
                Some(stored) => {
                    live.held += 1;
                    Taken::Event(stored)
                }
                None => Taken::Nothing,
            },
            State::Ended(why) => Taken::Ended(*why),
        }
    }

    /// Returns from where the Lease has to read the log, if it has to, without taking anything.
    pub(super) fn lagging_from(&self) -> Option<u64> {
        match *self.state() {
            State::Lagging(from) => Some(from),
            _ => None,
        }
    }

    /// Tells whether, and why, the Lease has ended.
    pub(super) fn ended(&self) -> Option<LeaseEnded> {
        match *self.state() {
            State::Ended(why) => Some(why),
            _ => None,
        }
    }

    /// Waits until something may have changed. Cancel-safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns up to which position everything was handed over.
    pub(super) fn handed_over(&self) -> Position {
        Position::from_number(self.handed_over.load(Ordering::Relaxed))
    }

    /// Takes note that everything up to and including a position was handed over.
    pub(super) fn hand_over(&self, position: Position) {
        self.handed_over.store(position.next().number(), Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
