//! Which of several addresses is used.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The address in use, of so many. One that works is kept; one that fails gives way to the next.
///
/// Addresses are numbers from 0. When to try, and how long to wait after a whole round, is the caller's.
#[derive(Debug)]
pub struct Rotation {
    count: usize,
    current: AtomicUsize,
}

impl Rotation {
    /// Begins at one of `count` addresses: at the remainder of `start`, which may be random.
    #[must_use]
    pub const fn new(count: usize, start: usize) -> Self {
        Self { count, current: AtomicUsize::new(if count == 0 { 0 } else { start % count }) }
    }

    /// Returns every address once, in the order in which they are to be tried: the one in use first.
    pub fn round(&self) -> impl Iterator<Item = usize> + use<> {
        let (count, start) = (self.count, self.current.load(Ordering::Relaxed));
        (0..count).map(move |step| (start + step) % count)
    }

    /// Keeps an address that works.
    pub fn stay(&self, at: usize) {
        self.current.store(at, Ordering::Relaxed);
    }

    /// Gives up an address, for the next one, if it is still in use: several connections can be lost with one address.
    pub fn leave(&self, at: usize) {
        let next = (at + 1) % self.count.max(1);
        let _ = self.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(rotation: &Rotation) -> Vec<usize> {
        rotation.round().collect()
    }

    #[test]
    fn a_round_has_each_address_once_and_begins_where_it_is() {
        assert_eq!(round(&Rotation::new(3, 4)), [1, 2, 0]);
        assert_eq!(round(&Rotation::new(1, usize::MAX)), [0]);
        assert_eq!(round(&Rotation::new(0, 7)), [0; 0]);
        let rotation = Rotation::new(3, 0);
        rotation.stay(2);
        assert_eq!(round(&rotation), [2, 0, 1]);
    }

    #[test]
    fn what_is_lost_with_one_address_leaves_it_once() {
        let rotation = Rotation::new(3, 2);
        rotation.leave(2);
        rotation.leave(2);
        assert_eq!(round(&rotation), [0, 1, 2]);
        let only = Rotation::new(1, 0);
        only.leave(0);
        assert_eq!(round(&only), [0]);
    }
}
