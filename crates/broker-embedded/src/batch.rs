//! What is stored together.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use events::{ClientId, Event};

use super::{
    clock::Reading,
    log::Stored,
    mailbox::{Change, Mailbox},
    position::Position,
    repeats::Fingerprint,
};

/// A batch in the making: what it does, in order, and what that comes to.
#[derive(Debug)]
pub(super) struct Batch {
    effects: Vec<Effect>,
    staged: HashMap<ClientId, Staged>,
    fingerprints: HashSet<Fingerprint>,
    clock: Reading,
    first: u64,
    next: u64,
    bytes: usize,
    trim: Option<u64>,
    needs_sync: bool,
    signs_off: bool,
    notes_clock: bool,
}

/// What becomes of a mailbox.
#[derive(Debug)]
struct Staged {
    mailbox: Option<Mailbox>,
    /// Nothing of it has changed but the position up to which it is confirmed.
    is_confirm: bool,
}

/// What is written of a mailbox.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written<'a> {
    /// All of it, as it is in the end.
    Whole(&'a Mailbox),
    /// The position up to which it is confirmed: a mailbox can have hundreds of bindings, and is confirmed with every
    /// poll.
    Confirmed(Position),
    /// It is no more.
    Nothing,
}

/// What the state takes over when the batch is stored.
#[derive(Debug)]
pub(super) enum Effect {
    Append(Arc<Stored>),
    Change(Change),
    /// The client has seen everything up to and including this position, whether that could be written or not.
    Confirm(ClientId, Position),
    /// Everything before this offset goes.
    Trim(u64),
}

impl Batch {
    /// Makes an empty batch whose first event will stand at `next`; it is stored now.
    pub(super) fn new(next: u64, clock: Reading) -> Self {
        Self {
            effects: Vec::new(),
            staged: HashMap::new(),
            fingerprints: HashSet::new(),
            clock,
            first: next,
            next,
            bytes: 0,
            trim: None,
            needs_sync: false,
            signs_off: false,
            notes_clock: false,
        }
    }

    /// Makes a batch that says that the store is in use: until it is closed in order, a start has to doubt what it
    /// finds.
    pub(super) fn mark_in_use(next: u64, clock: Reading) -> Self {
        Self { needs_sync: true, ..Self::new(next, clock) }
    }

    /// Adds an event, unless the same event is in the batch already.
    pub(super) fn append(&mut self, event: Event, fingerprint: Fingerprint) {
        if !self.fingerprints.insert(fingerprint) {
            return;
        }
        self.bytes += event.payload.len();
        self.effects.push(Effect::Append(Arc::new(Stored { offset: self.next, event, fingerprint })));
        self.next += 1;
        self.needs_sync = true;
    }

    /// Changes a mailbox; `needs_sync` if the answer promises that it is on disk.
    pub(super) fn change(&mut self, client: ClientId, mailbox: Option<Mailbox>, needs_sync: bool) {
        self.staged.insert(client.clone(), Staged { mailbox: mailbox.clone(), is_confirm: false });
        self.effects.push(Effect::Change((client, mailbox)));
        self.needs_sync |= needs_sync;
    }

    /// Confirms in a mailbox as it is with what is staged.
    pub(super) fn confirm(&mut self, client: ClientId, mut mailbox: Mailbox, position: Position) {
        let had_marker = mailbox.marker.is_some();
        mailbox.confirm(position);
        let is_all = self.staged.get(&client).is_none_or(|staged| staged.is_confirm);
        let is_confirm = is_all && mailbox.marker.is_some() == had_marker;
        self.staged.insert(client.clone(), Staged { mailbox: Some(mailbox), is_confirm });
        self.effects.push(Effect::Confirm(client, position));
    }

    pub(super) fn trim(&mut self, end: u64) {
        self.effects.push(Effect::Trim(end));
        self.trim = Some(end);
        // Events whose space is given back must be known to be dropped, after a power cut, too.
        self.needs_sync = true;
    }

