//! The newest event of each topic, by offset, found by pattern.
//!
//! A tree of words like that of [`events::PatternMap`], the other way round: topics are kept, and a pattern looks. So it also
//! answers whether there is anything new for a pattern without a look at the log.

use std::collections::{HashMap, HashSet};

use events::{Topic, TopicPattern};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Newest {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    next: HashMap<Box<str>, Node>,
    newest: Option<u64>,
}

impl Newest {
    /// Takes note of an event; of those of one topic the highest offset counts.
    pub(super) fn note(&mut self, topic: &Topic, offset: u64) {
        let mut node = &mut self.root;
        for word in topic.as_str().split('.') {
            if !node.next.contains_key(word) {
                node.next.insert(word.into(), Node::default());
            }
            node = match node.next.get_mut(word) {
                Some(next) => next,
                None => unreachable!("it was put there a line ago"),
            };
        }
        node.newest = node.newest.max(Some(offset));
    }

    /// Returns the offsets of the newest events of all matching topics, in order.
    pub(super) fn matching(&self, pattern: &TopicPattern) -> Vec<u64> {
        let words: Vec<&str> = pattern.as_str().split('.').collect();
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        self.root.matching(&words, &mut found, &mut seen);
        found.sort_unstable();
        found
    }

    /// Returns the offset of the newest event of any matching topic.
    pub(super) fn last(&self, pattern: &TopicPattern) -> Option<u64> {
        self.matching(pattern).last().copied()
    }

    /// Forgets events before an offset, and the topics that have no other.
    pub(super) fn trim(&mut self, oldest: u64) {
        self.root.trim(oldest);
    }
}

impl Node {
    fn matching(&self, words: &[&str], found: &mut Vec<u64>, seen: &mut HashSet<(*const Self, usize)>) {
        // With several `#` a place can be reached in many ways, and one is enough.
        if !seen.insert((self, words.len())) {
            return;
        }
        match words {
            [] => found.extend(self.newest),
            ["#", rest @ ..] => {
                self.matching(rest, found, seen);
                self.next.values().for_each(|next| next.matching(words, found, seen));
            }
            ["*", rest @ ..] => self.next.values().for_each(|next| next.matching(rest, found, seen)),
            [word, rest @ ..] => {
                if let Some(next) = self.next.get(*word) {
                    next.matching(rest, found, seen);
                }
            }
        }
    }

    fn trim(&mut self, oldest: u64) {
        self.newest.take_if(|newest| *newest < oldest);
        self.next.retain(|_, next| {
            next.trim(oldest);
            next.newest.is_some() || !next.next.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_finds_the_newest_of_each_topic_that_matches(
            topics in prop::collection::vec("[ab](\\.[abc]){0,4}", 1..30),
            pattern in "[ab*#](\\.[abc*#]){0,4}",
            oldest in 0_u64..30,
        ) {
            let topics: Vec<Topic> = topics.iter().map(|topic| topic.parse().unwrap()).collect();
            let pattern: TopicPattern = pattern.parse().unwrap();
            let mut newest = Newest::default();
            let mut plain = HashMap::new();
            for (offset, topic) in (0..).zip(&topics) {
                newest.note(topic, offset);
                plain.insert(topic, offset);
            }
            newest.trim(oldest);
            let is_it = |(topic, offset): &(&&Topic, &u64)| pattern.matches(topic) && **offset >= oldest;
            let mut expected: Vec<u64> = plain.iter().filter(is_it).map(|(_, offset)| *offset).collect();
            expected.sort_unstable();
            prop_assert_eq!(newest.matching(&pattern), expected);
        }
    }
}
