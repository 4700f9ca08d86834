//! What the writer hands to an open Lease as it is stored.
//!
//! A Lease is either *live*: everything new in its mailbox is pushed to it; or *behind*: it reads the log, and becomes live
//! where the log ends. One that takes too little falls behind again, so that a slow reader holds no events in memory.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use super::{log::Stored, place::Place};
use crate::broker::LeaseEnded;

/// How many events may wait for a Lease to take them; more, and it reads the log.
const MOST_EVENTS: usize = 64;

/// How many payload bytes may.
const MOST_BYTES: usize = 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Inbox {
    state: Mutex<State>,
    /// Something changed that the Lease may wait for. Only one task does.
    changed: Notify,
    /// Everything before this place was handed over, or was not in the mailbox.
    handed_over: AtomicU64,
}

#[derive(Debug)]
enum State {
    Behind,
    /// What waits to be taken, and the offset of what was pushed last, which may be taken already.
    Live(VecDeque<Arc<Stored>>, Option<u64>),
    Ended(LeaseEnded),
}

/// What a Lease finds in its inbox.
#[derive(Debug)]
pub(super) enum Taken {
    /// The next event.
    Event(Arc<Stored>),
    /// It is to be read from the log.
    Behind,
    /// There is nothing new.
    Nothing,
    /// The Lease has ended.
    Ended(LeaseEnded),
}

impl Inbox {
    pub(super) const fn new(handed_over: Place) -> Self {
        let handed_over = AtomicU64::new(handed_over.number());
        Self { state: Mutex::new(State::Behind), changed: Notify::const_new(), handed_over }
    }

    /// Adds an event behind all others; one that was added already, because two patterns select it, is not added again.
    pub(super) fn push(&self, stored: &Arc<Stored>) {
        let mut state = self.state();
        let State::Live(waiting, last) = &mut *state else { return };
        if last.replace(stored.offset) == Some(stored.offset) {
            return;
        }
        let bytes = || waiting.iter().map(|stored| stored.event.payload.len()).sum::<usize>();
        if waiting.len() >= MOST_EVENTS || (!waiting.is_empty() && bytes() + stored.event.payload.len() > MOST_BYTES) {
            *state = State::Behind;
        } else {
            waiting.push_back(Arc::clone(stored));
        }
        self.changed.notify_one();
    }

    /// From now on everything is pushed. To be called under the lock of the core, at the end of the log.
    pub(super) fn go_live(&self) {
        let mut state = self.state();
        if matches!(*state, State::Behind) {
            *state = State::Live(VecDeque::new(), None);
        }
    }

    /// Ends the Lease.
    pub(super) fn end(&self, why: LeaseEnded) {
        *self.state() = State::Ended(why);
        self.changed.notify_one();
    }

    pub(super) fn take(&self) -> Taken {
        match &mut *self.state() {
            State::Behind => Taken::Behind,
            State::Live(waiting, _) => waiting.pop_front().map_or(Taken::Nothing, Taken::Event),
            State::Ended(why) => Taken::Ended(*why),
        }
    }

    /// Tells whether the Lease has to read the log, without taking anything.
    pub(super) fn is_behind(&self) -> bool {
        matches!(*self.state(), State::Behind)
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

    /// Returns up to which place everything was handed over.
    pub(super) fn handed_over(&self) -> Place {
        Place::from_number(self.handed_over.load(Ordering::Relaxed))
    }

    /// Takes note that everything up to and including a place was handed over.
    pub(super) fn hand_over(&self, place: Place) {
        self.handed_over.store(place.next().number(), Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
