//! What fuzz targets (`fuzz/`) see besides the public interface: how many steps a comparison takes.

use crate::{PatternMap, Topic, TopicPattern};

/// Returns how many steps the comparison of a pattern with a topic takes.
#[must_use]
pub fn steps_of_match(pattern: &TopicPattern, topic: &Topic) -> usize {
    let mut steps = 0;
    pattern.matches_in_steps(topic, || steps += 1);
    steps
}

/// Returns how many nodes of the tree a lookup has come to at most, with any of its words.
#[must_use]
pub fn nodes_of_lookup<V>(map: &PatternMap<V>, topic: &Topic) -> usize {
    let mut most = 0;
    map.matching_in_steps(topic, |_| {}, |nodes| most = most.max(nodes));
    most
}
