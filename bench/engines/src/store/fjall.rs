//! fjall 3: a log-structured merge tree behind one journal.
//!
//! A batch is appended to the journal and put into memory; worker threads write tables from memory and merge them.

use super::{Failure, Store, Survives};
use crate::event::Event;
use fjall::{
    AbstractTree, Database, Error, JournalRecoveryError, Keyspace, KeyspaceCreateOptions, KvSeparationOptions,
    PersistMode,
};
use std::{
    fs, io,
    ops::Range,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// One open database with its keyspaces.
pub struct Fjall {
    database: Database,
    events: Keyspace,
    heads: Keyspace,
    mailboxes: Keyspace,
    meta: Keyspace,
    /// Where the last tombstones ended.
    forgotten: AtomicU64,
}

/// Blocks kept in memory. Postern keeps its own tail of recent events, so the cache serves late readers only.
const CACHE: u64 = 8 << 20;
/// Bytes of events in memory before they become a table: also the unit in which retention gives space back.
const EVENTS: u64 = 8 << 20;
/// The same for the small records.
const SMALL: u64 = 2 << 20;
/// The least that fjall takes: older journals go once their records are in tables.
const JOURNALS: u64 = 64 << 20;

impl Fjall {
    fn open_as_is(folder: &Path) -> Result<Self, Error> {
        let database = Database::builder(folder)
            .cache_size(CACHE)
            .max_journaling_size(JOURNALS)
            .worker_threads(2)
            .max_cached_files(Some(64))
            // A commit hands nothing to the operating system by itself: `persist` below says when and how far.
            .manual_journal_persist(true)
            .open()?;
        let events = database.keyspace("events", || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(EVENTS)
                .with_kv_separation(variant("blobs").then(KvSeparationOptions::default))
        })?;
        let small = || KeyspaceCreateOptions::default().max_memtable_size(SMALL);
        let (heads, mailboxes, meta) = (
            database.keyspace("heads", small)?,
            database.keyspace("mailboxes", small)?,
            database.keyspace("meta", small)?,
        );
        Ok(Self { database, events, heads, mailboxes, meta, forgotten: AtomicU64::new(0) })
    }
}

impl Store for Fjall {
    fn open(folder: &Path) -> Result<Self, Failure> {
        match Self::open_as_is(folder) {
            Err(Error::JournalRecovery(JournalRecoveryError::ChecksumMismatch)) if variant("mend") => {
                drop_last_trailer(folder)?;
                Ok(Self::open_as_is(folder)?)
            }
            opened => Ok(opened?),
        }
    }

    fn publish(&self, events: &[Event], survives: Survives) -> Result<(), Failure> {
        let mut batch = self.database.batch().durability(Some(match survives {
            Survives::PowerCut => PersistMode::SyncData,
            Survives::Kill => PersistMode::Buffer,
        }));
        for event in events {
            let key = event.offset.to_be_bytes();
            batch.insert(&self.events, key, event.body.as_slice());
            batch.insert(&self.heads, key, event.head.as_slice());
        }
        if let Some(last) = events.last() {
            batch.insert(&self.meta, "last", last.offset.to_be_bytes());
        }
        Ok(batch.commit()?)
    }

    fn confirm(&self, records: &[(u64, Vec<u8>)]) -> Result<(), Failure> {
        let mut batch = self.database.batch().durability(Some(PersistMode::Buffer));
        for (client, record) in records {
            batch.insert(&self.mailboxes, client.to_be_bytes(), record.as_slice());
        }
        Ok(batch.commit()?)
    }

    fn forget(&self, offsets: Range<u64>) -> Result<(), Failure> {
        if variant("tombstones") {
            let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
            for offset in self.forgotten.swap(offsets.end, Ordering::Relaxed).max(offsets.start)..offsets.end {
                batch.remove(&self.events, offset.to_be_bytes());
                batch.remove(&self.heads, offset.to_be_bytes());
            }
            return Ok(batch.commit()?);
        }
        // Whole tables go, without tombstones; what is left of the range below the floor is not read again.
        let keys = offsets.start.to_be_bytes()..offsets.end.to_be_bytes();
        self.events.tree.drop_range(keys.clone())?;
        self.heads.tree.drop_range(keys)?;
        self.meta.insert("floor", offsets.end.to_be_bytes())?;
        Ok(())
    }

    fn heads(&self, each: &mut dyn FnMut(u64, &[u8])) -> Result<(), Failure> {
        for pair in self.heads.iter() {
            let (key, value) = pair.into_inner()?;
            each(offset(&key), &value);
        }
        Ok(())
    }

    fn events(&self, offsets: Range<u64>, each: &mut dyn FnMut(u64, &[u8])) -> Result<(), Failure> {
        for pair in self.events.range(offsets.start.to_be_bytes()..offsets.end.to_be_bytes()) {
            let (key, value) = pair.into_inner()?;
            each(offset(&key), &value);
        }
        Ok(())
    }

    fn event(&self, offset: u64) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.events.get(offset.to_be_bytes())?.map(|value| value.to_vec()))
    }

    fn mailbox(&self, client: u64) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.mailboxes.get(client.to_be_bytes())?.map(|value| value.to_vec()))
    }

    fn verify(&mut self) -> Result<bool, Failure> {
        // It has no such call: each block is checked when it is read.
        Ok(true)
    }
}

/// Takes the last byte off the newest journal, so that recovery discards the last batch as one that was not finished.
///
/// A batch torn by a power cut may have its end but lack a page in its middle, and then the database does not open. The
/// torn one is always the last: nothing is written after a batch before it is synced. An older damaged batch stays, and
/// so does the error.
fn drop_last_trailer(folder: &Path) -> io::Result<()> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|extension| extension == "jnl")) {
            journals.push((number, path));
        }
    }
    let Some((_, newest)) = journals.into_iter().max() else { return Ok(()) };
    // After its content a journal is filled with zeros, and no trailer ends with one.
    let end = fs::read(&newest)?.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    let file = fs::File::options().write(true).open(newest)?;
    file.set_len(end as u64)?;
    file.sync_all()
}

/// Tells whether `ENGINES_FJALL` asks for another way of use: `blobs` keeps large values out of the tables,
/// `tombstones` forgets with the public API alone, `mend` opens a store whose last batch is torn.
fn variant(name: &str) -> bool {
    std::env::var("ENGINES_FJALL").is_ok_and(|names| names.contains(name))
}

/// Reads a key; one of another length can only come from damage, and counts as no offset that was written.
fn offset(key: &[u8]) -> u64 {
    key.try_into().map_or(u64::MAX, u64::from_be_bytes)
}
