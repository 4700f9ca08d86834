//! Where batches go: to disk, or nowhere.
//!
//! `disk` keeps them in a published storage engine, fjall 3: a log-structured merge tree behind one journal. It was
//! compared with redb 4 (`bench/engines`), and chosen for what happens when things go wrong rather than for speed:
//!
//! | medians of 7 rounds, 2 cores | fjall 3.1.13 | redb 4.4.0 |
//! |---|---|---|
//! | durable publishes/s, 200 bytes, 1 / 32 / 256 publishers | 7,821 / 34,912 / 55,869 | 3,318 / 18,000 / 62,562 |
//! | the same, 4 KiB | 430 / 7,383 / 8,384 | 349 / 4,399 / 9,161 |
//! | bytes to disk a payload byte, 200 bytes, 1 / 256 publishers | 22 / 2.5 | 210 / 2.7 |
//! | confirms/s that outlive `kill -9` without a sync each | 71,000 | none safely: a power cut then loses the file |
//! | one flipped bit after an orderly end, of 300 and of 40 | 0 wrong bytes | 28 silently wrong |
//! | one flipped bit after `kill -9` | an error, or intact | 28 of 40 stores refused whole |
//! | full disk | reads go on; writes after reopening | reads fail, too, until reopened |
//! | space after all was dropped | given back | kept in the file |
//!
//! What fjall lacks is made up for here. It drops what stands after a damaged place of its journal without a word: a
//! `sync_mark` outside of it remembers how much was synced. It refuses a store whose last batch was `torn` by a power
//! cut, one time in four with a large batch: that is mended. And each record carries a checksum of its own.

mod disk;
mod engine;
mod error;
mod fjall_internals;
mod privacy;
mod record;
mod recovery;
mod reserve;
mod sync_mark;
mod torn;

use std::{io, path::Path, time::SystemTime};

use events::{Event, EventId};

#[cfg(test)]
pub(super) use self::fjall_internals::newest_journal;
pub use self::recovery::OpenStoreError;
#[cfg(feature = "fuzzing")]
pub(super) use self::recovery::fuzzing;
use self::{disk::Disk, sync_mark::SyncMark};
pub(super) use self::{error::StoreError, recovery::Recovered};
use super::{
    batch::Batch,
    clock::Clock,
    log::{Log, Retention},
    repeats::Repeats,
};

/// See the module.
#[derive(Debug)]
pub(super) enum Store {
    /// Keeps nothing: what is retained is in the log, whole.
    Memory,
    /// Keeps everything.
    Disk(Box<Disk>),
}

/// Returns a number by which an open store can be told from another one: in memory a new one each time, in a folder by
/// when it was made there; 0 if that is not known.
pub(super) fn id(folder: Option<&Path>) -> u32 {
    let Some(folder) = folder else { return crc32fast::hash(EventId::new().as_str().as_bytes()) };
    let made = SyncMark::made(folder).and_then(|made| made.duration_since(SystemTime::UNIX_EPOCH).ok());
    made.map_or(0, |made| crc32fast::hash(&made.as_nanos().to_be_bytes()))
}

impl Store {
    /// Makes a store that keeps nothing.
    pub(super) fn memory(retention: Retention) -> (Self, Recovered) {
        let (log, clock) = (Log::new(retention, u64::MAX, 0), Clock::resume(None));
        (Self::Memory, Recovered { log, clock, mailboxes: Vec::new(), repeats: Repeats::default(), damage: Vec::new() })
    }

    /// Opens the store in a folder, or makes a new one; blocks.
    pub(super) fn open(folder: &Path, retention: Retention) -> Result<(Self, Recovered), OpenStoreError> {
        let (disk, recovered) = recovery::open(folder, retention)?;
        let mut batch = Batch::mark_in_use(recovered.log.next(), recovered.clock.read());
        if !recovered.damage.is_empty() {
            // The next start finds no trace of the damage; what it means for mailboxes must be written down by then.
            for (client, mailbox) in &recovered.mailboxes {
                batch.change(client.clone(), Some(mailbox.clone()), true);
            }
        }
        let failed = |error| OpenStoreError::Io(folder.display().to_string(), io::Error::other(error));
        // On a full disk, too: a gateway that does not start drops nothing.
        disk.write(&batch).or_else(|_| disk.write_from_reserve(&batch)).map_err(failed)?;
        Ok((Self::Disk(Box::new(disk)), recovered))
    }

    /// Tells whether anything outlives the process.
    pub(super) const fn is_durable(&self) -> bool {
        matches!(self, Self::Disk(_))
    }

    /// Writes a batch; when this returns `Ok`, it outlives the process, and a power cut if it needs to. Blocks.
    pub(super) fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        match self {
            Self::Memory => Ok(()),
            Self::Disk(disk) => disk.write(batch),
        }
    }

    /// Writes a batch that makes room; on a full disk, too. Blocks.
    pub(super) fn write_from_reserve(&self, batch: &Batch) -> Result<(), StoreError> {
        match self {
            Self::Memory => Ok(()),
            Self::Disk(disk) => disk.write_from_reserve(batch),
        }
    }

    /// Tells whether events can be written, as far as is known.
    pub(super) fn has_room(&self) -> bool {
        match self {
            Self::Memory => true,
            Self::Disk(disk) => disk.has_room(),
        }
    }

    /// Finds out whether there is room for events; `oldest` is the first that is kept. Blocks.
    pub(super) fn find_room(&self, oldest: u64) -> Result<(), StoreError> {
        match self {
            Self::Memory => Ok(()),
            Self::Disk(disk) => disk.find_room(oldest),
        }
    }

    /// Lets go of the folder: when this returns, another process can have it. Blocks.
    pub(super) fn close(&self) {
        if let Self::Disk(disk) = self {
            disk.close();
        }
    }

    /// Gives back the space of everything before an offset, which is not looked for any more.
    pub(super) fn reclaim(&self, end: u64) {
        if let Self::Disk(disk) = self {
            disk.reclaim(end);
        }
    }

    /// Reads events by offset; `None` for one that is not there or is damaged. Blocks.
    pub(super) fn read(&self, offsets: &[u64]) -> Result<Vec<Option<Event>>, StoreError> {
        match self {
            Self::Memory => Ok(vec![None; offsets.len()]),
            Self::Disk(disk) => disk.read(offsets),
        }
    }

    /// Forgets that events from this offset on were stored, as a cut journal does; tables may have them all the same.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn go_back_to(&self, next: u64) -> Result<(), StoreError> {
        if let Self::Disk(disk) = self { disk.go_back_to(next) } else { Ok(()) }
    }

    /// Loses an event, as damage does, and its head, too, if that is asked for.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn lose(&self, offset: u64, with_head: bool) -> Result<(), StoreError> {
        if let Self::Disk(disk) = self { disk.lose(offset, with_head) } else { Ok(()) }
    }
}
