//! What one client has had of one stream: exact counts of what is lost, what came twice, and what came out of order.
//!
//! The events of a stream are numbered from 1. A number beyond the next one leaves a gap; a number that fills a gap came late,
//! out of order; any other number below the next one came again. What still is a gap at the end is lost, but for events whose
//! publishing was not confirmed: those may have come or not.

use std::collections::BTreeMap;

/// The maximum of gaps that one client keeps of one stream, some 16 bytes each. Beyond it all of the oldest gap is lost for good,
/// whether it was confirmed or not, and an event that still fills it counts as one that came again.
const MAX_GAPS: usize = 10_000;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    /// The number that comes next.
    next: u32,
    /// What is missing counts from here on: before it the client was not there, or what was lost has been told.
    counts_from: u32,
    /// Where the stream begins for this client, until its first event has come.
    begins: Begins,
    gaps: Option<Box<Gaps>>,
}

/// Where a stream begins for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begins {
    /// At `next`: what was published after the client came must come.
    Known,
    /// With the first event, whichever that is.
    WithFirst,
    /// It has begun.
    Begun,
}

#[derive(Debug, Clone, Default)]
struct Gaps {
    /// By the first number, the number after the last.
    missing: BTreeMap<u32, u32>,
    /// How many events were in gaps that are not kept any more.
    given_up: u64,
}

/// What an event was for the client that got it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The first time, in order; so many events before it have not come yet.
    New(u32),
    /// The first time, but after a later one.
    Late,
    /// Not the first time.
    Again,
}

/// What was published in one stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published<'a> {
    /// The last number.
    pub(crate) last: u32,
    /// The numbers whose publishing was not confirmed, in order.
    pub(crate) unconfirmed: &'a [u32],
}

impl Tally {
    /// Begins after what had been published when the client came; without that, with the first event that comes.
    pub(crate) const fn begin(after: Option<u32>) -> Self {
        match after {
            Some(last) => {
                let next = last.saturating_add(1);
                Self { next, counts_from: next, begins: Begins::Known, gaps: None }
            }
            None => Self { next: 1, counts_from: 1, begins: Begins::WithFirst, gaps: None },
        }
    }

    /// Counts what is missing anew, of what is published after this number.
    pub(crate) fn count_after(&mut self, last: u32) {
        self.counts_from = last.saturating_add(1);
        if self.begins == Begins::WithFirst {
            (self.next, self.begins) = (self.counts_from, Begins::Known);
        }
        self.gaps.iter_mut().for_each(|gaps| gaps.given_up = 0);
    }

    /// Returns the highest number that has come, or 0.
    pub(crate) fn highest(&self) -> u32 {
        if self.begins == Begins::Begun { self.next.saturating_sub(1) } else { 0 }
    }

    /// Takes an event.
    pub(crate) fn take(&mut self, number: u32) -> Seen {
        // An event that was on its way while the client came, or that comes first where no other has to.
        if self.begins == Begins::WithFirst || self.begins == Begins::Known && number < self.next {
            self.next = number;
        }
        self.begins = Begins::Begun;
        if number >= self.next {
            let skipped = number - self.next;
            if skipped > 0 {
                self.gaps.get_or_insert_default().open(self.next, number);
            }
            self.next = number.saturating_add(1);
            Seen::New(skipped)
        } else if self.gaps.as_mut().is_some_and(|gaps| gaps.fill(number)) {
            if self.gaps.as_ref().is_some_and(|gaps| gaps.missing.is_empty() && gaps.given_up == 0) {
                self.gaps = None;
            }
            Seen::Late
        } else {
            Seen::Again
        }
    }

    /// Returns how many events the client has not had.
    pub(crate) fn lost(&self, published: Published<'_>) -> u64 {
        let gaps = self.gaps.as_deref();
        let tail = (self.begins != Begins::WithFirst).then_some((self.next, published.last.saturating_add(1)));
        let missing = gaps.into_iter().flat_map(|gaps| gaps.missing.iter().map(|(first, end)| (*first, *end)));
        let counted = missing.chain(tail).map(|(first, end)| (first.max(self.counts_from), end));
        let kept: u64 = counted.map(|range| published.confirmed_within(range)).sum();
        kept + gaps.map_or(0, |gaps| gaps.given_up)
    }

    /// Returns the last number up to which all have come.
    pub(crate) fn complete_up_to(&self) -> u32 {
        let first_gap = self.gaps.as_ref().and_then(|gaps| gaps.missing.keys().next().copied());
        first_gap.unwrap_or(self.next).saturating_sub(1)
    }
}

impl Published<'_> {
    /// Returns how many confirmed events there are from one number to before another.
    fn confirmed_within(&self, (first, end): (u32, u32)) -> u64 {
        let end = end.min(self.last.saturating_add(1));
        let below = |limit: u32| self.unconfirmed.partition_point(|number| *number < limit);
        let all = u64::from(end.saturating_sub(first));
        if first >= end { 0 } else { all - (below(end) - below(first)) as u64 }
    }
}

impl Gaps {
    fn open(&mut self, first: u32, end: u32) {
        self.missing.insert(first, end);
        if self.missing.len() > MAX_GAPS
            && let Some((first, end)) = self.missing.pop_first()
        {
            self.given_up += u64::from(end - first);
        }
    }

