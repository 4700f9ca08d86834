//! A mailbox as a rule about the log: which of its events, from which position on.
//!
//! It holds no events. An event is in the mailbox if a binding selects its topic and was there when the event was
//! stored, and if it stands after what is confirmed. Confirming moves one position, because it always concerns a run
//! from the front.

use std::collections::HashSet;

use events::{ClientId, EventId, Topic, TopicPattern};

use super::position::Position;

/// How many bindings a mailbox has at most, with those that have ended and still select something that is in it. A look
/// through the log for a mailbox compares each topic with so many patterns.
pub(super) const MAX_BINDINGS: usize = 256;

/// What is written down of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mailbox {
    pub(super) bindings: Vec<Binding>,
    /// Everything before this position is confirmed.
    pub(super) unconfirmed: Position,
    /// Everything before this position may have been handed over.
    pub(super) handed_over: Position,
    pub(super) marker: Option<Marker>,
    /// No event of it was ever confirmed, so nothing says that it has a reader who will come back.
    pub(super) is_new: bool,
}

/// A pattern and the offsets at which it held: unbinding takes away nothing that is in the mailbox already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) pattern: TopicPattern,
    pub(super) from: u64,
    /// The first offset at which it held no more.
    pub(super) until: Option<u64>,
}

impl Binding {
    /// Tells whether it selects what was stored at an offset, if its pattern does.
    pub(super) fn held_at(&self, offset: u64) -> bool {
        self.from <= offset && self.until.is_none_or(|until| offset < until)
    }
}

/// A mailbox would have more than [`MAX_BINDINGS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManyBindings;

/// Tells the reader that something is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) id: EventId,
    /// It stands before the event at this offset.
    pub(super) before: u64,
    /// A reader that has come to this position was told, or has seen all that is gone: where the marker first stood, or
    /// the last event that is gone. It is not written down: Leases end with the process.
    pub(super) settled_at: Position,
    pub(super) gone: Gone,
}

/// What is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// An older mailbox of the same client, if there was one: this one was created.
    OlderMailbox,
    /// Something that was in this mailbox.
    Events,
}

impl Marker {
    pub(super) fn new(before: u64, gone: Gone) -> Self {
        Self::stored(EventId::new(), before, gone)
    }

    /// Makes the one that was stored.
    pub(super) const fn stored(id: EventId, before: u64, gone: Gone) -> Self {
        Self { id, before, settled_at: Position::before(before), gone }
    }

    pub(super) const fn position(&self) -> Position {
        Position::before(self.before)
    }
}

/// A change of one mailbox: what it is now, or `None` if it is no more.
pub(super) type Change = (ClientId, Option<Mailbox>);

impl Mailbox {
    /// Makes an empty mailbox for what is stored from `offset` on.
    pub(super) const fn new(offset: u64) -> Self {
        let start = Position::before(offset);
        Self { bindings: Vec::new(), unconfirmed: start, handed_over: start, marker: None, is_new: true }
    }

    /// Tells whether there is room for all of these patterns. An older gateway may have stored more than
    /// [`MAX_BINDINGS`].
    pub(super) fn has_room_for(&self, patterns: &[TopicPattern]) -> Result<(), TooManyBindings> {
        let new = patterns.iter().filter(|pattern| !self.is_bound(pattern)).collect::<HashSet<_>>().len();
        if new > 0 && self.bindings.len() + new > MAX_BINDINGS { Err(TooManyBindings) } else { Ok(()) }
    }

    /// Binds to all of these patterns from `offset` on, or to none.
    pub(super) fn bind(&mut self, patterns: &[TopicPattern], offset: u64) -> Result<(), TooManyBindings> {
        self.has_room_for(patterns)?;
        for pattern in patterns {
            if !self.is_bound(pattern) {
                self.bindings.push(Binding { pattern: pattern.clone(), from: offset, until: None });
            }
        }
        Ok(())
    }

    /// Ends a binding from `offset` on.
    pub(super) fn unbind(&mut self, pattern: &TopicPattern, offset: u64) {
        for binding in self.bindings.iter_mut().filter(|binding| binding.pattern == *pattern) {
            binding.until.get_or_insert(offset);
        }
        self.forget();
    }

    /// Tells whether events that are stored now are selected by this pattern.
    pub(super) fn is_bound(&self, pattern: &TopicPattern) -> bool {
        self.open_patterns().any(|open| open == pattern)
    }