    /// Says that nothing follows, so that the next start need not doubt anything.
    pub(super) const fn mark_clean_shutdown(&mut self) {
        (self.signs_off, self.needs_sync) = (true, true);
    }

    /// Writes down what the clocks show, even if there is nothing else.
    pub(super) const fn note_clock(&mut self) {
        self.notes_clock = true;
    }

    /// Returns what the clocks show when it is stored.
    pub(super) const fn clock(&self) -> Reading {
        self.clock
    }

    /// Returns the offset that the next event gets.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Returns how many events there are.
    pub(super) const fn event_count(&self) -> u64 {
        self.next - self.first
    }

    /// Returns the payload bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns how many mailboxes are changed.
    pub(super) fn mailbox_count(&self) -> usize {
        self.staged.len()
    }

    /// Returns how many mailboxes there are more after it than were before.
    pub(super) fn made(&self, was_there: impl Fn(&ClientId) -> bool) -> usize {
        let is_made = |(client, staged): &(&ClientId, &Staged)| staged.mailbox.is_some() && !was_there(client);
        self.staged.iter().filter(is_made).count()
    }

    /// Returns what becomes of a mailbox, if it is changed.
    pub(super) fn staged(&self, client: &ClientId) -> Option<&Option<Mailbox>> {
        self.staged.get(client).map(|staged| &staged.mailbox)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.effects.is_empty() && !self.signs_off && !self.notes_clock
    }

    /// Returns the events, in order.
    pub(super) fn events(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.effects.iter().filter_map(|effect| match effect {
            Effect::Append(stored) => Some(stored),
            Effect::Change(_) | Effect::Confirm(..) | Effect::Trim(_) => None,
        })
    }

    /// Returns every mailbox that is changed, and what is written of it.
    pub(super) fn mailboxes(&self) -> impl Iterator<Item = (&ClientId, Written<'_>)> {
        self.staged.iter().map(|(client, staged)| {
            let written = match &staged.mailbox {
                Some(mailbox) if staged.is_confirm => Written::Confirmed(mailbox.unconfirmed),
                Some(mailbox) => Written::Whole(mailbox),
                None => Written::Nothing,
            };
            (client, written)
        })
    }

    /// Returns before which offset everything goes.
    pub(super) const fn trimmed(&self) -> Option<u64> {
        self.trim
    }

    pub(super) const fn needs_sync(&self) -> bool {
        self.needs_sync
    }

    pub(super) const fn signs_off(&self) -> bool {
        self.signs_off
    }

    pub(super) fn into_effects(self) -> Vec<Effect> {
        self.effects
    }
}

#[cfg(test)]
mod tests {
    use super::{super::clock::Clock, *};

    #[test]
    fn of_a_confirm_its_place_is_written_and_of_all_else_the_mailbox() {
        let client: ClientId = "alice".parse().unwrap();
        let mut mailbox = Mailbox::new(0);
        mailbox.bind(&["a.#".parse().unwrap()], 0).unwrap();
        let written =
            |batch: &Batch| format!("{:?}", batch.mailboxes().map(|(_, written)| written).collect::<Vec<_>>());
        let is_whole = |batch: &Batch| written(batch).starts_with("[Whole");
        let batch = || Batch::new(9, Clock::resume(None).read());

        let mut confirmed = batch();
        confirmed.confirm(client.clone(), mailbox.clone(), Position::of_event(3));
        confirmed.confirm(client.clone(), mailbox.clone(), Position::of_event(5));
        assert_eq!(written(&confirmed), format!("{:?}", [Written::Confirmed(Position::of_event(5).next())]));

        let mut changed = batch();
        changed.change(client.clone(), Some(mailbox.clone()), false);
        changed.confirm(client.clone(), mailbox.clone(), Position::of_event(5));
        assert!(is_whole(&changed), "what was changed before is in the same record");

        let mut told = batch();
        mailbox.note_loss(2);
        told.confirm(client, mailbox, Position::of_event(5));
        assert!(is_whole(&told), "that a marker is gone stands in the mailbox alone");
    }
}
