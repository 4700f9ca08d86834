//! The readers that searches use, and those that are kept open after one.
//!
//! A client that catches up asks again from exactly where its last search stopped. The reader that stopped there waits
//! for it for a while, with the next messages at hand, so that only the first search of many has to open a channel and
//! a consumer. Few searches run at once, and few readers are open, at work or kept; the one that has waited longest
//! makes room.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use broker::{BrokerError, limits::CALL_TIMEOUT, log::Logged};
use events::Selection;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep, timeout},
};

use super::reader::Reader;

/// How many searches may run at once; more wait for their permit.
const MAX_SEARCHES: usize = 32;

/// How many readers may be open. With `prefetch`'s share of each this bounds what they hold: 128 MiB of payload.
const MAX_READERS: usize = 128;

/// See the module.
#[derive(Debug)]
pub(super) struct ReaderPool {
    turns: Semaphore,
    linger: Duration,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The one that has waited longest first.
    idle: VecDeque<Idle>,
    /// Counts the logs that were read: a reader of an older one is not kept.
    log: u64,
}

/// A reader that waits for the search that goes on where it has stopped.
#[derive(Debug)]
struct Idle {
    selection: Selection,
    stop: Stop,
    reader: Reader,
    since: Instant,
}

/// Where a reader has stopped.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    /// The last event that it has looked at.
    pub(super) last: Logged,
    /// Everything before this offset was looked at.
    pub(super) reached: u64,
}

/// The right to search, until it is dropped.
#[derive(Debug)]
pub(super) struct SearchPermit<'a> {
    readers: &'a ReaderPool,
    /// How many readers may be open, and how many of the semaphore's permits a search takes so that they suffice.
    max_readers: usize,
    weight: usize,
    log: u64,
    _permit: SemaphorePermit<'a>,
}

impl ReaderPool {
    pub(super) fn new(linger: Duration) -> Self {
        Self { turns: Semaphore::new(MAX_SEARCHES), linger, kept: Mutex::default() }
    }

    /// Waits for the right to search, over a connection that carries so many channels.
    pub(super) async fn permit(&self, channels: usize) -> Result<SearchPermit<'_>, BrokerError> {
        // Each reader may need a second channel, to ask what is kept, and so does what follows the end.
        let max_readers = (channels.saturating_sub(2) / 2).clamp(1, MAX_READERS);
        let weight = MAX_SEARCHES.div_ceil(max_readers);
        let permits = u32::try_from(weight).unwrap_or(1);
        match timeout(CALL_TIMEOUT, self.turns.acquire_many(permits)).await {
            Ok(Ok(permit)) => {
                Ok(SearchPermit { readers: self, max_readers, weight, log: self.kept().log, _permit: permit })
            }
            _ => Err(BrokerError::Unavailable("too many clients look through the feed".to_owned())),
        }
    }

    /// Closes what is kept: the log may be another one from now on.
    pub(super) fn close_all(&self) {
        let mut kept = self.kept();
        kept.log += 1;
        kept.idle.clear();
    }

    /// Closes readers that have waited in vain, for as long as this is polled.
    pub(super) async fn close_unused(&self) {
        loop {
            let oldest = {
                let mut kept = self.kept();
                while kept.idle.pop_front_if(|idle| idle.since.elapsed() >= self.linger).is_some() {}
                kept.idle.front().map(|idle| idle.since)
            };
            sleep(oldest.map_or(self.linger, |since| self.linger.saturating_sub(since.elapsed())).max(PAUSE)).await;
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The least time between two looks at what has waited in vain.
const PAUSE: Duration = Duration::from_millis(100);

impl SearchPermit<'_> {
    /// Takes a reader of this selection that has stopped at such a place.
    pub(super) fn take(&self, selection: &Selection, at: impl Fn(&Stop) -> bool) -> Option<(Reader, Stop)> {
        let mut kept = self.readers.kept();
        let found = kept.idle.iter().position(|idle| idle.selection == *selection && at(&idle.stop))?;
        kept.idle.remove(found).map(|idle| (idle.reader, idle.stop))
    }

    /// Makes room for one more reader, and forgets those that are lost.
    pub(super) fn make_room(&self) {
        let at_work = (MAX_SEARCHES - self.readers.turns.available_permits()).div_ceil(self.weight);
        let mut kept = self.readers.kept();
        kept.idle.retain(|idle| idle.reader.is_open());
        let too_many = (kept.idle.len() + at_work).saturating_sub(self.max_readers).min(kept.idle.len());
        kept.idle.drain(..too_many);
    }

    /// Keeps a reader for the search that goes on where it has stopped.
    pub(super) fn keep(&self, selection: &Selection, stop: Stop, reader: Reader) {
        let mut kept = self.readers.kept();
        if kept.log == self.log && !self.readers.linger.is_zero() {
            kept.idle.push_back(Idle { selection: selection.clone(), stop, reader, since: Instant::now() });
        }
    }
}
