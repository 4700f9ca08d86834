//! Values by [`TopicPattern`], found by [`Topic`].
//!
//! A tree of words, walked like a state machine: what a lookup costs grows with the words of the topic, times the nodes
//! of patterns that match or nearly match, not with the number of patterns, and no pattern makes it try anything twice.

use std::collections::{HashMap, HashSet};

use crate::{Topic, TopicPattern};

/// Finds the values whose patterns match a topic. One pattern can have any number of values.
#[derive(Debug, Clone)]
pub struct PatternMap<V> {
    root: Node<V>,
}

#[derive(Debug, Clone)]
struct Node<V> {
    /// The wildcards are words here.
    next: Next<V>,
    values: Vec<V>,
}

/// The nodes after one, by word. Most patterns share no word but their first ones, and a map for each word of each
/// pattern would take a hundred times what the words take.
#[derive(Debug, Clone)]
enum Next<V> {
    None,
    One(Box<(Box<str>, Node<V>)>),
    Many(HashMap<Box<str>, Node<V>>),
}

impl<V> Next<V> {
    fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::One(_) => false,
            Self::Many(nodes) => nodes.is_empty(),
        }
    }

    fn get(&self, word: &str) -> Option<&Node<V>> {
        match self {
            Self::None => None,
            Self::One(next) => (*next.0 == *word).then_some(&next.1),
            Self::Many(nodes) => nodes.get(word),
        }
    }

    fn get_mut(&mut self, word: &str) -> Option<&mut Node<V>> {
        match self {
            Self::None => None,
            Self::One(next) => (*next.0 == *word).then_some(&mut next.1),
            Self::Many(nodes) => nodes.get_mut(word),
        }
    }

    fn get_or_insert(&mut self, word: &str) -> &mut Node<V> {
        let is_other = matches!(self, Self::One(next) if *next.0 != *word);
        if is_other && let Self::One(next) = std::mem::replace(self, Self::None) {
            *self = Self::Many(HashMap::from([*next]));
        }
        if matches!(self, Self::None) {
            *self = Self::One(Box::new((word.into(), Node::default())));
        }
        match self {
            Self::None => unreachable!("a node was put there a line ago"),
            Self::One(next) => &mut next.1,
            Self::Many(nodes) => nodes.entry(word.into()).or_default(),
        }
    }

    fn remove(&mut self, word: &str) {
        match self {
            Self::Many(nodes) if nodes.len() > 1 => drop(nodes.remove(word)),
            _ if self.get(word).is_some() => *self = Self::None,
            _ => {}
        }
    }

    fn nodes(&self) -> impl Iterator<Item = &Node<V>> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(next) => (Some(&next.1), None),
            Self::Many(nodes) => (None, Some(nodes.values())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self { next: Next::None, values: Vec::new() }
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
            node = node.next.get_or_insert(word);
        }
        node.values.push(value);
    }

    /// Removes the values of a pattern for which `predicate` says so.
    pub fn remove(&mut self, pattern: &TopicPattern, predicate: impl Fn(&V) -> bool) {
        let words: Vec<&str> = pattern.as_str().split('.').collect();
        self.root.remove(&words, &predicate);
    }

    /// Calls `found` once with every value whose pattern matches the topic.
    pub fn matching<'a>(&'a self, topic: &Topic, found: impl FnMut(&'a V)) {
        self.matching_in_steps(topic, found, |_| {});
    }

    /// Does what [`Self::matching`] does, and tells how many nodes it has come to with each word.
    pub(crate) fn matching_in_steps<'a>(
        &'a self,
        topic: &Topic,
        found: impl FnMut(&'a V),
        mut steps: impl FnMut(usize),
    ) {
        let mut walk = Walk::default();
        walk.enter(&self.root);
        for word in topic.words() {
            walk.step(word);
            steps(walk.staying.len() + walk.passing.len());
        }
        walk.staying.into_iter().chain(walk.passing).flat_map(|node| &node.values).for_each(found);
    }

    /// Removes and returns every value whose pattern matches the topic.
    pub fn take_matching(&mut self, topic: &Topic) -> Vec<V> {
        let words: Vec<&str> = topic.words().collect();
        let (mut taken, mut seen) = (Vec::new(), HashSet::new());
        self.root.take_matching(&words, &mut taken, &mut seen);
        taken
    }

    /// Returns all values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &V> {
        let mut nodes = vec![&self.root];
        std::iter::from_fn(move || {
            let node = nodes.pop()?;
            nodes.extend(node.next.nodes());
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

    fn remove(&mut self, words: &[&str], predicate: &impl Fn(&V) -> bool) {
        let Some((word, rest)) = words.split_first() else {
            self.values.retain(|value| !predicate(value));
            return;
        };
        if let Some(next) = self.next.get_mut(word) {
            next.remove(rest, predicate);
            if next.is_empty() {
                self.next.remove(word);
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
}

/// The nodes that a lookup has come to.
#[derive(Debug)]
struct Walk<'a, V> {
    /// Those of a `#`: whatever word comes, they stay.
    staying: Vec<&'a Node<V>>,
    /// The same, as addresses: a `#` is entered again from the node before it.
    entered: HashSet<*const Node<V>>,
    /// All others. Each is reached from one node only, so none is here twice.
    passing: Vec<&'a Node<V>>,
}

impl<V> Default for Walk<'_, V> {
    fn default() -> Self {
        Self { staying: Vec::new(), entered: HashSet::new(), passing: Vec::new() }
    }
}

impl<'a, V> Walk<'a, V> {
    /// Adds a node of a word, and what each `#` after it reaches without a word.
    fn enter(&mut self, node: &'a Node<V>) {
        self.passing.push(node);
        let mut next = node.next.get("#");
        while let Some(any) = next.filter(|any| self.entered.insert(*any)) {
            self.staying.push(any);
            next = any.next.get("#");
        }
    }

    fn step(&mut self, word: &str) {
        let passed = std::mem::take(&mut self.passing);
        // What is entered meanwhile takes part from the next word on.
        let stayed = self.staying.len();
        for at in 0..stayed + passed.len() {
            let node = if at < stayed { self.staying[at] } else { passed[at - stayed] };
            for word in [word, "*"] {
                if let Some(next) = node.next.get(word) {
                    self.enter(next);
                }
            }
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
    fn a_lookup_costs_as_many_steps_as_it_has_come_to_nodes() {
        let mut map = PatternMap::default();
        // Each `#` is reached by the topic, and stays to its end.
        let mut patterns = vec![String::new()];
        for _ in 0..12 {
            patterns = patterns.iter().flat_map(|head| [format!("{head}a."), format!("{head}*.")]).collect();
        }
        for (value, head) in patterns.iter().enumerate() {
            map.insert(&format!("{head}#.b.#").parse().unwrap(), value);
        }
        let mut walk = Walk::default();
        walk.enter(&map.root);
        for word in ["a"; 127] {
            walk.step(word);
            assert!(walk.staying.len() + walk.passing.len() <= 2 * 4096, "two for each pattern at most");
        }
        // With all that was entered before looked through at each step, these lookups would outlast every patience.
        for _ in 0..20 {
            assert_eq!(found(&map, &["a"; 127].join(".").parse().unwrap()), BTreeSet::new());
        }
        assert_eq!(found(&map, &format!("{}.b", ["a"; 126].join(".")).parse().unwrap()).len(), 4096);
    }

    proptest! {
        #[test]
        fn it_finds_what_matches_and_nothing_else(
            patterns in prop::collection::vec("[ab*#](\\.[ab*#]){0,4}", 0..20),
            topics in prop::collection::vec("[abc](\\.[abc]){0,5}", 1..20),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            // Some have too many `#`.
            let mut patterns: Vec<Option<TopicPattern>> = patterns.iter().map(|text| text.parse().ok()).collect();
            let mut map = PatternMap::default();
            for (value, pattern) in patterns.iter().enumerate() {
                if let Some(pattern) = pattern {
                    map.insert(pattern, value);
                }
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
