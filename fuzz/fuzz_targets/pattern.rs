//! Patterns and topics: what is taken, and what selects what, by a reference that is obviously right.
//!
//! An input is text: a pattern a line, an empty line, a topic a line.

#![no_main]

use std::collections::BTreeSet;

use events::{
    Matcher, PatternMap, Topic, TopicPattern, covers,
    fuzzing::{nodes_of_lookup, steps_of_match},
};
use libfuzzer_sys::fuzz_target;

/// The most lines of either kind that are looked at.
const MAX_LINES: usize = 24;

fn words(text: &str) -> Vec<&str> {
    text.split('.').collect()
}

fn is_word(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|char| char.is_ascii_alphanumeric() || char == '_' || char == '-')
}

fn is_topic(text: &str) -> bool {
    text.len() <= 255 && words(text).into_iter().all(is_word)
}

fn is_stored_pattern(text: &str) -> bool {
    text.len() <= 255 && words(text).into_iter().all(|word| is_word(word) || word == "*" || word == "#")
}

fn is_pattern(text: &str) -> bool {
    let words = words(text);
    is_stored_pattern(text) && words.len() <= 32 && words.iter().filter(|word| **word == "#").count() <= 2
}

/// Tells for every pair of ends whether the words from there on match, from the last ones backwards.
fn selects(pattern: &str, topic: &str) -> bool {
    let (pattern, topic) = (words(pattern), words(topic));
    let mut matches = vec![vec![false; topic.len() + 1]; pattern.len() + 1];
    matches[pattern.len()][topic.len()] = true;
    for i in (0..pattern.len()).rev() {
        for j in (0..=topic.len()).rev() {
            matches[i][j] = match pattern[i] {
                "#" => matches[i + 1][j] || (j < topic.len() && matches[i][j + 1]),
                word => j < topic.len() && (word == "*" || word == topic[j]) && matches[i + 1][j + 1],
            };
        }
    }
    matches[0][0]
}

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.split('\n');
    let mut patterns = Vec::new();
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        assert_eq!(line.parse::<TopicPattern>().is_ok(), is_pattern(line), "{line:?}");
        let pattern = TopicPattern::from_stored(line);
        assert_eq!(pattern.is_ok(), is_stored_pattern(line), "{line:?}");
        if let Ok(pattern) = pattern
            && patterns.len() < MAX_LINES
        {
            assert_eq!((pattern.as_str(), pattern.is_topic()), (line, is_topic(line)));
            patterns.push(pattern);
        }
    }
    let mut map = PatternMap::default();
    patterns.iter().enumerate().for_each(|(value, pattern)| map.insert(pattern, value));
    let matchers: Vec<Matcher> = patterns.iter().map(Matcher::new).collect();
    let without = |value: usize| [&patterns[..value], &patterns[value + 1..]].concat();
    let covered: Vec<bool> = (0..patterns.len()).map(|value| covers(&without(value), &patterns[value])).collect();
    let nodes: usize = 1 + patterns.iter().map(|pattern| words(pattern.as_str()).len()).sum::<usize>();
    for line in lines.take(MAX_LINES) {
        let topic = line.parse::<Topic>();
        assert_eq!(topic.is_ok(), is_topic(line), "{line:?}");
        let Ok(topic) = topic else { continue };
        let mut selecting = BTreeSet::new();
        for (value, pattern) in patterns.iter().enumerate() {
            let selected = selects(pattern.as_str(), line);
            assert_eq!(pattern.matches(&topic), selected, "{pattern} {topic}");
            assert_eq!(matchers[value].matches(&topic), selected, "{pattern} {topic}, by its matcher");
            let all = (words(pattern.as_str()).len() + 1) * (words(line).len() + 1);
            let steps = steps_of_match(pattern, &topic);
            assert!(steps <= all, "{pattern} {topic}: {steps} steps for {all} pairs of words");
            if selected {
                selecting.insert(value);
            }
        }
        let mut found = BTreeSet::new();
        map.matching(&topic, |value| assert!(found.insert(*value), "{topic}: {value} is found twice"));
        assert_eq!(found, selecting, "{topic}: {patterns:?}");
        assert!(nodes_of_lookup(&map, &topic) <= nodes, "{topic}: {patterns:?}");
        let mut rest = map.clone();
        let taken = rest.take_matching(&topic);
        assert_eq!((taken.len(), taken.into_iter().collect::<BTreeSet<_>>()), (selecting.len(), selecting.clone()));
        let left: BTreeSet<usize> = rest.iter().copied().collect();
        assert_eq!(left.len() + selecting.len(), patterns.len(), "{topic}: {patterns:?}");
        assert!(left.is_disjoint(&selecting));
        for one in &selecting {
            assert!(!covered[*one] || selecting.len() > 1, "{patterns:?} cover {}, and not {topic}", patterns[*one]);
            for other in &selecting {
                let (one, other) = (&patterns[*one], &patterns[*other]);
                assert!(one.intersects(other), "{one} and {other} share {topic}");
            }
        }
    }
    for (value, pattern) in patterns.iter().enumerate() {
        map.remove(pattern, |found| *found == value);
    }
    assert!(map.is_empty(), "{patterns:?}");
});