    /// Returns the patterns that select what is stored now.
    pub(super) fn open_patterns(&self) -> impl Iterator<Item = &TopicPattern> {
        self.bindings.iter().filter(|binding| binding.until.is_none()).map(|binding| &binding.pattern)
    }

    /// Returns the bindings that select a topic, wherever an event of it stands.
    pub(super) fn selecting(&self, topic: &Topic) -> impl Iterator<Item = &Binding> {
        self.bindings.iter().filter(|binding| binding.pattern.matches(topic))
    }

    /// Tells whether anything could have been selected at an offset.
    pub(super) fn is_bound_at(&self, offset: u64) -> bool {
        self.bindings.iter().any(|binding| binding.held_at(offset))
    }

    /// Confirms everything up to and including a position. Retention may have moved a marker away from where it was
    /// handed over.
    pub(super) fn confirm(&mut self, position: Position) {
        self.marker.take_if(|marker| marker.settled_at <= position);
        self.is_new &= !position.is_of_event();
        self.start_at(position.next());
    }

    /// Takes over how far another state of the same mailbox had come.
    pub(super) fn keep_up_with(&mut self, other: &Self) {
        self.start_at(other.unconfirmed);
        self.handed_over = self.handed_over.max(other.handed_over);
        self.is_new &= other.is_new;
    }

    /// Takes note that there is nothing before the event at `offset` any more; `lost` is where the last unconfirmed
    /// event stood that was.
    pub(super) fn trim(&mut self, offset: u64, lost: Option<u64>) {
        // A marker that was not confirmed moves on: what it tells is still to be told.
        let older = self.marker.take();
        let was_told = older.as_ref().is_some_and(|marker| marker.position() < self.handed_over);
        self.start_at(Position::before(offset));
        self.marker = older.map(|marker| Marker { before: marker.before.max(offset), ..marker });
        if let Some(moved) = self.marker.as_ref().filter(|_| was_told) {
            self.handed_over = self.handed_over.max(moved.position().next());
        }
        if let Some(lost) = lost {
            self.marker = Some(Marker { settled_at: Position::of_event(lost), ..Marker::new(offset, Gone::Events) });
        }
    }

    /// Takes note that events before an offset are gone which were not confirmed.
    ///
    /// The marker has an id of its own: a token for an older one must not confirm what was lost after that was told.
    pub(super) fn note_loss(&mut self, offset: u64) {
        self.marker = Some(Marker::new(offset, Gone::Events));
    }

    /// Takes note that there is nothing unconfirmed before a position.
    pub(super) fn start_at(&mut self, position: Position) {
        self.unconfirmed = self.unconfirmed.max(position);
        self.handed_over = self.handed_over.max(self.unconfirmed);
        self.marker.take_if(|marker| marker.position() < self.unconfirmed);
        self.forget();
    }

