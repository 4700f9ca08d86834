//! A bounded memory of many keys.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

/// Remembers a value of each key, and forgets the oldest ones when there are too many: at least the newest half of what
/// has room is there.
#[derive(Debug)]
pub struct Remembered<K, V> {
    newer: HashMap<K, V>,
    older: HashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash, V> Remembered<K, V> {
    /// Makes an empty memory for so many values.
    #[must_use]
    pub fn new(room: usize) -> Self {
        Self { newer: HashMap::new(), older: HashMap::new(), half: room.div_ceil(2) }
    }

    /// Takes the place of what was remembered before.
    pub fn insert(&mut self, key: K, value: V) {
        self.older.remove(&key);
        if self.newer.len() >= self.half && !self.newer.contains_key(&key) {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(key, value);
    }

    /// Returns what is remembered.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.newer.get(key).or_else(|| self.older.get(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_there_and_no_more_than_there_is_room_for() {
        let mut remembered = Remembered::new(10);
        for key in 0..1000 {
            remembered.insert(key, key);
            let kept: Vec<u32> = (0..1000).filter(|key| remembered.get(key).is_some()).collect();
            assert!(kept.len() <= 10, "{kept:?}");
            let newest = key.saturating_sub(4)..=key;
            assert!(newest.clone().all(|key| remembered.get(&key) == Some(&key)), "{newest:?} of {kept:?}");
        }
    }

    #[test]
    fn a_newer_value_takes_the_place_of_the_last() {
        let mut remembered = Remembered::new(2);
        for (key, value) in [("a", 1), ("b", 2), ("a", 3), ("b", 4), ("b", 5)] {
            remembered.insert(key, value);
            assert_eq!(remembered.get(key), Some(&value));
        }
        assert_eq!(remembered.get("a"), Some(&3));
    }
}
