//! The unconfirmed Deliveries of one Lease, in order.
//!
//! A pure state machine: no clock, no broker. Its invariants, which the property tests hold it to:
//!
//! * A tag is returned for confirming only if it was handed out under this Lease and the client named it, or if nothing
//!   was confirmed under this Lease yet and everything up to it is what the client saw under another one: the same run
//!   of events, all redelivered.
//! * Entries leave only by being confirmed, from the front.
//! * What is handed out is a run from the front, in the broker's order.

use std::collections::VecDeque;

use broker::{Content, Delivery, limits::MAX_BATCH_BYTES};
use events::{Event, EventId};
use tokio::time::Instant;

use super::{
    batch::{Batch, BatchEvent},
    last_seen::{LastSeen, Place},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Window {
    /// Tells this Lease's tokens from all others.
    lease: u64,
    capacity: usize,
    entries: VecDeque<Entry>,
    /// How many more messages belong to what waited when the Lease was opened; 0 once that head is complete.
    head: u32,
    /// How many more messages waited when the Lease was opened than have come since.
    backlog: u32,
    /// The window was full: the broker holds back what came after.
    was_full: bool,
    /// Nothing was confirmed under this Lease yet, so the run that a token of another one stands for may be at the
    /// front.
    fresh: bool,
}

#[derive(Debug)]
struct Entry {
    delivery: Delivery,
    arrived: Instant,
    handed_out: u32,
}

impl Entry {
    fn id(&self) -> &EventId {
        match &self.delivery.content {
            Content::Event(event) => &event.id,
            Content::Created(id) | Content::Lost(id) => id,
        }
    }

    /// Continues the check of the run before it.
    fn check(&self, before: u32) -> u32 {
        self.event().map_or(before, |event| event.check(before))
    }

    const fn event(&self) -> Option<&Event> {
        match &self.delivery.content {
            Content::Event(event) => Some(event),
            Content::Created(_) | Content::Lost(_) => None,
        }
    }

    fn bytes(&self) -> usize {
        self.event().map_or(0, Event::memory)
    }
}

impl Window {
    /// Makes the window of a Lease whose mailbox held `backlog` messages when it was opened.
    pub(super) fn new(lease: u64, capacity: u16, backlog: u32) -> Self {
        Self {
            lease,
            capacity: usize::from(capacity),
            entries: VecDeque::new(),
            head: backlog,
            backlog,
            // A broker need not count further than it hands over.
            was_full: backlog >= u32::from(capacity),
            fresh: true,
        }
    }

    /// Takes the next message.
    pub(super) fn deliver(&mut self, delivery: Delivery, now: Instant) {
        self.head = if delivery.redelivered { self.head.saturating_sub(1) } else { 0 };
        self.backlog = self.backlog.saturating_sub(1);
        self.entries.push_back(Entry { delivery, arrived: now, handed_out: 0 });
        if self.entries.len() >= self.capacity {
            self.was_full = true;
            self.head = 0;
        }
    }

    /// Tells whether messages that waited when the Lease was opened may still be under way.
    pub(super) const fn awaits_head(&self) -> bool {
        self.head > 0
    }

    /// Gives up waiting for the head.
    pub(super) const fn settle(&mut self) {
        self.head = 0;
    }

    /// Confirms up to and including what the token names; returns the tag to confirm to the broker, if any.
    ///
    /// As long as nothing was confirmed under this Lease, the run that a token of another Lease stands for is looked
    /// for at the redelivered head, so the head must not be awaited any more. An equal event further back does not do:
    /// what stands before it was not seen.
    pub(super) fn confirm(&mut self, token: &LastSeen) -> Option<u64> {
        let seen = token.event.as_ref()?;
        let place = token.place.filter(|place| place.lease == self.lease);
        let last = match place {
            Some(place) => self
                .entries
                .iter()
                .position(|entry| entry.delivery.tag == place.tag && entry.handed_out > 0 && *entry.id() == seen.id),
            None if self.fresh => {
                let mut check = 0;
                self.entries.iter().take_while(|entry| entry.delivery.redelivered).position(|entry| {
                    check = entry.check(check);
                    *entry.id() == seen.id && Some(check) == seen.check
                })
            }
            None => None,
        }?;
        let tag = self.entries.get(last)?.delivery.tag;
        self.entries.drain(..=last);
        self.fresh = false;
        Some(tag)
    }

    /// Drops a marker of a creation that stands first, if its reader saw nothing of an older mailbox; returns its tag.
    /// A marker of a loss always tells something.
    pub(super) fn skip_marker(&mut self, seen_before: bool) -> Option<u64> {
        let tells_nothing = |entry: &mut Entry| !seen_before && matches!(entry.delivery.content, Content::Created(_));
        let marker = self.entries.pop_front_if(tells_nothing)?;
        Some(marker.delivery.tag)
    }

    /// Hands out the run of at most `limit` events from the front, or from after a tag, or a marker alone; `None` if
    /// there is nothing.
    pub(super) fn hand_out(&mut self, limit: usize, after: Option<u64>) -> Option<Batch> {
        let mut events = Vec::new();
        let (mut bytes, mut check, mut last) = (0, 0, None);
        for entry in &mut self.entries {
            if after.is_some_and(|after| entry.delivery.tag <= after) {
                check = entry.check(check);
                continue;
            }
            if let Some(event) = entry.event() {
                bytes += event.max_encoded_len();
                if events.len() == limit || (!events.is_empty() && bytes > MAX_BATCH_BYTES) {
                    break;
                }
                let redelivered = entry.delivery.redelivered || entry.handed_out > 0 || event.resent;
                let place = Place { lease: self.lease, tag: entry.delivery.tag };
                events.push(BatchEvent { event: event.clone(), redelivered, place, check: entry.check(check) });
            } else if !events.is_empty() {
                break;
            }
            check = entry.check(check);
            entry.handed_out = entry.handed_out.saturating_add(1);
            last = Some((entry.id().clone(), entry.delivery.tag));
            if entry.event().is_none() {
                break;
            }
        }
        let (id, tag) = last?;
        let reset = events.is_empty();
        Some(Batch { events, reset, last_seen: LastSeen::new(id, Place { lease: self.lease, tag }, check) })
    }

    /// Returns how often the oldest entry was handed out; 0 for none.
    pub(super) fn front_handed_out(&self) -> u32 {
        self.entries.front().map_or(0, |entry| entry.handed_out)
    }

    /// Returns when the oldest entry arrived.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.entries.front().map(|entry| entry.arrived)
    }

    /// Returns how many entries are unconfirmed.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether nothing more can come before something is confirmed.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.capacity
    }

    /// Tells whether more may be on its way, or come as soon as something is confirmed.
    pub(super) const fn expects_more(&self) -> bool {
        self.was_full || self.backlog > 0
    }

    /// Takes note that no message of before is left, neither in the head nor after it.
    pub(super) const fn expect_no_more(&mut self) {
        self.settle();
        (self.was_full, self.backlog) = (false, 0);
    }

    /// Tells whether nothing is unconfirmed.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns how many bytes the entries take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.entries.iter().map(Entry::bytes).sum()
    }
}

#[cfg(test)]
mod tests;
