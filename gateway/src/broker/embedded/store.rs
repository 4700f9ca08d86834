//! Where batches go: to disk, or nowhere.
//!
//! `disk` keeps them in a published storage engine, fjall 3: a log-structured merge tree behind one journal. It was compared
//! with redb 4 (`tests/engines`), and chosen for what happens when things go wrong rather than for speed:
//!
//! | 2 cores, a sync of about 3 ms | fjall 3.1 | redb 4.4 |
//! |---|---|---|
//! | durable publishes/s, 200 bytes, 1 / 256 publishers | 334 / 76,400 | 263 / 68,900 |
//! | bytes to disk a payload byte, 1 / 256 publishers | 22 / 2.9 | 201 / 2.3 |
//! | confirms/s that outlive `kill -9`, without a sync | 199,600 | none |
//! | one flipped bit after an orderly end | an error, or intact | silently wrong bytes in 3 of 5 |
//! | one flipped bit after `kill -9` | as above | the whole store is refused |
//! | full disk | reads go on, writes after reopening | reads fail, too, until reopened |
//!
//! What fjall lacks is made up for here: it drops what stands behind a damaged place of its journal without a word, so a
//! `witness` outside of it remembers how much was synced; and each record carries a checksum of its own.

mod disk;
mod record;
mod recovery;
mod witness;

use std::{io, path::Path};

use events::Event;

use self::disk::Disk;
pub use self::recovery::OpenStoreError;
pub(super) use self::recovery::Recovered;
use super::{
    batch::Batch,
    log::{Log, Retention},
};

/// Why something was not stored, or could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum StoreError {
    /// The engine, or the file system under it, would not.
    #[error("{0}")]
    Failed(String),
    /// The writer has ended.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    pub(super) const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

/// What was written since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// How often the file system was made to sync.
    pub(super) syncs: u64,
    /// The payloads, in bytes.
    pub(super) payload_bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) enum Store {
    /// Keeps nothing: what is retained is in the log, whole.
    Memory,
    /// Keeps everything.
    Disk(Disk),
}

impl Store {
    /// Makes a store that keeps nothing.
    pub(super) fn memory(retention: Retention) -> (Self, Recovered) {
        (Self::Memory, Recovered { log: Log::new(retention, u64::MAX, 0), mailboxes: Vec::new(), damage: Vec::new() })
    }

    /// Opens the store in a folder, or makes a new one; blocks.
    pub(super) fn open(folder: &Path, retention: Retention) -> Result<(Self, Recovered), OpenStoreError> {
        let (disk, recovered) = recovery::open(folder, retention)?;
        let mut batch = Batch::sign_on(recovered.log.next());
        if !recovered.damage.is_empty() {
            // The next start finds no trace of the damage; what it means for mailboxes must be written down by then.
            for (client, mailbox) in &recovered.mailboxes {
                batch.change(client.clone(), Some(mailbox.clone()), true);
            }
        }
        let failed = |error| OpenStoreError::Io(folder.display().to_string(), io::Error::other(error));
        disk.write(&batch).map_err(failed)?;
        Ok((Self::Disk(disk), recovered))
    }

    /// Writes a batch; when this returns `Ok`, it outlives the process, and a power cut if it needs to. Blocks.
    pub(super) fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        match self {
            Self::Memory => Ok(()),
            Self::Disk(disk) => disk.write(batch),
        }
    }

    /// Reads events by offset; `None` for one that is not there or is damaged. Blocks.
    pub(super) fn read(&self, offsets: &[u64]) -> Result<Vec<Option<Event>>, StoreError> {
        match self {
            Self::Memory => Ok(vec![None; offsets.len()]),
            Self::Disk(disk) => disk.read(offsets),
        }
    }

    /// Returns how many syncs and how many payload bytes were written since the start.
    pub(super) fn written(&self) -> Written {
        match self {
            Self::Memory => Written::default(),
            Self::Disk(disk) => disk.written(),
        }
    }
}
