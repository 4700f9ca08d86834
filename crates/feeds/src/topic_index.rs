//! The newest event of each topic, by offset, found by pattern.
//!
//! Two orders of the same topics: by name, and by the offset of the newest event. A pattern selects from the part of
//! the names that begin as it does, and a place from the offsets after it; a look walks both at once and ends with the
//! shorter one. So it also answers whether there is anything new for a pattern without a look at the log.
//!
//! It holds a bounded number of topics, long ones counting as several. When there are more, it forgets those that have
//! been quiet for longest, and knows from which offset on it is complete; what is older has to be looked up in the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use events::{Matcher, Selection, Topic, TopicPattern};

/// Up to how many bytes a topic counts as one.
const UNIT: usize = 64;

/// How many topics a look compares with a pattern, and how many events: it is done under the lock that every poll and
/// every event takes. So few in unit tests that looks come in parts.
pub(super) const MAX_COMPARED: usize = if cfg!(test) { 16 } else { 512 };

/// How far a look through the whole index has come: the topics that begin as this pattern of the selection does, by its
/// number, up to this one.
#[derive(Debug)]
pub(super) struct IndexPlace {
    pattern: usize,
    after: Option<Topic>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct TopicIndex {
    max_units: usize,
    units: usize,
    by_topic: BTreeMap<Topic, u64>,
    by_offset: BTreeMap<u64, Topic>,
    complete_from: u64,
}

impl TopicIndex {
    /// Makes an empty index of at most so many topics.
    pub(super) fn new(max_topics: usize) -> Self {
        Self {
            max_units: max_topics,
            units: 0,
            by_topic: BTreeMap::new(),
            by_offset: BTreeMap::new(),
            complete_from: 0,
        }
    }

    /// Takes note of an event, which must be newer than all before.
    pub(super) fn note(&mut self, topic: &Topic, offset: u64) {
        let known = if let Some(newest) = self.by_topic.get_mut(topic) {
            let before = std::mem::replace(newest, offset);
            self.by_offset.remove(&before)
        } else {
            self.by_topic.insert(topic.clone(), offset);
            self.units += units(topic);
            None
        };
        // Both orders share the text of a topic.
        self.by_offset.insert(offset, known.unwrap_or_else(|| topic.clone()));
        while self.units > self.max_units
            && let Some(forgotten) = self.forget_quietest()
        {
            self.miss_before(forgotten + 1);
        }
    }

