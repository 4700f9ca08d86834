//! Places in a mailbox.

/// The position of a message in a mailbox: of an event, by its offset in the log, or of a marker, which stands before
/// an event.
///
/// Two numbers an offset, so that positions of both kinds have one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position(u64);

/// The highest offset of a store: there is room for the positions of twice as many, and after them.
pub(super) const MAX_OFFSET: u64 = u64::MAX / 4;

impl Position {
    /// The highest position of a store.
    pub(super) const MAX: Self = Self::of_event(MAX_OFFSET);

    /// Returns the position of the event at an offset.
    pub(super) const fn of_event(offset: u64) -> Self {
        Self(2 * offset + 1)
    }

    /// Returns the position right before the event at an offset: that of a marker there.
    pub(super) const fn before(offset: u64) -> Self {
        Self(2 * offset)
    }

    /// Tells whether it is the position of an event.
    pub(super) const fn is_of_event(self) -> bool {
        self.0 % 2 == 1
    }

    /// Returns the position right after this one.
    pub(super) const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Returns the offset of the first event that does not stand before this position.
    pub(super) const fn offset(self) -> u64 {
        self.0 / 2
    }

    /// Returns the position as a number, for a record or an atomic.
    pub(super) const fn number(self) -> u64 {
        self.0
    }

    /// Takes a number that [`Self::number`] gave.
    pub(super) const fn from_number(number: u64) -> Self {
        Self(number)
    }
}
