//! The unconfirmed Deliveries of one Lease, in order.
//!
//! A pure state machine: no clock, no broker. Its invariants, which the property tests hold it to:
//!
//! * A tag is returned for confirming only if it was handed out under this Lease and the client named it, or if nothing
//!   that it was shown was confirmed under this Lease yet and everything up to it is what the client saw under another
//!   one: the same run of events, all redelivered.
//! * Entries leave only by being confirmed, from the front.
//! * What is handed out is what the [`View`] of its reader shows of a run from the front, in the broker's order.
//!
//! An event that the view does not show is *withheld*: it takes its place, goes with the next confirm behind it, and is
//! there for a view that shows more until then. This needs two more rules:
//!
//! * A confirm never takes an event that its own view shows and that was withheld before, unless the token's check says
//!   that it stands for it. So rights that grow cost repeats, and no event.
//! * In a full window of which the view shows nothing, the older half is confirmed, or nothing else would ever come. The
//!   other half is still there for a view that shows more. Until the window is full, waiting costs the reader nothing.
//!
//! The check of a token is of what was shown alone, so it tells nothing of the rest.

use std::collections::VecDeque;

use broker::{Content, Delivery, limits::MAX_BATCH_BYTES};
use events::{Event, EventId, TopicPattern};
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
    /// Nothing that a reader saw was confirmed under this Lease yet, so the run that a token of another one stands for
    /// may be at the front.
    fresh: bool,
    /// The last entry that was confirmed under this Lease.
    confirmed: Option<Place>,
    /// The same of the Lease before, if it is known.
    confirmed_before: Option<Place>,
    /// How many events were confirmed without having been shown.
    withheld: u64,
}

#[derive(Debug)]
struct Entry {
    delivery: Delivery,
    arrived: Instant,
    handed_out: u32,
    /// It is an event that was left out of what was handed out.
    was_withheld: bool,
}

/// What a poll may be shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    /// The topics of events; `None` is all of them.
    pub(super) may_see: Option<&'a [TopicPattern]>,
    /// The client saw something of this mailbox or an older one, so a creation is news to it.
    pub(super) has_seen: bool,
}

