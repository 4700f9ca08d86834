//! The bytes that are on their way: events of publishers that are not stored yet, and answers that clients have not
//! taken yet.
//!
//! How long they stay is the clients' choice, so both are bounded, each by itself: readers that take nothing keep no
//! publisher out. Room for an event is taken as its bytes come, not as they are announced. An answer that many readers
//! share counts once.
//!
//! An eighth is for what is small, so that large events and answers, of which few fill the rest, keep no small ones
//! out.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// What room is counted in, in bytes.
const UNIT: usize = 1024;

/// Up to how many bytes an event or an answer is small.
const MAX_SMALL: usize = 16 * 1024;

/// How often it is told at most that room is short, because all answers that wait are looked at then.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Room for one direction.
#[derive(Debug, Clone)]
pub(super) struct Transit {
    free: Arc<Semaphore>,
    units: u32,
    /// What of it is free for what is not small.
    free_large: Arc<Semaphore>,
    units_large: u32,
    short: Arc<Short>,
}

/// Whether there was no room for something.
#[derive(Debug, Default)]
struct Short {
    told: Mutex<Option<Instant>>,
    telling: Notify,
}

/// Room that was taken; given back when dropped.
#[derive(Debug)]
pub(super) struct Room {
    transit: Transit,
    taken: Option<OwnedSemaphorePermit>,
    taken_large: Option<OwnedSemaphorePermit>,
}

impl Transit {
    /// Makes room for so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).max(1);
        let units_large = units - units / 8;
        let free = |units| Arc::new(Semaphore::new(units as usize));
        Self { free: free(units), units, free_large: free(units_large), units_large, short: Arc::default() }
    }

    /// Takes room, or returns none if there is not as much. What is larger than all room gets all of it.
    pub(super) fn try_take(&self, bytes: usize) -> Option<Room> {
        let mut room = self.none();
        room.grow_to(bytes).then_some(room)
    }

    /// Waits for room. Cancel-safe.
    pub(super) async fn take(&self, bytes: usize) -> Room {
        if let Some(room) = self.try_take(bytes) {
            return room;
        }
        // Fails only on a semaphore that is closed, which these never are.
        let large = Arc::clone(&self.free_large).acquire_many_owned(self.large_units_of(bytes)).await;
        let taken = Arc::clone(&self.free).acquire_many_owned(self.units_of(bytes)).await;
        Room { transit: self.clone(), taken: taken.ok(), taken_large: large.ok() }
    }

    /// Waits until there is no room for something. Cancel-safe.
    pub(super) async fn short(&self) {
        self.short.telling.notified().await;
    }

    fn tell_short(&self) {
        let mut told = self.short.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if told.is_none_or(|told| now - told >= TELL_EVERY) {
            *told = Some(now);
            self.short.telling.notify_waiters();
        }
    }

    /// Takes no room yet.
    pub(super) fn none(&self) -> Room {
        Room { transit: self.clone(), taken: None, taken_large: None }
    }

    /// Returns how many bytes have room now.
    pub(super) fn used(&self) -> i64 {
        let units = (self.units as usize).saturating_sub(self.free.available_permits());
        i64::try_from(units * UNIT).unwrap_or(i64::MAX)
    }

    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.units)
    }

    fn large_units_of(&self, bytes: usize) -> u32 {
        if bytes <= MAX_SMALL { 0 } else { self.units_of(bytes).min(self.units_large) }
    }
}

impl Room {
    /// Takes more, up to so many bytes in all; tells whether there was as much. It keeps what it has.
    pub(super) fn grow_to(&mut self, bytes: usize) -> bool {
        let transit = &self.transit;
        let large = more(&transit.free_large, self.taken_large.as_ref(), transit.large_units_of(bytes));
        let Some((large, all)) = large.zip(more(&transit.free, self.taken.as_ref(), transit.units_of(bytes))) else {
            transit.tell_short();
            return false;
        };
        add(&mut self.taken_large, large);
        add(&mut self.taken, all);
        true
    }

    /// Returns the bytes, which keep this room for as long as any part of them is kept.
    pub(super) fn hold(self, bytes: impl Into<Vec<u8>>) -> Bytes {
        let bytes = bytes.into();
        Bytes::from_owner(Held { bytes, _room: self })
    }
}

/// Takes what is missing of so many units; none if there is not as much.
fn more(free: &Arc<Semaphore>, taken: Option<&OwnedSemaphorePermit>, units: u32) -> Option<OwnedSemaphorePermit> {
    let taken = taken.map_or(0, OwnedSemaphorePermit::num_permits);
    let missing = (units as usize).saturating_sub(taken);
    Arc::clone(free).try_acquire_many_owned(u32::try_from(missing).unwrap_or(u32::MAX)).ok()
}

fn add(taken: &mut Option<OwnedSemaphorePermit>, more: OwnedSemaphorePermit) {
    match taken {
        Some(taken) => taken.merge(more),
        None => *taken = Some(more),
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
