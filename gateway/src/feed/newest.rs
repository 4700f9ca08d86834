//! The newest event of each topic, by offset, found by pattern.
//!
//! A tree of words like that of [`events::PatternMap`], the other way round: topics are kept, and a pattern looks. So it also
//! answers whether there is anything new for a pattern without a look at the log.
//!
//! It holds a bounded number of topics. When there are more, it forgets those that have been quiet for longest, and knows from
//! which offset on it is complete; what is older has to be looked up in the log.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use events::{Topic, TopicPattern};

/// See the module.
#[derive(Debug)]
pub(super) struct Newest {
    most: usize,
    root: Node,
    by_offset: BTreeMap<u64, Topic>,
    complete_from: u64,
}

/// A word of topics: what comes behind it, and the newest event of the topic that ends here.
#[derive(Debug, Default)]
struct Node {
    next: HashMap<Box<str>, Node>,
    newest: Option<u64>,
    /// The newest event here or anywhere behind.
    newest_behind: u64,
}

impl Newest {
    /// Makes an empty index of at most so many topics.
    pub(super) fn new(most: usize) -> Self {
        Self { most, root: Node::default(), by_offset: BTreeMap::new(), complete_from: 0 }
    }

    /// Takes note of an event, which must be newer than all before.
    pub(super) fn note(&mut self, topic: &Topic, offset: u64) {
        let mut node = &mut self.root;
        node.newest_behind = offset;
        for word in topic.as_str().split('.') {
            if !node.next.contains_key(word) {
                node.next.insert(word.into(), Node::default());
            }
            node = match node.next.get_mut(word) {
                Some(next) => next,
                None => unreachable!("it was put there a line ago"),
            };
            node.newest_behind = offset;
        }
        let known = node.newest.replace(offset).and_then(|before| self.by_offset.remove(&before));
        self.by_offset.insert(offset, known.unwrap_or_else(|| topic.clone()));
        if self.by_offset.len() > self.most {
            let forgotten = self.forget_quietest().unwrap_or(offset);
            self.miss_before(forgotten + 1);
        }
    }

    /// Takes note that before an offset there may be newer events than those it knows.
    pub(super) fn miss_before(&mut self, offset: u64) {
        self.complete_from = self.complete_from.max(offset);
    }

    /// Every topic whose newest event has this offset or a higher one is here.
    pub(super) const fn complete_from(&self) -> u64 {
        self.complete_from
    }

    /// Returns the offset of the newest event of all.
    pub(super) fn last(&self) -> Option<u64> {
        self.by_offset.last_key_value().map(|(offset, _)| *offset)
    }

    /// Returns the offsets of the newest events of matching topics, from an offset on and in order; of too many the oldest
    /// `most`.
    pub(super) fn since(&self, pattern: &TopicPattern, offset: u64, most: usize) -> Vec<u64> {
        if pattern.as_str() == "#" {
            return self.by_offset.range(offset..).map(|(offset, _)| *offset).take(most).collect();
        }
        let mut oldest = BTreeSet::new();
        self.walk(pattern, offset, &mut |offset| {
            oldest.insert(offset);
            if oldest.len() > most {
                oldest.pop_last();
            }
            true
        });
        oldest.into_iter().collect()
    }

    /// Tells whether no matching topic has an event with this offset or a higher one; `false` if that is not known here.
    pub(super) fn is_quiet_since(&self, pattern: &TopicPattern, offset: u64) -> bool {
        let mut quiet = offset >= self.complete_from;
        if quiet {
            self.walk(pattern, offset, &mut |_| {
                quiet = false;
                false
            });
        }
        quiet
    }

    /// Tells whether this topic is known to have an event with this offset or a higher one.
    pub(super) fn knows_since(&self, topic: &Topic, offset: u64) -> bool {
        let node = topic.as_str().split('.').try_fold(&self.root, |node, word| node.next.get(word));
        node.and_then(|node| node.newest).is_some_and(|newest| newest >= offset)
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
        let words: Vec<&str> = topic.as_str().split('.').collect();
        self.root.forget(&words);
        Some(offset)
    }

    /// Shows the offset of every matching topic that has one from `since` on, in no order, until `found` has enough.
    fn walk(&self, pattern: &TopicPattern, since: u64, found: &mut dyn FnMut(u64) -> bool) {
        let mut words: Vec<&str> = pattern.as_str().split('.').collect();
        words.dedup_by(|word, before| *word == "#" && *before == "#");
        let mut walk = Walk { words, since, found };
        let mut active = Vec::new();
        walk.enter(0, &mut active);
        self.root.walk(&active, &mut walk);
    }
}

