//! What a search takes from the messages that it is shown, and when it has enough. No I/O.

use std::ops::{ControlFlow, Range};

use events::TopicPattern;

use super::reader::Stored;
use crate::broker::log::Searched;

/// The most messages that one search looks at: it is to answer within a second.
const MOST_LOOKED_AT: usize = 20_000;

/// The most payload bytes that one search returns, unless a single event has more.
const MOST_BYTES: usize = 1024 * 1024;

/// What a search looks for and what it has found.
pub(super) struct Search<'a> {
    pattern: &'a TopicPattern,
    range: Range<u64>,
    limit: usize,
    looked_at: usize,
    bytes: usize,
    pub(super) result: Searched,
}

impl<'a> Search<'a> {
    pub(super) fn new(pattern: &'a TopicPattern, range: Range<u64>, limit: usize) -> Self {
        let result = Searched { found: Vec::new(), reached: range.start, oldest: range.start };
        Self { pattern, range, limit, looked_at: 0, bytes: 0, result }
    }

    /// Looks at the next message and tells whether another one is needed.
    ///
    /// The first at or beyond the last offset ends the search. It always comes: the end of the log was found at a message.
    pub(super) fn look_at(&mut self, stored: Stored) -> ControlFlow<()> {
        if stored.offset >= self.range.end {
            self.result.reached = self.range.end;
            return ControlFlow::Break(());
        }
        let offset = stored.offset;
        let matches = !stored.control && stored.offset >= self.range.start && self.pattern.matches(&stored.event.topic);
        if matches {
            let bytes = self.bytes.saturating_add(stored.event.payload.len());
            if bytes > MOST_BYTES && !self.result.found.is_empty() {
                return ControlFlow::Break(());
            }
            self.bytes = bytes;
            self.result.found.push(stored.into());
        }
        self.looked_at += 1;
        self.result.reached = self.result.reached.max(offset + 1);
        let is_enough = self.result.reached >= self.range.end
            || self.result.found.len() >= self.limit
            || self.looked_at >= MOST_LOOKED_AT;
        if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[cfg(test)]
mod tests {
    use events::Event;

    use super::*;

    fn stored(offset: u64, control: bool, bytes: usize) -> Stored {
        Stored { offset, control, event: Event::new("a.b".parse().unwrap(), None, vec![0; bytes]) }
    }

    /// Shows these events, and returns how many it needed, what was found, and what was reached.
    fn run(range: Range<u64>, limit: usize, messages: Vec<Stored>) -> (usize, Vec<u64>, u64) {
        let pattern = "a.*".parse().unwrap();
        let mut search = Search::new(&pattern, range, limit);
        let enough = messages.into_iter().position(|message| search.look_at(message).is_break());
        let found = search.result.found.iter().map(|logged| logged.offset).collect();
        (enough.expect("the search ends") + 1, found, search.result.reached)
    }

    #[test]
    fn a_search_ends_with_the_last_message_before_the_end_or_the_first_behind_it() {
        let events = |offsets: &[u64]| offsets.iter().map(|&offset| stored(offset, false, 1)).collect();
        assert_eq!(run(2..5, 9, events(&[2, 3, 4, 5])), (3, vec![2, 3, 4], 5));
        assert_eq!(run(2..5, 9, events(&[2, 7])), (2, vec![2], 5), "4 is a gap");
        assert_eq!(run(2..5, 9, events(&[9])), (1, vec![], 5), "everything is gone");
        assert_eq!(run(2..5, 9, events(&[1, 2, 5])), (3, vec![2], 5), "the broker began too early");
        assert_eq!(run(2..5, 2, events(&[2, 3, 4])), (2, vec![2, 3], 4), "there are enough");
        assert_eq!(run(2..4, 9, vec![stored(2, false, 1), stored(3, true, 0)]), (2, vec![2], 4), "a control message");
    }

    #[test]
    fn a_search_returns_a_bounded_number_of_bytes_but_never_nothing_for_them() {
        let sized = |sizes: &[usize]| (0..).zip(sizes).map(|(offset, &size)| stored(offset, false, size)).collect();
        assert_eq!(run(0..9, 9, sized(&[1, MOST_BYTES])), (2, vec![0], 1));
        assert_eq!(run(0..9, 9, sized(&[MOST_BYTES + 1, 0])), (2, vec![0], 1));
    }

    #[test]
    fn a_search_looks_at_a_bounded_number_of_messages() {
        let controls = (0..30_000).map(|offset| stored(offset, true, 0)).collect();
        assert_eq!(run(0..30_000, 9, controls), (MOST_LOOKED_AT, vec![], MOST_LOOKED_AT as u64));
    }
}
