//! The events that were taken from the input and are not confirmed yet, and what is to be done with each.
//!
//! Pure decisions: no clock, no runtime, no broker. The sender feeds it what happened and does what it says.
//!
//! Invariants: at most `capacity` events and, past the first, [`MAX_BYTES`] of payload are in here. Events are first
//! sent in the order in which they were pushed, and whatever has to be sent again goes out in that order too, before
//! anything newer. An event that was sent before says so (`resent`). Each event leaves exactly once: confirmed, or
//! handed back by the method that gave it up.

use std::{collections::VecDeque, mem};

use events::Event;

use crate::source::Outgoing;

/// The most payload bytes in here; the newest event may exceed it: 64 MiB.
const MAX_BYTES: usize = 64 << 20;

/// How often a queue may reject one event. Each try leaves a repeat in the queues that did take it.
const MAX_REJECTIONS: u32 = 5;

/// An event and what happened to it so far.
#[derive(Debug)]
struct Entry {
    outgoing: Outgoing,
    number: u64,
    sends: u32,
    rejections: u32,
}

/// An event that is given up.
#[derive(Debug)]
pub(crate) struct GivenUp {
    pub(crate) outgoing: Outgoing,
    /// It was on its way at least once, so it may be stored all the same.
    pub(crate) was_sent: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox {
    capacity: usize,
    /// To be sent, oldest first.
    waiting: VecDeque<Entry>,
    /// Sent on the present channel, oldest first; the broker's answers come in this order.
    in_flight: VecDeque<Entry>,
    /// Rejected by a full queue, to be sent again after a pause.
    held: Vec<Entry>,
    /// How many of the oldest are sent one at a time, because one of them made the broker close the channel.
    suspects: usize,
    bytes: usize,
    pushed: u64,
    resent: u64,
}

impl Outbox {
    /// Makes an empty outbox for at most `capacity` events (at least 1).
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            held: Vec::new(),
            suspects: 0,
            bytes: 0,
            pushed: 0,
            resent: 0,
        }
    }

    /// Tells whether another event may be taken from the input.
    pub(crate) fn has_room(&self) -> bool {
        self.len() < self.capacity && self.bytes < MAX_BYTES
    }

    /// Returns how many events are in here.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.in_flight.len() + self.held.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many different events were sent more than once.
    pub(crate) const fn resent(&self) -> u64 {
        self.resent
    }

    /// Takes a new event.
    pub(crate) fn push(&mut self, outgoing: Outgoing) {
        self.bytes += outgoing.event.payload.len();
        self.waiting.push_back(Entry { outgoing, number: self.pushed, sends: 0, rejections: 0 });
        self.pushed += 1;
    }

    /// Tells whether [`Self::send_next`] would return an event.
    pub(crate) fn may_send(&self) -> bool {
        let limit = if self.suspects > 0 { 1 } else { self.capacity };
        // While something rejected is held back nothing newer overtakes it.
        !self.waiting.is_empty() && self.held.is_empty() && self.in_flight.len() < limit
    }

    /// Returns the next event to send, which is in flight from here on: even a failed write may have reached the broker.
    pub(crate) fn send_next(&mut self) -> Option<Event> {
        if !self.may_send() {
            return None;
        }
        let mut entry = self.waiting.pop_front()?;
        entry.sends += 1;
        if entry.sends > 1 {
            entry.outgoing.event.resent = true;
        }
        self.resent += u64::from(entry.sends == 2);
        let event = entry.outgoing.event.clone();
        self.in_flight.push_back(entry);
        Some(event)
    }

    /// The broker has confirmed the oldest in flight.
    pub(crate) fn confirmed(&mut self) {
        let _ = self.settle_oldest();
    }

    /// A queue did not take the oldest in flight: holds it back, or gives it up after [`MAX_REJECTIONS`].
    pub(crate) fn rejected(&mut self) -> Option<GivenUp> {
        let oldest = self.in_flight.front_mut()?;
        oldest.rejections += 1;
        if oldest.rejections >= MAX_REJECTIONS {
            return self.settle_oldest();
        }
        self.held.extend(self.in_flight.pop_front());
        None
    }

    /// Tells whether everything in flight is answered and a pause is due before the rejected are sent again.
    pub(crate) fn must_pause(&self) -> bool {
        !self.held.is_empty() && self.in_flight.is_empty()
    }

    /// The pause is over: what was held back goes out again, before anything newer.
    pub(crate) fn resume(&mut self) {
        for entry in mem::take(&mut self.held).into_iter().rev() {
            self.waiting.push_front(entry);
        }
    }

    /// The oldest in flight cannot be written as a message at all.
    pub(crate) fn unwritable(&mut self) -> Option<GivenUp> {
        self.settle_oldest()
    }

    /// The broker closed the channel over an event without saying which.
    ///
    /// An event alone in flight is the one. Else all of them are sent again, one at a time, until it shows.
    pub(crate) fn refused(&mut self) -> Option<GivenUp> {
        if self.in_flight.len() == 1 {
            let guilty = self.settle_oldest();
            self.suspects = 0;
            return guilty;
        }
        self.suspects = self.in_flight.len() + self.held.len();
        self.lost();
        None
    }

    /// The channel is gone, and with it the answers: everything in flight has to be sent again.
    pub(crate) fn lost(&mut self) {
        let mut all: Vec<Entry> = self.held.drain(..).chain(self.in_flight.drain(..)).collect();
        all.extend(self.waiting.drain(..));
        all.sort_unstable_by_key(|entry| entry.number);
        self.waiting = all.into();
    }

    /// Gives up everything, oldest first.
    pub(crate) fn abandon(&mut self) -> Vec<GivenUp> {
        self.lost();
        let all = mem::take(&mut self.waiting);
        all.into_iter().map(|entry| self.release(entry)).collect()
    }

    fn settle_oldest(&mut self) -> Option<GivenUp> {
        let oldest = self.in_flight.pop_front()?;
        self.suspects = self.suspects.saturating_sub(1);
        Some(self.release(oldest))
    }

    fn release(&mut self, entry: Entry) -> GivenUp {
        self.bytes -= entry.outgoing.event.payload.len();
        GivenUp { outgoing: entry.outgoing, was_sent: entry.sends > 0 }
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