    /// Takes a number out of the gap that it is in, if it is in one.
    fn fill(&mut self, number: u32) -> bool {
        let Some((&first, &end)) = self.missing.range(..=number).next_back() else { return false };
        if number >= end {
            return false;
        }
        self.missing.remove(&first);
        if first < number {
            self.missing.insert(first, number);
        }
        if number + 1 < end {
            self.missing.insert(number + 1, end);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn all(last: u32) -> Published<'static> {
        Published { last, unconfirmed: &[] }
    }

    fn take(tally: &mut Tally, numbers: &[u32]) -> Vec<Seen> {
        numbers.iter().map(|number| tally.take(*number)).collect()
    }

    #[test]
    fn what_is_missing_at_the_end_is_lost() {
        let mut tally = Tally::begin(Some(0));
        assert_eq!(tally.lost(all(3)), 3);
        assert_eq!(take(&mut tally, &[1, 2, 4, 7]), [0, 0, 1, 2].map(Seen::New));
        assert_eq!((tally.lost(all(7)), tally.lost(all(9)), tally.complete_up_to()), (3, 5, 2));
        let unconfirmed = [1, 3, 8];
        assert_eq!(tally.lost(Published { last: 9, unconfirmed: &unconfirmed }), 3);
    }

    #[test]
    fn what_comes_late_is_out_of_order_and_not_lost() {
        let mut tally = Tally::begin(Some(0));
        assert_eq!(
            take(&mut tally, &[1, 5, 3, 2, 4, 4]),
            [Seen::New(0), Seen::New(3), Seen::Late, Seen::Late, Seen::Late, Seen::Again]
        );
        assert_eq!((tally.lost(all(5)), tally.complete_up_to()), (0, 5));
        assert!(tally.gaps.is_none());
    }

    #[test]
    fn a_client_that_came_later_lacks_nothing_of_before() {
        let mut tally = Tally::begin(Some(10));
        assert_eq!(tally.lost(all(10)), 0);
        // On its way while the client came.
        assert_eq!(take(&mut tally, &[10, 11, 10]), [Seen::New(0), Seen::New(0), Seen::Again]);
        assert_eq!((tally.lost(all(11)), tally.lost(all(12))), (0, 1));
        // Nor if it is told some of that all the same.
        let mut old = Tally::begin(Some(10));
        assert_eq!((take(&mut old, &[3, 11]), old.lost(all(12))), (vec![Seen::New(0), Seen::New(7)], 1));
        let mut late = Tally::begin(Some(10));
        assert_eq!(take(&mut late, &[13]), [Seen::New(2)]);
        assert_eq!(late.lost(all(13)), 2);
        let mut unknown = Tally::begin(None);
        assert_eq!(unknown.lost(all(99)), 0);
        assert_eq!(take(&mut unknown, &[50, 52]), [Seen::New(0), Seen::New(1)]);
        assert_eq!(unknown.lost(all(99)), 48);
    }

    #[test]
    fn what_was_told_of_is_not_told_again_and_hides_nothing() {
        let mut tally = Tally::begin(Some(0));
        take(&mut tally, &[1, 4]);
        assert_eq!(tally.lost(all(5)), 3);
        tally.count_after(5);
        assert_eq!(tally.lost(all(5)), 0);
        // Two of them come after all, and two others do not.
        assert_eq!(take(&mut tally, &[2, 3, 6, 9]), [Seen::Late, Seen::Late, Seen::New(1), Seen::New(2)]);
        assert_eq!((tally.lost(all(9)), tally.highest()), (2, 9));
        let mut unknown = Tally::begin(None);
        unknown.count_after(5);
        assert_eq!((unknown.lost(all(7)), unknown.highest()), (2, 0));
    }

    #[test]
    fn gaps_are_bounded_and_what_is_given_up_stays_lost() {
        let mut tally = Tally::begin(Some(0));
        let gaps = u32::try_from(MAX_GAPS).unwrap() + 5;
        for number in 1..=gaps {
            tally.take(2 * number);
        }
        assert_eq!(tally.gaps.as_ref().unwrap().missing.len(), MAX_GAPS);
        assert_eq!(tally.lost(all(2 * gaps)), u64::from(gaps));
        assert_eq!(take(&mut tally, &[1, 11]), [Seen::Again, Seen::Late]);
        assert_eq!(tally.lost(all(2 * gaps)), u64::from(gaps) - 1);
    }

    proptest! {
        #[test]
        fn counts_are_those_of_a_set(numbers in prop::collection::vec(1_u32..40, 0..80), unconfirmed in prop::collection::btree_set(1_u32..40, 0..9)) {
            let mut tally = Tally::begin(Some(0));
            let mut seen = BTreeSet::new();
            for number in &numbers {
                let highest = seen.last().copied().unwrap_or(0);
                let expected = match (seen.insert(*number), *number > highest) {
                    (true, true) => Seen::New(*number - highest - 1),
                    (true, false) => Seen::Late,
                    (false, _) => Seen::Again,
                };
                prop_assert_eq!(tally.take(*number), expected);
            }
            let lost = (1..=40).filter(|number| !seen.contains(number) && !unconfirmed.contains(number)).count();
            let unconfirmed: Vec<u32> = unconfirmed.into_iter().collect();
            prop_assert_eq!(tally.lost(Published { last: 40, unconfirmed: &unconfirmed }), lost as u64);
        }
    }
}
