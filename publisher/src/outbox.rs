//! The events that were taken from the input and are not confirmed yet, and what is to be done with each.
//!
//! Pure decisions: no clock, no runtime, no network. The sender feeds it what happened and does what it says.
//!
//! Invariants: at most so many events as the window is wide and, past the first, [`MAX_BYTES`] of payload are in here.
//! Events are first sent in the order in which they were pushed, and whatever has to be sent again goes out in that
//! order too, before anything newer; of all events, or where [`Concurrency`] says so of those of each topic. An event
//! that was sent before says so (`resent`). Each event leaves exactly once: confirmed, or handed back by the method
//! that gave it up.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    mem,
};

use events::{Event, Topic};

use crate::source::Outgoing;

/// The most payload bytes in here; the newest event may exceed it: 64 MiB.
const MAX_BYTES: usize = 64 << 20;

/// How many bytes of payload are sent in one go; the first event may exceed it: 512 KiB, which stays below the 1 MiB that a
/// gateway takes by default, also in base64.
const MAX_BATCH_BYTES: usize = 512 << 10;

/// How often a queue may reject one event. Each try leaves a repeat in the queues that did take it.
const MAX_REJECTIONS: u32 = 5;

/// Which events may be on their way at the same time, so that they are stored in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Concurrency {
    /// Any: what carries them keeps them in order.
    Free,
    /// Those of different topics, and so many at most: what carries them may swap them.
    Topics(usize),
    /// None: each is sent when the one before it is settled.
    Never,
    /// None, but up to so many are sent in one go. What comes meanwhile goes with the next one.
    Batches(usize),
}

/// Names an event in flight. Tickets grow in the order in which the events were pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// An event and what happened to it so far.
#[derive(Debug)]
struct Entry {
    outgoing: Outgoing,
    ticket: Ticket,
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
    window: usize,
    concurrency: Concurrency,
    /// To be sent, oldest first.
    waiting: VecDeque<Entry>,
    /// Sent and not answered yet.
    in_flight: BTreeMap<Ticket, Entry>,
    /// Not taken this time, to be sent again after a pause.
    held: Vec<Entry>,
    /// How many of the oldest are sent one at a time, because one of them made the broker close the channel.
    sending_singly: usize,
    bytes: usize,
    pushed: u64,
    /// Of those that have left.
    resent: u64,
}

impl Outbox {
    /// Makes an empty outbox for at most `window` events (at least 1); one that sends them one by one needs no more.
    pub(crate) fn new(window: usize, concurrency: Concurrency) -> Self {
        let window = if concurrency == Concurrency::Never { 1 } else { window.max(1) };
        Self {
            window,
            concurrency,
            waiting: VecDeque::new(),
            in_flight: BTreeMap::new(),
            held: Vec::new(),
            sending_singly: 0,
            bytes: 0,
            pushed: 0,
            resent: 0,
        }
    }

    /// Takes note that the place where events are sent keeps them in order in another way.
    pub(crate) const fn set_concurrency(&mut self, concurrency: Concurrency) {
        self.concurrency = concurrency;
    }

    /// Tells whether events are sent in batches.
    pub(crate) const fn sends_batches(&self) -> bool {
        matches!(self.concurrency, Concurrency::Batches(_))
    }

    /// Tells whether another event may be taken from the input.
    pub(crate) fn has_room(&self) -> bool {
        self.len() < self.window && self.bytes < MAX_BYTES
    }

    /// Returns how many events are in here.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.in_flight.len() + self.held.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many different events were sent more than once.
    pub(crate) fn resent(&self) -> u64 {
        let here = self.waiting.iter().chain(self.in_flight.values()).chain(&self.held);
        self.resent + here.map(|entry| u64::from(entry.sends > 1)).sum::<u64>()
    }

    /// Takes a new event.
    pub(crate) fn push(&mut self, outgoing: Outgoing) {
        self.bytes += outgoing.event.payload.len();
        self.waiting.push_back(Entry { outgoing, ticket: Ticket(self.pushed), sends: 0, rejections: 0 });
        self.pushed += 1;
    }

    /// Tells whether [`Self::send_next`] would return an event.
    pub(crate) fn may_send(&self) -> bool {
        self.next().is_some()
    }

    /// Returns the next event to send, which is in flight from here on: even a failed write may have arrived.
    pub(crate) fn send_next(&mut self) -> Option<(Ticket, Event)> {
        let place = self.next()?;
        self.send(place)
    }

    /// Sends the oldest of those that wait, unless something is held back.
    fn send_first(&mut self) -> Option<(Ticket, Event)> {
        if self.held.is_empty() { self.send(0) } else { None }
    }

    fn send(&mut self, place: usize) -> Option<(Ticket, Event)> {
        let mut entry = self.waiting.remove(place)?;
        entry.sends += 1;
        if entry.sends > 1 {
            entry.outgoing.event.resent = true;
        }
        let (ticket, event) = (entry.ticket, entry.outgoing.event.clone());
        self.in_flight.insert(ticket, entry);
        Some((ticket, event))
    }