    /// Takes note of all events of a part of the log that begins with this offset and reaches up to where it is complete,
    /// by their topics, from the newest one on. Topics that it knows have newer ones. Tells whether all of them had room.
    pub(super) fn note_older<'a>(&mut self, from: u64, newest_first: impl Iterator<Item = (&'a Topic, u64)>) -> bool {
        for (topic, offset) in newest_first {
            if self.by_topic.contains_key(topic) {
                continue;
            }
            if self.units + units(topic) > self.max_units {
                self.complete_from = self.complete_from.min(offset + 1);
                return false;
            }
            self.units += units(topic);
            self.by_topic.insert(topic.clone(), offset);
            self.by_offset.insert(offset, topic.clone());
        }
        self.complete_from = self.complete_from.min(from);
        true
    }

    /// Takes note that before an offset there may be newer events than those it knows.
    pub(super) fn miss_before(&mut self, offset: u64) {
        self.complete_from = self.complete_from.max(offset);
    }

    /// Every topic whose newest event has this offset or a higher one is here.
    pub(super) const fn complete_from(&self) -> u64 {
        self.complete_from
    }

    /// Returns the topic whose newest event has this offset, if there is one.
    pub(super) fn topic_at(&self, offset: u64) -> Option<&Topic> {
        self.by_offset.get(&offset)
    }

    /// Returns the offset of the newest event of all.
    pub(super) fn last(&self) -> Option<u64> {
        self.by_offset.last_key_value().map(|(offset, _)| *offset)
    }

    /// Returns the offsets of the newest events of matching topics, from an offset on and in order; of too many the
    /// oldest `most`. `None`: there are more topics than one look compares.
    pub(super) fn since(&self, selection: &Selection, offset: u64, most: usize) -> Option<Vec<u64>> {
        let mut found_named = BTreeSet::new();
        let mut find_named = |newest: u64| {
            found_named.insert(newest);
            if found_named.len() > most {
                found_named.pop_last();
            }
        };
        if selection.is_of_topics() {
            let newest = selection.patterns().iter().filter_map(|topic| self.by_topic.get(topic.as_str()).copied());
            newest.filter(|newest| *newest >= offset).for_each(find_named);
            return Some(found_named.into_iter().collect());
        }
        let matcher = Matcher::of(selection);
        let mut later = self.by_offset.range(offset..);
        // Each of its patterns with the topics whose names begin as it does.
        let mut named = selection.patterns().iter().flat_map(|pattern| {
            let matcher = Matcher::new(pattern);
            self.named_from(pattern, None)
                .map(move |(topic, newest)| (*newest, *newest >= offset && matcher.matches(topic)))
        });
        let mut found_later = Vec::new();
        let mut compared = 0;
        while found_later.len() < most {
            // What ends first has seen every topic that can be meant.
            let Some((newest, topic)) = later.next() else { break };
            if compared >= MAX_COMPARED {
                return None;
            }
            compared += 1;
            if matcher.matches(topic) {
                found_later.push(*newest);
            }
            let Some((newest, is_selected)) = named.next() else {
                return Some(found_named.into_iter().collect());
            };
            compared += usize::from(newest >= offset);
            if is_selected {
                find_named(newest);
            }
        }
        Some(found_later)
    }

    /// Returns the offsets of the newest events of matching topics among those that come after a place in the index, as
    /// far as one look goes, and the place where the next one goes on if there may be more.
    pub(super) fn part(&self, selection: &Selection, after: Option<&IndexPlace>) -> (Vec<u64>, Option<IndexPlace>) {
        let (number, after) = after.map_or((0, None), |place| (place.pattern, place.after.as_ref()));
        let Some(pattern) = selection.patterns().get(number) else { return (Vec::new(), None) };
        let matcher = Matcher::new(pattern);
        let is_left = |(topic, _): &(&Topic, &u64)| after.is_none_or(|after| *topic > after);
        let mut named = self.named_from(pattern, after).filter(is_left);
        let (mut offsets, mut last) = (Vec::new(), None);
        for (topic, newest) in named.by_ref().take(MAX_COMPARED) {
            if matcher.matches(topic) {
                offsets.push(*newest);
            }
            last = Some(topic);
        }
        let next = match last.filter(|_| named.next().is_some()) {
            Some(last) => Some(IndexPlace { pattern: number, after: Some(last.clone()) }),
            None if number + 1 < selection.patterns().len() => Some(IndexPlace { pattern: number + 1, after: None }),
            None => None,
        };
        (offsets, next)
    }

    /// Returns the topics whose names begin like those that a pattern selects, from a topic on.
    fn named_from(
        &self,
        pattern: &TopicPattern,
        from: Option<&Topic>,
    ) -> impl Iterator<Item = (&Topic, &u64)> + use<'_> {
        let words = pattern.literal_beginning().to_owned();
        // `#` stands for no words, too: then the beginning is the whole topic.
        let whole = if from.is_none() { self.by_topic.get_key_value(words.as_str()) } else { None };
        let beginning = if words.is_empty() { String::new() } else { format!("{words}.") };
        let first = from.map_or(beginning.as_str(), |from| beginning.as_str().max(from.as_str()));
        // A topic has no longer ones.
        let end = if pattern.is_topic() { Bound::Excluded(first) } else { Bound::Unbounded };
        let longer = self.by_topic.range::<str, _>((Bound::Included(first), end));
        whole.into_iter().chain(longer.take_while(move |(topic, _)| topic.as_str().starts_with(&beginning)))
    }

    /// Tells whether no matching topic has an event with this offset or a higher one; `false` if that is not known
    /// here.
    pub(super) fn has_nothing_since(&self, selection: &Selection, offset: u64) -> bool {
        offset >= self.complete_from && self.since(selection, offset, 1).is_some_and(|newer| newer.is_empty())
    }

    /// Tells whether this topic is known to have an event with this offset or a higher one.
    pub(super) fn knows_since(&self, topic: &Topic, offset: u64) -> bool {
        self.by_topic.get(topic).is_some_and(|newest| *newest >= offset)
    }

    /// Forgets events before an offset, and the topics that have no other.
    pub(super) fn trim(&mut self, oldest: u64) {
        while self.by_offset.first_key_value().is_some_and(|(offset, _)| *offset < oldest) {
            self.forget_quietest();
        }
    }

    /// Forgets the topic whose newest event is the oldest, and returns its offset.
    fn forget_quietest(&mut self) -> Option<u64> {
        let (offset, topic) = self.by_offset.pop_first()?;
        self.by_topic.remove(&topic);
        self.units -= units(&topic);
        Some(offset)
    }
}