/// A walk through the tree, like that of a state machine: with several `#` a place can be reached in many ways, but it is
/// visited once, with all that may come behind it.
struct Walk<'a> {
    words: Vec<&'a str>,
    since: u64,
    found: &'a mut dyn FnMut(u64) -> bool,
}

impl Walk<'_> {
    /// Adds a word of the pattern to those that may come next, and those that a `#` lets come as well; in ascending order.
    fn enter(&self, at: usize, active: &mut Vec<usize>) {
        if active.last().is_some_and(|last| *last >= at) {
            return;
        }
        active.push(at);
        if self.words.get(at) == Some(&"#") {
            self.enter(at + 1, active);
        }
    }

    /// Returns which words of the pattern may come behind this one.
    fn step(&self, active: &[usize], word: &str) -> Vec<usize> {
        let mut next = Vec::with_capacity(active.len() + 1);
        for at in active {
            match self.words.get(*at) {
                Some(&"#") => self.enter(*at, &mut next),
                Some(wanted) if *wanted == "*" || *wanted == word => self.enter(at + 1, &mut next),
                _ => {}
            }
        }
        next
    }
}

impl Node {
    /// Returns whether to go on.
    fn walk(&self, active: &[usize], walk: &mut Walk<'_>) -> bool {
        if active.is_empty() || self.newest_behind < walk.since {
            return true;
        }
        let is_match = active.last() == Some(&walk.words.len());
        if is_match && !self.newest.is_none_or(|newest| newest < walk.since || (walk.found)(newest)) {
            return false;
        }
        // Without a `#` there is one way to come here.
        if let [at] = active
            && let Some(word) = walk.words.get(*at).copied().filter(|word| !matches!(*word, "*" | "#"))
        {
            return self.next.get(word).is_none_or(|next| next.walk(&walk.step(active, word), walk));
        }
        self.next.iter().all(|(word, next)| next.walk(&walk.step(active, word), walk))
    }

    fn forget(&mut self, words: &[&str]) {
        let Some((word, rest)) = words.split_first() else {
            self.newest = None;
            return;
        };
        if let Some(next) = self.next.get_mut(*word) {
            next.forget(rest);
            if next.newest.is_none() && next.next.is_empty() {
                self.next.remove(*word);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pattern_that_could_match_in_countless_ways_costs_no_more() {
        let mut newest = Newest::new(usize::MAX);
        (0..50_000).for_each(|n| newest.note(&format!("a.b.{n}").parse().unwrap(), n));
        // Tried one after the other, these ways would outlast every patience.
        for (pattern, found) in [("#.#", 100), ("#.*.*.#", 100), ("#.a.#", 100), ("#.b.*.*.#", 0)] {
            assert_eq!(newest.since(&pattern.parse().unwrap(), 0, 100).len(), found, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn it_finds_the_newest_of_each_topic_that_matches(
            topics in prop::collection::vec("[ab](\\.[abc]){0,4}", 1..30),
            pattern in "[ab*](\\.[abc*]){0,4}|([ab*]\\.){0,2}#(\\.[abc*]){0,2}(\\.#)?(\\.[abc*])?",
            oldest in 0_u64..30,
            most in 1_usize..40,
            since in 0_u64..30,
        ) {
            let topics: Vec<Topic> = topics.iter().map(|topic| topic.parse().unwrap()).collect();
            let pattern: TopicPattern = pattern.parse().unwrap();
            let mut newest = Newest::new(most);
            let mut plain = HashMap::new();
            for (offset, topic) in (0..).zip(&topics) {
                newest.note(topic, offset);
                plain.insert(topic, offset);
            }
            prop_assert!(plain.len() <= most || newest.complete_from() > 0);
            newest.trim(oldest);
            let known = oldest.max(newest.complete_from());
            let is_it = |(topic, offset): &(&&Topic, &u64)| pattern.matches(topic) && **offset >= known;
            let mut expected: Vec<u64> = plain.iter().filter(is_it).map(|(_, offset)| *offset).collect();
            expected.sort_unstable();
            prop_assert_eq!(newest.since(&pattern, 0, 3), &expected[..expected.len().min(3)]);
            let later: Vec<u64> = expected.iter().copied().filter(|offset| *offset >= since).collect();
            prop_assert_eq!(newest.since(&pattern, since, usize::MAX), later);
            let quiet = since >= newest.complete_from() && expected.iter().all(|offset| *offset < since);
            prop_assert_eq!(newest.is_quiet_since(&pattern, since), quiet);
            for (topic, offset) in plain {
                prop_assert_eq!(newest.knows_since(topic, 0), offset >= known);
                prop_assert!(!newest.knows_since(topic, offset + 1));
            }
            prop_assert_eq!(newest.since(&pattern, 0, usize::MAX), expected);
        }
    }
}
