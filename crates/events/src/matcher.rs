//! Patterns made ready to be compared with many topics.

use std::collections::HashMap;

use crate::{Selection, Topic, TopicPattern};

/// Selects the same topics as its patterns, by a state machine for each: what a comparison costs grows with the number of
/// patterns and the words of the topic, for any patterns.
#[derive(Debug)]
pub struct Matcher<'a>(Vec<One<'a>>);

/// One pattern.
#[derive(Debug)]
struct One<'a> {
    pattern: &'a TopicPattern,
    states: Option<States<'a>>,
}

/// Sets of positions in a pattern. Position n is before its word n, and the last position is its end.
#[derive(Debug)]
pub(crate) struct States<'a> {
    /// Before which positions each literal word stands.
    literal: HashMap<&'a str, u64>,
    /// The positions before a `*`.
    star: u64,
    /// The positions before a `#`.
    hash: u64,
    end: u64,
}

impl<'a> Matcher<'a> {
    /// Reads a pattern.
    #[must_use]
    pub fn new(pattern: &'a TopicPattern) -> Self {
        Self(vec![One::new(pattern)])
    }

    /// Reads all patterns of a selection.
    #[must_use]
    pub fn of(selection: &'a Selection) -> Self {
        Self(selection.patterns().iter().map(One::new).collect())
    }

    /// Tells whether any of the patterns selects a topic.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        self.0.iter().any(|one| one.matches(topic))
    }
}

impl<'a> One<'a> {
    fn new(pattern: &'a TopicPattern) -> Self {
        Self { pattern, states: States::of(pattern) }
    }

    fn matches(&self, topic: &Topic) -> bool {
        self.states.as_ref().map_or_else(|| self.pattern.matches(topic), |states| states.matches(topic))
    }
}

impl<'a> States<'a> {
    /// Returns nothing for a pattern with more words than a set has room for, which only stored ones have.
    pub(crate) fn of(pattern: &'a TopicPattern) -> Option<Self> {
        let mut words: Vec<&str> = pattern.as_str().split('.').collect();
        // Two in a row select what one does.
        words.dedup_by(|word, before| *word == "#" && *before == "#");
        let end = 1_u64.checked_shl(u32::try_from(words.len()).ok()?)?;
        let mut states = Self { literal: HashMap::new(), star: 0, hash: 0, end };
        for (position, word) in words.into_iter().enumerate() {
            let before = 1 << position;
            match word {
                "*" => states.star |= before,
                "#" => states.hash |= before,
                literal => *states.literal.entry(literal).or_default() |= before,
            }
        }
        Some(states)
    }

    fn matches(&self, topic: &Topic) -> bool {
        let mut at = self.start();
        for word in topic.words() {
            at = self.after(at, Some(word));
            if at == 0 {
                return false;
            }
        }
        self.is_end(at)
    }

    /// Returns the positions before any word came.
    pub(crate) const fn start(&self) -> u64 {
        self.with_skipped(1)
    }

    /// Returns the positions after a word; `None` is a word that the pattern does not name.
    pub(crate) fn after(&self, at: u64, word: Option<&str>) -> u64 {
        let literal = word.and_then(|word| self.literal.get(word).copied()).unwrap_or_default();
        self.with_skipped((at & (self.star | literal)) << 1 | at & self.hash)
    }

    /// Tells whether the words that came are all that the pattern needs.
    pub(crate) const fn is_end(&self, at: u64) -> bool {
        at & self.end != 0
    }

    /// Tells whether the pattern takes whatever words come from now on: its last word is a `#`, and was reached.
    pub(crate) const fn takes_all_after(&self, at: u64) -> bool {
        at & self.hash & (self.end >> 1) != 0
    }

    /// Adds the positions that are reached by taking a `#` for no word.
    const fn with_skipped(&self, at: u64) -> u64 {
        at | (at & self.hash) << 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stored_pattern_of_any_length_is_compared_too() {
        let words = ["a"; 128].join(".");
        let pattern = TopicPattern::from_stored(&words).unwrap();
        assert!(Matcher::new(&pattern).matches(&words.parse().unwrap()));
        assert!(!Matcher::new(&pattern).matches(&["a"; 127].join(".").parse().unwrap()));
    }

    proptest! {
        #[test]
        fn it_selects_what_its_pattern_selects(
            pattern in "[ab*#](\\.[ab*#]){0,6}",
            topics in prop::collection::vec("[abc](\\.[abc]){0,8}", 1..20),
        ) {
            let pattern = TopicPattern::from_stored(&pattern).unwrap();
            let matcher = Matcher::new(&pattern);
            for topic in topics {
                let topic: Topic = topic.parse().unwrap();
                prop_assert_eq!(matcher.matches(&topic), pattern.matches(&topic), "{} {}", pattern, topic);
            }
        }
    }
}
