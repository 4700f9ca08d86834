//! Values by [`TopicPattern`], found by [`Topic`].
//!
//! A tree of words, walked like a state machine: what a lookup costs grows with the words of the topic and with the patterns
//! that match or nearly match, not with the number of patterns, and no pattern makes it try anything twice.

use std::collections::{HashMap, HashSet};

use crate::{Topic, TopicPattern};

/// See the module. One pattern can have any number of values.
#[derive(Debug, Clone)]
pub struct PatternMap<V> {
    root: Node<V>,
}

#[derive(Debug, Clone)]
struct Node<V> {
    /// What follows, by word; the wildcards are words here.
    next: HashMap<Box<str>, Node<V>>,
    /// It stands for a `#`, so it stays where it is whatever word comes.
    any: bool,
    values: Vec<V>,
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self { next: HashMap::new(), any: false, values: Vec::new() }
    }
}

impl<V> Default for PatternMap<V> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<V> PatternMap<V> {
    /// Adds a value under a pattern, besides those that it has.
    pub fn insert(&mut self, pattern: &TopicPattern, value: V) {
        let mut node = &mut self.root;
        for word in pattern.as_str().split('.') {
            node = node.next.entry(word.into()).or_default();
            node.any = word == "#";
        }
        node.values.push(value);
    }

    /// Removes the values of a pattern for which `is_it` says so.
    pub fn remove(&mut self, pattern: &TopicPattern, is_it: impl Fn(&V) -> bool) {
        let words: Vec<&str> = pattern.as_str().split('.').collect();
        self.root.remove(&words, &is_it);
    }

    /// Calls `found` once with every value whose pattern matches the topic.
    pub fn matching<'a>(&'a self, topic: &Topic, found: impl FnMut(&'a V)) {
        let mut active = Vec::new();
        self.root.enter(&mut active);
        for word in topic.as_str().split('.') {
            let mut next = Vec::with_capacity(active.len() + 2);
            for node in active {
                if node.any {
                    node.enter(&mut next);
                }
                [node.next.get(word), node.next.get("*")].into_iter().flatten().for_each(|node| node.enter(&mut next));
            }
            active = next;
        }
        active.into_iter().flat_map(|node| &node.values).for_each(found);
    }

    /// Removes and returns every value whose pattern matches the topic.
    pub fn take_matching(&mut self, topic: &Topic) -> Vec<V> {
        let words: Vec<&str> = topic.as_str().split('.').collect();
        let (mut taken, mut seen) = (Vec::new(), HashSet::new());
        self.root.take_matching(&words, &mut taken, &mut seen);
        taken
    }

    /// Returns all values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &V> {
        let mut nodes = vec![&self.root];
        std::iter::from_fn(move || {
            let node = nodes.pop()?;
            nodes.extend(node.next.values());
            Some(node.values.iter())
        })
        .flatten()
    }

    /// Tells whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

impl<V> Node<V> {
    fn is_empty(&self) -> bool {
        self.next.is_empty() && self.values.is_empty()
    }

    fn remove(&mut self, words: &[&str], is_it: &impl Fn(&V) -> bool) {
        let Some((word, rest)) = words.split_first() else {
            self.values.retain(|value| !is_it(value));
            return;
        };
        if let Some(next) = self.next.get_mut(*word) {
            next.remove(rest, is_it);
            if next.is_empty() {
                self.next.remove(*word);
            }
        }
    }

    fn take_matching(&mut self, words: &[&str], taken: &mut Vec<V>, seen: &mut HashSet<(*const Self, usize)>) {
        // With several `#` a node can be reached in many ways, and one is enough.
        if !seen.insert((self, words.len())) {
            return;
        }
        if let Some(any) = self.next.get_mut("#") {
            (0..=words.len()).for_each(|skipped| any.take_matching(&words[skipped..], taken, seen));
        }
        match words {
            [] => taken.append(&mut self.values),
            [word, rest @ ..] => {
                for word in [*word, "*"] {
                    if let Some(next) = self.next.get_mut(word) {
                        next.take_matching(rest, taken, seen);
                    }
                }
            }
        }
        let first = words.first().copied().unwrap_or_default();
        for word in ["#", "*", first] {
            if self.next.get(word).is_some_and(Self::is_empty) {
                self.next.remove(word);
            }
        }
    }

    /// Adds itself, and what a `#` behind it reaches without a word. Only a `#` can be there already: it stays, and is
    /// reached again from the node before it.
    fn enter<'a>(&'a self, active: &mut Vec<&'a Self>) {
        if self.any && active.iter().any(|node| std::ptr::eq(*node, self)) {
            return;
        }
        active.push(self);
        if let Some(any) = self.next.get("#") {
            any.enter(active);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn found(map: &PatternMap<usize>, topic: &Topic) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        map.matching(topic, |value| assert!(found.insert(*value), "{value} was found twice"));
        found
    }

    #[test]
    fn a_pattern_that_could_match_in_countless_ways_costs_no_more() {
        let mut map = PatternMap::default();
        map.insert(&["#.a"; 60].join(".").parse().unwrap(), 1);
        assert_eq!(found(&map, &["a"; 127].join(".").parse().unwrap()), [1].into());
        assert_eq!(found(&map, &["b"; 127].join(".").parse().unwrap()), BTreeSet::new());
    }

    proptest! {
        #[test]
        fn it_finds_what_matches_and_nothing_else(
            patterns in prop::collection::vec("[ab*#](\\.[ab*#]){0,4}", 0..20),
            topics in prop::collection::vec("[abc](\\.[abc]){0,5}", 1..20),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let mut patterns: Vec<Option<TopicPattern>> = patterns.iter().map(|text| text.parse().ok()).collect();
            let mut map = PatternMap::default();
            for (value, pattern) in patterns.iter().enumerate() {
                map.insert(pattern.as_ref().unwrap(), value);
            }
            for index in removed {
                let at = index.index(20);
                if let Some(pattern) = patterns.get_mut(at).and_then(Option::take) {
                    map.remove(&pattern, |value| *value == at);
                }
            }
            for topic in topics {
                let topic = topic.parse().unwrap();
                let expected = patterns.iter().enumerate().filter(|(_, pattern)| {
                    pattern.as_ref().is_some_and(|pattern| pattern.matches(&topic))
                });
                let expected: BTreeSet<usize> = expected.map(|(value, _)| value).collect();
                prop_assert_eq!(&found(&map, &topic), &expected);
                let mut rest = map.clone();
                let taken = rest.take_matching(&topic);
                prop_assert_eq!(taken.len(), expected.len());
                prop_assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), expected);
                prop_assert_eq!(found(&rest, &topic), BTreeSet::new());
            }
            for (at, pattern) in patterns.iter().enumerate() {
                if let Some(pattern) = pattern {
                    map.remove(pattern, |value| *value == at);
                }
            }
            prop_assert!(map.is_empty());
        }
    }
}
