//! The bytes that are on their way: events of publishers that are not stored yet, and answers that clients have not taken yet.
//!
//! How long they stay is the clients' choice, so both are bounded, each by itself: readers that take nothing keep no publisher
//! out. Room for an event is taken as its bytes come, not as they are announced. An answer that many readers share counts once.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What room is counted in, in bytes.
const UNIT: usize = 1024;

/// Room for one direction.
#[derive(Debug, Clone)]
pub(super) struct Transit {
    free: Arc<Semaphore>,
    units: u32,
}

/// Room that was taken; given back when dropped.
#[derive(Debug)]
pub(super) struct Room {
    transit: Transit,
    units: u32,
    taken: Option<OwnedSemaphorePermit>,
}

impl Transit {
    /// Makes room for so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).max(1);
        Self { free: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Takes room, or returns none if there is not as much. What is larger than all room gets all of it.
    pub(super) fn try_take(&self, bytes: usize) -> Option<Room> {
        let mut room = self.none();
        room.grow_to(bytes).then_some(room)
    }

    /// Waits for room. Cancel-safe.
    pub(super) async fn take(&self, bytes: usize) -> Room {
        let units = self.units_of(bytes);
        // Fails only on a semaphore that is closed, which this one never is.
        let taken = Arc::clone(&self.free).acquire_many_owned(units).await.ok();
        Room { transit: self.clone(), units, taken }
    }

    /// Takes no room yet.
    pub(super) fn none(&self) -> Room {
        Room { transit: self.clone(), units: 0, taken: None }
    }

    /// Returns how many bytes have room now.
    pub(super) fn used(&self) -> i64 {
        let units = (self.units as usize).saturating_sub(self.free.available_permits());
        i64::try_from(units * UNIT).unwrap_or(i64::MAX)
    }

    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.units)
    }
}

impl Room {
    /// Takes more, up to so many bytes in all; tells whether there was as much. It keeps what it has.
    pub(super) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = self.transit.units_of(bytes).saturating_sub(self.units);
        if more == 0 {
            return true;
        }
        let Ok(permit) = Arc::clone(&self.transit.free).try_acquire_many_owned(more) else { return false };
        match &mut self.taken {
            Some(taken) => taken.merge(permit),
            None => self.taken = Some(permit),
        }
        self.units += more;
        true
    }

    /// Returns the bytes, which keep this room for as long as any part of them is kept.
    pub(super) fn hold(self, bytes: impl Into<Vec<u8>>) -> Bytes {
        let bytes = bytes.into();
        Bytes::from_owner(Held { bytes, _room: self })
    }
}

struct Held {
    bytes: Vec<u8>,
    _room: Room,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_kept_by_the_last_part_of_what_it_was_taken_for() {
        let transit = Transit::new(10 * UNIT);
        let bytes = transit.try_take(9 * UNIT).unwrap().hold(vec![0; 9 * UNIT]);
        assert!(transit.try_take(2 * UNIT).is_none());
        let part = bytes.slice(5..6);
        drop(bytes);
        assert!(transit.try_take(2 * UNIT).is_none());
        drop(part);
        assert!(transit.try_take(10 * UNIT).is_some());
    }

    #[test]
    fn room_grows_by_what_comes_and_not_beyond_all_there_is() {
        let transit = Transit::new(4 * UNIT);
        let (mut one, mut other) = (transit.none(), transit.none());
        assert!(one.grow_to(1) && one.grow_to(UNIT), "both are one unit");
        assert!(other.grow_to(3 * UNIT) && !one.grow_to(UNIT + 1));
        drop(other);
        assert!(one.grow_to(100 * UNIT), "what is larger than all room gets all of it");
        assert!(transit.try_take(1).is_none());
        drop(one);
        assert!(transit.try_take(4 * UNIT).is_some());
    }
}
