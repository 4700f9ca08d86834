//! How many events a gateway takes in one go, as far as that is known.

use std::cell::Cell;

/// The most events of a batch.
const MAX: usize = 1000;

/// What was learned of a gateway. It is asked for as much as it may take: half as much after something in a batch was
/// refused, because the others of that batch have to be sent again, and twice as much again when all goes well.
#[derive(Debug)]
pub(super) struct BatchSize {
    /// `None`: it takes no batches.
    max: Cell<Option<usize>>,
    /// More than that is too much.
    ceiling: Cell<usize>,
}

impl Default for BatchSize {
    fn default() -> Self {
        Self { max: Cell::new(Some(MAX)), ceiling: Cell::new(MAX) }
    }
}

impl BatchSize {
    /// Returns how many events to send in one go; `None` if there are no batches.
    pub(super) fn max(&self) -> Option<usize> {
        self.max.get()
    }

    /// An older gateway has no place for them.
    pub(super) fn no_batches(&self) {
        self.max.set(None);
    }

    /// So many were too much.
    pub(super) fn too_large(&self, count: usize) {
        self.ceiling.set((count / 2).max(1));
        self.refused(count);
    }

    /// Something was refused in a batch of so many.
    pub(super) fn refused(&self, count: usize) {
        self.set((count / 2).max(1));
    }

    /// Nothing was refused.
    pub(super) fn settled(&self) {
        if let Some(max) = self.max.get() {
            self.set(2 * max);
        }
    }

    fn set(&self, max: usize) {
        if self.max.get().is_some() {
            self.max.set(Some(max.min(self.ceiling.get())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_shrinks_when_something_is_refused_and_grows_again_but_not_beyond_what_is_too_much() {
        let size = BatchSize::default();
        let after = |step: &dyn Fn(&BatchSize)| {
            step(&size);
            size.max()
        };
        assert_eq!(after(&|size| size.settled()), Some(1000));
        assert_eq!(after(&|size| size.refused(100)), Some(50));
        assert_eq!(after(&|size| size.settled()), Some(100));
        assert_eq!(after(&|size| size.refused(1)), Some(1));
        assert_eq!(after(&|size| size.too_large(300)), Some(150));
        assert_eq!(after(&|size| size.settled()), Some(150));
        assert_eq!(after(&|size| size.too_large(1)), Some(1));
        assert_eq!(after(&|size| size.no_batches()), None);
        assert_eq!(after(&|size| size.settled()), None);
    }
}