    /// Returns the next events to send in one go, as [`Self::send_next`] does. All of them are repeats, or none: a batch says
    /// it of all. While half of the window is on its way, the other half is filled.
    pub(crate) fn send_batch(&mut self) -> Vec<(Ticket, Event)> {
        let Concurrency::Batches(most) = self.concurrency else { return self.send_next().into_iter().collect() };
        let most = most.min(self.window.div_ceil(2));
        let (mut batch, mut bytes) = (Vec::new(), 0);
        if !self.in_flight.is_empty() {
            return batch;
        }
        let are_repeats = self.waiting.front().is_some_and(|entry| entry.sends > 0);
        while batch.len() < most
            && let Some(entry) = self.waiting.front().filter(|entry| (entry.sends > 0) == are_repeats)
        {
            bytes += entry.outgoing.event.payload.len();
            if !batch.is_empty() && bytes > MAX_BATCH_BYTES {
                break;
            }
            let Some(next) = self.send_first() else { break };
            batch.push(next);
        }
        batch
    }

    /// Finds the place of the next event to send among those that wait.
    fn next(&self) -> Option<usize> {
        // While something is held back nothing newer overtakes it.
        if self.waiting.is_empty() || !self.held.is_empty() {
            return None;
        }
        match self.concurrency {
            _ if self.sending_singly > 0 => self.in_flight.is_empty().then_some(0),
            Concurrency::Free => Some(0),
            Concurrency::Never | Concurrency::Batches(_) => self.in_flight.is_empty().then_some(0),
            Concurrency::Topics(most) if self.in_flight.len() >= most => None,
            Concurrency::Topics(_) => {
                let busy: HashSet<_> = self.in_flight.values().map(Entry::topic).collect();
                // A topic that is free here is free for the oldest of its events, which comes first.
                self.waiting.iter().position(|entry| !busy.contains(entry.topic()))
            }
        }
    }

    /// An event is stored.
    pub(crate) fn confirmed(&mut self, ticket: Ticket) {
        let _ = self.settle(ticket);
    }

    /// A queue did not take an event: holds it back, or gives it up after [`MAX_REJECTIONS`].
    pub(crate) fn rejected(&mut self, ticket: Ticket) -> Option<GivenUp> {
        let entry = self.in_flight.get_mut(&ticket)?;
        entry.rejections += 1;
        if entry.rejections >= MAX_REJECTIONS {
            return self.settle(ticket);
        }
        self.postponed(ticket, true);
        None
    }

    /// No target could take an event just now: holds it back. One that was not even sent is no repeat the next time.
    pub(crate) fn postponed(&mut self, ticket: Ticket, was_sent: bool) {
        let Some(mut entry) = self.in_flight.remove(&ticket) else { return };
        entry.sends -= u32::from(!was_sent);
        self.held.push(entry);
    }

    /// An event was not looked at: it goes out again before anything newer, and is no repeat.
    pub(crate) fn not_tried(&mut self, ticket: Ticket) {
        let Some(mut entry) = self.in_flight.remove(&ticket) else { return };
        entry.sends -= 1;
        let place = self.waiting.partition_point(|waiting| waiting.ticket < ticket);
        self.waiting.insert(place, entry);
    }

    /// Tells whether everything in flight is answered and a pause is due before what is held back is sent again.
    pub(crate) fn must_pause(&self) -> bool {
        !self.held.is_empty() && self.in_flight.is_empty()
    }

    /// The pause is over: what was held back goes out again, before anything newer.
    pub(crate) fn resume(&mut self) {
        let mut all: Vec<Entry> = self.held.drain(..).chain(self.waiting.drain(..)).collect();
        all.sort_unstable_by_key(|entry| entry.ticket);
        self.waiting = all.into();
    }

    /// An event will never be taken: gives it up.
    pub(crate) fn refused(&mut self, ticket: Ticket) -> Option<GivenUp> {
        self.settle(ticket)
    }

    /// The broker closed the channel over an event without saying which.
    ///
    /// An event alone in flight is the one. Else all of them are sent again, one at a time, until it shows.
    pub(crate) fn refused_one(&mut self) -> Option<GivenUp> {
        if let (1, Some(&ticket)) = (self.in_flight.len(), self.in_flight.keys().next()) {
            let guilty = self.settle(ticket);
            self.sending_singly = 0;
            return guilty;
        }
        self.sending_singly = self.in_flight.len() + self.held.len();
        self.lost();
        None
    }

    /// The connection is gone, and with it the answers: everything in flight has to be sent again.
    pub(crate) fn lost(&mut self) {
        self.held.extend(mem::take(&mut self.in_flight).into_values());
        self.resume();
    }

    /// Takes out what was never sent, oldest first.
    pub(crate) fn take_unsent(&mut self) -> Vec<Outgoing> {
        let (sent, unsent) = mem::take(&mut self.waiting).into_iter().partition(|entry| entry.sends > 0);
        self.waiting = sent;
        let unsent: VecDeque<_> = unsent;
        unsent.into_iter().map(|entry| self.release(entry).outgoing).collect()
    }

    /// Gives up everything, oldest first.
    pub(crate) fn abandon(&mut self) -> Vec<GivenUp> {
        self.lost();
        let all = mem::take(&mut self.waiting);
        all.into_iter().map(|entry| self.release(entry)).collect()
    }

    fn settle(&mut self, ticket: Ticket) -> Option<GivenUp> {
        let entry = self.in_flight.remove(&ticket)?;
        self.sending_singly = self.sending_singly.saturating_sub(1);
        Some(self.release(entry))
    }

    fn release(&mut self, entry: Entry) -> GivenUp {
        self.bytes -= entry.outgoing.event.payload.len();
        self.resent += u64::from(entry.sends > 1);
        GivenUp { outgoing: entry.outgoing, was_sent: entry.sends > 0 }
    }
}

impl Entry {
    const fn topic(&self) -> &Topic {
        &self.outgoing.event.topic
    }
}

#[cfg(test)]
mod tests;
