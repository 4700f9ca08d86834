//! What a search takes from the messages that it is shown, and when it has enough. No I/O.

use std::ops::{ControlFlow, Range};

use broker::{
    limits::MAX_BATCH_BYTES,
    log::{Logged, Searched},
};
use events::Selection;

use super::{reader::Stored, reader_pool::Stop};

/// The most messages that one search looks at: it is to answer within a second.
const MAX_LOOKED_AT: usize = 20_000;

/// What a search looks for and what it has found.
pub(super) struct Search<'a> {
    pub(super) selection: &'a Selection,
    pub(super) range: Range<u64>,
    limit: usize,
    looked_at: usize,
    bytes: usize,
    /// The event before the range that has to come first.
    awaited: Option<u64>,
    /// Where something may be missing before the first message.
    pub(super) gap: Option<Range<u64>>,
    pub(super) result: Searched,
}

impl<'a> Search<'a> {
    pub(super) fn new(selection: &'a Selection, range: Range<u64>, limit: usize) -> Self {
        let result = Searched { reached: range.start, oldest: range.start, ..Searched::default() };
        Self { selection, range, limit, looked_at: 0, bytes: 0, awaited: None, gap: None, result }
    }

    /// Goes on after an event that is to be shown first.
    pub(super) fn after(selection: &'a Selection, seen: u64, to: u64, limit: usize) -> Self {
        let mut search = Self { awaited: Some(seen), ..Self::new(selection, seen + 1..to, limit) };
        search.result.oldest = seen;
        search
    }

    /// Returns the same search, before it has begun, for a reader that has stopped where it is to go on.
    pub(super) fn go_on(&self, Stop { last, reached }: Stop) -> Self {
        let mut search = Self::new(self.selection, reached..self.range.end, self.limit);
        let (before, last, oldest) = (Some(last.clone()), Some(last), self.result.oldest);
        search.result = Searched { before, last, oldest, ..search.result };
        search
    }

    /// Tells whether it has enough before it has looked at anything more.
    pub(super) fn is_over(&self) -> bool {
        self.awaited.is_none() && (self.range.is_empty() || self.limit == 0)
    }

    /// Looks at the next message and tells whether another one is needed; gives back one that it did not look at.
    ///
    /// The first at or beyond the last offset ends the search. It always comes: the end of the log was found at a
    /// message.
    pub(super) fn look_at(&mut self, stored: Stored) -> ControlFlow<Option<Stored>> {
        let is_first = self.looked_at == 0 && self.gap.is_none();
        if stored.offset > stored.expected {
            if !is_first {
                // The next search begins with it, and finds out what is missing.
                return ControlFlow::Break(Some(stored));
            }
            self.gap = Some(stored.expected..stored.offset);
        }
        if let Some(seen) = self.awaited {
            if stored.offset < seen {
                return ControlFlow::Continue(());
            }
            if stored.offset > seen || stored.control {
                return ControlFlow::Break(Some(stored));
            }
            self.awaited = None;
            let before = Logged::from(stored);
            self.result.last = Some(before.clone());
            self.result.before = Some(before);
            self.looked_at += 1;
            return if self.is_over() { ControlFlow::Break(None) } else { ControlFlow::Continue(()) };
        }
        if stored.offset >= self.range.end {
            self.result.reached = self.range.end;
            return ControlFlow::Break(Some(stored));
        }
        let (offset, is_event) = (stored.offset, !stored.control && stored.offset >= self.range.start);
        if is_event && self.selection.matches(&stored.event.topic) {
            let bytes = self.bytes.saturating_add(stored.event.payload.len());
            if bytes > MAX_BATCH_BYTES && !self.result.found.is_empty() {
                return ControlFlow::Break(Some(stored));
            }
            self.bytes = bytes;
            let logged = Logged::from(stored);
            self.result.last = Some(logged.clone());
            self.result.found.push(logged);
        } else if is_event {
            self.result.last = Some(stored.into());
        }
        self.looked_at += 1;
        self.result.reached = self.result.reached.max(offset + 1);
        let is_enough = self.result.reached >= self.range.end
            || self.result.found.len() >= self.limit
            || self.looked_at >= MAX_LOOKED_AT;
        if is_enough { ControlFlow::Break(None) } else { ControlFlow::Continue(()) }
    }
}

#[cfg(test)]
mod tests {
    use events::Event;

    use super::*;

    fn stored(offset: u64, control: bool, bytes: usize) -> Stored {
        let event = Event::new("a.b".parse().unwrap(), None, vec![0; bytes]);
        Stored { offset, expected: offset, control, event }
    }