    /// Drops bindings that can select nothing any more.
    fn forget(&mut self) {
        let first = self.unconfirmed.offset();
        self.bindings.retain(|binding| binding.until.is_none_or(|until| until > first.max(binding.from)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(text: &str) -> Topic {
        text.parse().unwrap()
    }

    fn pattern(text: &str) -> TopicPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_binding_selects_what_is_stored_while_it_holds() {
        let mut mailbox = Mailbox::new(5);
        mailbox.bind(&[pattern("a.*")], 5).unwrap();
        mailbox.unbind(&pattern("a.*"), 8);
        mailbox.bind(&[pattern("a.*")], 10).unwrap();
        let selects = |offset: u64, text: &str| mailbox.selecting(&topic(text)).any(|binding| binding.held_at(offset));
        let selected: Vec<u64> = (0..13).filter(|offset| selects(*offset, "a.b")).collect();
        assert_eq!(selected, [5, 6, 7, 10, 11, 12]);
        assert!(!selects(6, "b") && mailbox.is_bound_at(6) && !mailbox.is_bound_at(9));
    }

    #[test]
    fn bindings_that_can_select_nothing_are_forgotten() {
        let mut mailbox = Mailbox::new(0);
        mailbox.bind(&[pattern("a")], 0).unwrap();
        mailbox.unbind(&pattern("a"), 0);
        assert_eq!(mailbox.bindings, []);
        mailbox.bind(&[pattern("a")], 0).unwrap();
        mailbox.unbind(&pattern("a"), 3);
        mailbox.confirm(Position::of_event(1));
        assert_eq!(mailbox.bindings.len(), 1);
        mailbox.confirm(Position::of_event(2));
        assert_eq!(mailbox.bindings, []);
    }

    #[test]
    fn bindings_are_bounded_with_those_that_have_ended() {
        let numbered = |numbers: std::ops::Range<usize>| numbers.map(|n| pattern(&n.to_string())).collect::<Vec<_>>();
        let mut mailbox = Mailbox::new(0);
        mailbox.bind(&numbered(0..MAX_BINDINGS - 1), 0).unwrap();
        assert_eq!(mailbox.bind(&numbered(MAX_BINDINGS - 1..MAX_BINDINGS + 1), 5), Err(TooManyBindings));
        assert_eq!(mailbox.bindings.len(), MAX_BINDINGS - 1, "all or none");
        mailbox.bind(&numbered(0..MAX_BINDINGS), 5).unwrap();
        mailbox.unbind(&pattern("7"), 9);
        assert_eq!(mailbox.bind(&[pattern("more")], 9), Err(TooManyBindings), "it still selects what is there");
        mailbox.confirm(Position::of_event(8));
        mailbox.bind(&[pattern("more")], 9).unwrap();
        // As an older gateway may have stored it.
        let more = mailbox.bindings.clone().into_iter().map(|binding| Binding { until: None, from: 1, ..binding });
        mailbox.bindings.extend(more);
        mailbox.bind(&numbered(8..9), 9).unwrap();
    }

    #[test]
    fn a_marker_is_confirmed_in_its_place() {
        let mut mailbox = Mailbox::new(3);
        mailbox.marker = Some(Marker::new(3, Gone::OlderMailbox));
        let position = mailbox.marker.as_ref().unwrap().position();
        mailbox.confirm(Position::of_event(2));
        assert!(mailbox.marker.is_some());
        mailbox.confirm(position);
        assert_eq!((mailbox.marker.as_ref(), mailbox.unconfirmed), (None, Position::of_event(3)));
    }

    #[test]
    fn a_new_mailbox_that_loses_something_tells_that() {
        let mut mailbox = Mailbox::new(0);
        mailbox.marker = Some(Marker::new(0, Gone::OlderMailbox));
        mailbox.trim(2, None);
        assert_eq!(mailbox.marker.as_ref().map(|marker| marker.gone), Some(Gone::OlderMailbox));
        mailbox.trim(4, Some(3));
        assert_eq!(mailbox.marker.as_ref().map(|marker| marker.gone), Some(Gone::Events));
    }

    #[test]
    fn a_loss_after_a_marker_was_handed_over_is_told_by_another() {
        for gone in [Gone::OlderMailbox, Gone::Events] {
            let mut mailbox = Mailbox::new(0);
            let told = Marker::new(0, gone);
            mailbox.marker = Some(told.clone());
            mailbox.handed_over = told.position().next();
            mailbox.trim(4, Some(3));
            let marker = mailbox.marker.clone().unwrap();
            assert!(marker.id != told.id && marker.gone == Gone::Events, "{gone:?}");
            mailbox.confirm(told.position());
            assert_eq!(mailbox.marker, Some(marker));
        }
    }

    #[test]
    fn what_retention_took_is_told_once() {
        let mut mailbox = Mailbox::new(0);
        mailbox.bind(&[pattern("#")], 0).unwrap();
        mailbox.trim(4, Some(3));
        let marker = mailbox.marker.clone().unwrap();
        assert_eq!((marker.position(), mailbox.unconfirmed), (Position::before(4), Position::before(4)));
        mailbox.trim(5, None);
        assert!(mailbox.handed_over <= Position::before(5), "the marker was not handed over yet");
        mailbox.handed_over = Position::before(5).next();
        mailbox.trim(6, None);
        assert_eq!(mailbox.marker, Some(Marker { before: 6, ..marker }));
        assert!(mailbox.handed_over > Position::before(6), "what was handed over stays so where it moves to");
        mailbox.confirm(Position::of_event(2));
        assert!(mailbox.marker.is_some());
        // The last that is gone, which its reader still had; and the marker, wherever it was handed over.
        for position in [Position::of_event(3), Position::before(4), Position::before(5), Position::before(6)] {
            let mut mailbox = mailbox.clone();
            mailbox.confirm(position);
            assert_eq!(mailbox.marker, None, "{position:?}");
        }
    }
}