impl View<'_> {
    fn shows(self, entry: &Entry) -> bool {
        match (&entry.delivery.content, self.may_see) {
            (Content::Event(event), Some(may_see)) => may_see.iter().any(|pattern| pattern.matches(&event.topic)),
            (Content::Created(_), _) => self.has_seen,
            // A marker of a loss always tells something.
            (Content::Event(_), None) | (Content::Lost(_), _) => true,
        }
    }

    /// Continues the check of the run before it, as the reader sees that.
    fn check(self, before: u32, entry: &Entry) -> u32 {
        if self.shows(entry) { entry.check(before) } else { before }
    }
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
            confirmed: None,
            confirmed_before: None,
            withheld: 0,
        }
    }

    /// Takes note of what was confirmed under the Lease before, if that is known.
    pub(super) fn after(self, confirmed: Option<Place>) -> Self {
        Self { confirmed_before: confirmed, ..self }
    }

    /// Returns the last place that was confirmed under this Lease.
    pub(super) const fn confirmed(&self) -> Option<Place> {
        self.confirmed
    }

    /// Returns the number of the Lease.
    pub(super) const fn lease(&self) -> u64 {
        self.lease
    }

    /// Takes the next message.
    pub(super) fn deliver(&mut self, delivery: Delivery, now: Instant) {
        self.head = if delivery.redelivered { self.head.saturating_sub(1) } else { 0 };
        self.backlog = self.backlog.saturating_sub(1);
        self.entries.push_back(Entry { delivery, arrived: now, handed_out: 0, was_withheld: false });
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
    /// what stands before it was not seen. Nor does an event that the view does not show: whether it is there is no
    /// business of the client's. And what was confirmed under the Lease before is not looked for: a publisher may send
    /// equal messages under one id, and the one that stands at the head now was not seen.
    pub(super) fn confirm(&mut self, token: &LastSeen, view: View<'_>) -> Option<u64> {
        let seen = token.event.as_ref()?;
        let place = token.place.filter(|place| place.lease == self.lease);
        let last = match place {
            Some(place) => self
                .entries
                .iter()
                .position(|entry| entry.delivery.tag == place.tag && entry.handed_out > 0 && *entry.id() == seen.id)
                .filter(|last| view.shows(&self.entries[*last]) && self.was_shown(*last, seen.check, view)),
            None if self.fresh && !token.place.is_some_and(|place| self.was_confirmed_before(place)) => {
                let mut check = 0;
                self.entries.iter().take_while(|entry| entry.delivery.redelivered).position(|entry| {
                    check = view.check(check, entry);
                    *entry.id() == seen.id && Some(check) == seen.check && view.shows(entry)
                })
            }
            None => None,
        }?;
        self.fresh = false;
        self.remove(last, view)
    }

    fn was_confirmed_before(&self, place: Place) -> bool {
        self.confirmed_before.is_some_and(|confirmed| confirmed.includes(place))
    }

    /// Tells whether the place that a token names is confirmed.
    pub(super) fn has_confirmed(&self, token: &LastSeen) -> bool {
        self.confirmed.zip(token.place).is_some_and(|(confirmed, place)| confirmed.includes(place))
    }

    /// Confirms up to and including the place that a token names, if it was handed out under this Lease, for a reader of
    /// whom nothing else is known; returns the tag to confirm to the broker.
    ///
    /// Where something was withheld before that place, it depends on the reader's rights whether the token stands for
    /// it: then nothing is confirmed, and the next holder of the mailbox, which knows the rights, looks for the run.
    pub(super) fn confirm_place(&mut self, token: &LastSeen) -> Option<u64> {
        let (seen, place) = (token.event.as_ref()?, token.place.filter(|place| place.lease == self.lease)?);
        let is_it = |entry: &Entry| entry.delivery.tag == place.tag && entry.handed_out > 0 && *entry.id() == seen.id;
        let last = self.entries.iter().position(is_it)?;
        if self.entries.iter().take(last + 1).any(|entry| entry.was_withheld) {
            return None;
        }
        self.entries.drain(..=last);
        Some(self.note_confirmed(place.tag))
    }

    fn note_confirmed(&mut self, tag: u64) -> u64 {
        self.confirmed = Some(Place { lease: self.lease, tag });
        tag
    }

    /// Tells whether a token with this check stands for all that the view shows up to an entry. There is a doubt only
    /// if some of that was withheld before.
    fn was_shown(&self, last: usize, check: Option<u32>, view: View<'_>) -> bool {
        let run = || self.entries.iter().take(last + 1);
        let is_doubtful = run().any(|entry| entry.was_withheld && view.shows(entry));
        !is_doubtful || check == Some(run().fold(0, |check, entry| view.check(check, entry)))
    }

    /// Takes the entries out up to this one, and returns its tag.
    fn remove(&mut self, last: usize, view: View<'_>) -> Option<u64> {
        let tag = self.entries.get(last)?.delivery.tag;
        let removed = self.entries.drain(..=last);
        let withheld = removed.filter(|entry| entry.event().is_some() && entry.handed_out == 0 && !view.shows(entry));
        self.withheld += withheld.count() as u64;
        Some(self.note_confirmed(tag))
    }

    /// Confirms the older half of a full window of which the view shows nothing; returns the tag.
    pub(super) fn make_room(&mut self, view: View<'_>) -> Option<u64> {
        if !self.is_full() || self.entries.iter().any(|entry| view.shows(entry)) {
            return None;
        }
        self.remove((self.entries.len() - 1) / 2, view)
    }

    /// Drops a marker of a creation that stands first, if the view does not show it; returns its tag.
    pub(super) fn skip_marker(&mut self, view: View<'_>) -> Option<u64> {
        let tells_nothing = |entry: &mut Entry| entry.event().is_none() && !view.shows(entry);
        let marker = self.entries.pop_front_if(tells_nothing)?;
        Some(self.note_confirmed(marker.delivery.tag))
    }

    /// Hands out the run of at most `limit` events from the front, or from after a tag, or a marker alone, as far as the
    /// view shows it; `None` if that is nothing.
    pub(super) fn hand_out(&mut self, limit: usize, after: Option<u64>, view: View<'_>) -> Option<Batch> {
        let mut events = Vec::new();
        let (mut bytes, mut check, mut last) = (0, 0, None);
        for entry in &mut self.entries {
            if !view.shows(entry) {
                entry.was_withheld |= entry.event().is_some();
                continue;
            }
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

    /// Returns how often the oldest entry that the view shows was handed out; 0 for none.
    pub(super) fn front_handed_out(&self, view: View<'_>) -> u32 {
        self.entries.iter().find(|entry| view.shows(entry)).map_or(0, |entry| entry.handed_out)
    }

    /// Returns how many events were confirmed without having been shown since the last time that this was asked.
    pub(super) const fn take_withheld(&mut self) -> u64 {
        std::mem::replace(&mut self.withheld, 0)
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

    /// Returns how many bytes the entries take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.entries.iter().map(Entry::bytes).sum()
    }
}

#[cfg(test)]
mod tests;