/// Returns as how many topics one counts.
fn units(topic: &Topic) -> usize {
    topic.as_str().len().div_ceil(UNIT).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Looks through the whole index in parts.
    fn all(index: &TopicIndex, selection: &Selection) -> Vec<u64> {
        let (mut offsets, mut after) = (BTreeSet::new(), None);
        loop {
            let (more, last) = index.part(selection, after.as_ref());
            offsets.extend(more);
            match last {
                Some(last) => after = Some(last),
                None => return offsets.into_iter().collect(),
            }
        }
    }

    #[test]
    fn a_look_compares_no_more_topics_than_it_may() {
        let mut newest = TopicIndex::new(usize::MAX);
        (0..1000).for_each(|n| newest.note(&format!("a.{n}").parse().unwrap(), n));
        let pattern = "#.777".parse().unwrap();
        assert_eq!(newest.since(&pattern, 0, 1), None, "this might take long");
        assert!(!newest.has_nothing_since(&pattern, 500), "nothing is known of it");
        assert_eq!(all(&newest, &pattern), [777]);
        assert_eq!(newest.since(&pattern, 1000 - 10, 1), Some(vec![]), "these are few");
        assert_eq!(newest.since(&"a.7.#".parse().unwrap(), 0, 1), Some(vec![7]), "these, too");
    }

    #[test]
    fn a_pattern_that_could_match_in_countless_ways_costs_no_more() {
        let mut newest = TopicIndex::new(usize::MAX);
        (0..50_000).for_each(|n| newest.note(&format!("a.b.{n}").parse().unwrap(), n));
        // Tried one after the other, these ways would outlast every patience.
        for (pattern, found) in [("#.#", 50_000), ("#.*.*.#", 50_000), ("#.a.#", 50_000), ("#.b.*.*.#", 0)] {
            assert_eq!(all(&newest, &pattern.parse().unwrap()).len(), found, "{pattern}");
        }
    }

    #[test]
    fn a_long_topic_takes_the_place_of_several() {
        let mut newest = TopicIndex::new(8);
        let long = |n: usize| format!("{}.{n}", ["a"; 120].join(".")).parse().unwrap();
        (0..10).for_each(|n| newest.note(&long(n), n as u64));
        assert_eq!(newest.since(&"#".parse().unwrap(), 0, 10), Some(vec![8, 9]), "of 241 bytes each");
        assert_eq!(newest.complete_from(), 8);
        newest.note(&"b".parse().unwrap(), 10);
        assert_eq!(newest.since(&"#".parse().unwrap(), 0, 10), Some(vec![9, 10]));
        newest.trim(11);
        assert_eq!(newest.units, 0);
    }

    const PATTERN: &str = "[ab*](\\.[abc*]){0,4}|([ab*]\\.){0,2}#(\\.[abc*]){0,2}(\\.#)?(\\.[abc*])?";

    proptest! {
        #[test]
        fn it_finds_the_newest_of_each_topic_that_matches(
            topics in prop::collection::vec("[ab](\\.[abc]){0,4}", 1..30),
            selection in prop::collection::vec(PATTERN, 1..4),
            oldest in 0_u64..30,
            most in 1_usize..40,
            since in 0_u64..30,
        ) {
            let topics: Vec<Topic> = topics.iter().map(|topic| topic.parse().unwrap()).collect();
            let selection: Selection = selection.join(",").parse().unwrap();
            let mut newest = TopicIndex::new(most);
            let mut plain = HashMap::new();
            for (offset, topic) in (0..).zip(&topics) {
                newest.note(topic, offset);
                plain.insert(topic, offset);
            }
            prop_assert!(plain.len() <= most || newest.complete_from() > 0);
            newest.trim(oldest);
            let known = oldest.max(newest.complete_from());
            let is_it = |(topic, offset): &(&&Topic, &u64)| selection.matches(topic) && **offset >= known;
            let mut expected: Vec<u64> = plain.iter().filter(is_it).map(|(_, offset)| *offset).collect();
            expected.sort_unstable();
            prop_assert_eq!(&all(&newest, &selection), &expected);
            if let Some(found) = newest.since(&selection, 0, 3) {
                prop_assert_eq!(found, &expected[..expected.len().min(3)]);
            }
            let later: Vec<u64> = expected.iter().copied().filter(|offset| *offset >= since).collect();
            let found = newest.since(&selection, since, usize::MAX);
            prop_assert_eq!(found.as_ref().unwrap_or(&later), &later);
            let quiet = since >= newest.complete_from() && expected.iter().all(|offset| *offset < since);
            // More may have to be compared to know.
            prop_assert!(newest.has_nothing_since(&selection, since) == quiet || (quiet && found.is_none()));
            for (topic, offset) in plain {
                prop_assert_eq!(newest.knows_since(topic, 0), offset >= known);
                prop_assert!(!newest.knows_since(topic, offset + 1));
            }
        }
    }
}