    fn offsets<'a>(events: impl IntoIterator<Item = &'a Logged>) -> Vec<u64> {
        events.into_iter().map(|logged| logged.offset).collect()
    }

    /// Shows these messages until it has enough; returns how many it took, and the offset of one that it gave back.
    fn show(search: &mut Search<'_>, messages: impl IntoIterator<Item = Stored>) -> (usize, Option<u64>) {
        for (taken, message) in messages.into_iter().enumerate() {
            if let ControlFlow::Break(back) = search.look_at(message) {
                return (taken + usize::from(back.is_none()), back.map(|stored| stored.offset));
            }
        }
        panic!("the search ends")
    }

    /// Shows these messages, and returns how many it took, what was found, and what was reached.
    fn run(range: Range<u64>, limit: usize, messages: Vec<Stored>) -> (usize, Vec<u64>, u64) {
        let pattern = "a.*".parse().unwrap();
        let mut search = Search::new(&pattern, range, limit);
        let (taken, _) = show(&mut search, messages);
        (taken, offsets(&search.result.found), search.result.reached)
    }

    #[test]
    fn a_search_ends_with_the_last_message_before_the_end_or_the_first_after_it() {
        let events = |offsets: &[u64]| offsets.iter().map(|&offset| stored(offset, false, 1)).collect();
        assert_eq!(run(2..5, 9, events(&[2, 3, 4, 5])), (3, vec![2, 3, 4], 5));
        assert_eq!(run(2..5, 9, events(&[2, 7])), (1, vec![2], 5), "the end is no event");
        assert_eq!(run(2..5, 9, events(&[9])), (0, vec![], 5), "everything is gone");
        assert_eq!(run(2..5, 9, events(&[1, 2, 5])), (2, vec![2], 5), "the broker began too early");
        assert_eq!(run(2..5, 2, events(&[2, 3, 4])), (2, vec![2, 3], 4), "there are enough");
        assert_eq!(run(2..4, 9, vec![stored(2, false, 1), stored(3, true, 0)]), (2, vec![2], 4), "a control message");
    }

    #[test]
    fn a_search_returns_a_bounded_number_of_bytes_but_never_nothing_for_them() {
        let sized = |sizes: &[usize]| (0..).zip(sizes).map(|(offset, &size)| stored(offset, false, size)).collect();
        assert_eq!(run(0..9, 9, sized(&[1, MAX_BATCH_BYTES])), (1, vec![0], 1));
        assert_eq!(run(0..9, 9, sized(&[MAX_BATCH_BYTES + 1, 0])), (1, vec![0], 1));
    }

    #[test]
    fn a_search_looks_at_a_bounded_number_of_messages() {
        let controls = (0..30_000).map(|offset| stored(offset, true, 0)).collect();
        assert_eq!(run(0..30_000, 9, controls), (MAX_LOOKED_AT, vec![], MAX_LOOKED_AT as u64));
    }

    #[test]
    fn a_search_after_an_event_gives_it_and_looks_for_nothing_if_it_is_gone() {
        let pattern = "a.*".parse().unwrap();
        let after = |limit, messages: Vec<Stored>| {
            let mut search = Search::after(&pattern, 4, 9, limit);
            let (taken, back) = show(&mut search, messages);
            let Searched { before, found, last, oldest, .. } = search.result;
            assert_eq!(oldest, 4, "nothing is known to be gone");
            (taken, back, offsets(&before), offsets(&found), offsets(&last), search.gap)
        };
        let events = |offsets: &[u64]| offsets.iter().map(|&offset| stored(offset, false, 1)).collect();
        assert_eq!(after(2, events(&[3, 4, 5, 6, 7])), (4, None, vec![4], vec![5, 6], vec![6], None));
        assert_eq!(after(0, events(&[4, 5])), (1, None, vec![4], vec![], vec![4], None));
        let gone = vec![Stored { expected: 4, ..stored(7, false, 1) }];
        assert_eq!(after(2, gone), (0, Some(7), vec![], vec![], vec![], Some(4..7)));
        assert_eq!(after(2, vec![stored(4, true, 0)]), (0, Some(4), vec![], vec![], vec![], None), "no event");
    }

    #[test]
    fn a_search_ends_before_a_gap_with_which_the_next_begins() {
        let pattern = "a.*".parse().unwrap();
        let mut search = Search::new(&pattern, 0..9, 9);
        let after_gap = || Stored { expected: 2, ..stored(5, false, 1) };
        assert_eq!(show(&mut search, [stored(0, false, 1), stored(1, false, 1), after_gap()]), (2, Some(5)));
        assert_eq!((&search.gap, search.result.reached), (&None, 2));
        let stop = Stop { last: search.result.last.unwrap(), reached: 2 };
        let mut next = Search::after(&pattern, 1, 9, 1).go_on(stop);
        assert_eq!(show(&mut next, [after_gap()]), (1, None));
        assert_eq!((next.gap, next.result.reached, offsets(&next.result.found)), (Some(2..5), 6, vec![5]));
        assert_eq!((offsets(&next.result.before), next.result.oldest), (vec![1], 1));
    }
}
