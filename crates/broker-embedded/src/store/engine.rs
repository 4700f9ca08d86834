//! The engine: its keyspaces, and how a batch becomes records.
//!
//! * `events`: offset → event, `heads`: offset → what the log has to know of it, so that a start need not read
//!   payloads.
//! * `mailboxes`: client → its rule.
//! * `meta`: the record of the store as a whole, and `confirmed/` client → a position up to which its mailbox is
//!   confirmed, newer than its rule or not.

use std::{ops::Range, path::Path, time::Duration};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, UserValue};

use super::{
    super::batch::{Batch, Written},
    fjall_internals::{JOURNAL_BYTES, drop_tables, is_worker_late},
    record::{self, Meta},
};

/// Blocks of tables kept in memory, in bytes. The newest events are kept elsewhere; this serves late readers.
const CACHE: u64 = 8 << 20;

/// Bytes of events in memory before they become a table, which is also the unit in which space is given back.
const EVENTS_IN_MEMORY: u64 = 8 << 20;

/// The same for the small records.
const RECORDS_IN_MEMORY: u64 = 2 << 20;

/// The key of the record of the store as a whole.
pub(super) const META: &[u8] = b"meta";

/// Returns the key of the position up to which a mailbox is confirmed.
fn confirmed(client: &[u8]) -> Vec<u8> {
    [b"confirmed/", client].concat()
}

/// What a write waits for besides the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// For what was written before to become tables.
    Worker,
    /// For nothing: there may be no room for tables.
    AtOnce,
}

/// The open engine.
#[derive(Clone)]
pub(super) struct Engine {
    database: Database,
    events: Keyspace,
    heads: Keyspace,
    mailboxes: Keyspace,
    meta: Keyspace,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// Opens the engine in a folder, or makes it.
    pub(super) fn open(folder: &Path) -> Result<Self, fjall::Error> {
        let database = Database::builder(folder)
            .cache_size(CACHE)
            // The least that it takes: journals go once their records are in tables.
            .max_journaling_size(JOURNAL_BYTES)
            .max_cached_files(Some(64))
            .worker_threads(1)
            // A batch says itself how far it has to get.
            .manual_journal_persist(true)
            .open()?;
        let of = |bytes| move || KeyspaceCreateOptions::default().max_memtable_size(bytes);
        Ok(Self {
            events: database.keyspace("events", of(EVENTS_IN_MEMORY))?,
            heads: database.keyspace("heads", of(RECORDS_IN_MEMORY))?,
            mailboxes: database.keyspace("mailboxes", of(RECORDS_IN_MEMORY))?,
            meta: database.keyspace("meta", of(RECORDS_IN_MEMORY))?,
            database,
        })
    }

    /// Returns the record of the store as a whole.
    pub(super) fn meta(&self) -> Result<Option<Vec<u8>>, fjall::Error> {
        Ok(self.meta.get(META)?.map(|record| record.to_vec()))
    }

    /// Calls `each` with the key of every mailbox, its record, and that of the position up to which it is confirmed.
    pub(super) fn mailboxes(&self, mut each: impl FnMut(&[u8], &[u8], Option<&[u8]>)) -> Result<(), fjall::Error> {
        for pair in self.mailboxes.iter() {
            let (key, record) = pair.into_inner()?;
            each(&key, &record, self.meta.get(confirmed(&key))?.as_deref());
        }
        Ok(())
    }

    /// Calls `each` with the key and the head of every event in a range of offsets, in order.
    pub(super) fn heads(&self, range: Range<u64>, mut each: impl FnMut(&[u8], &[u8])) -> Result<(), fjall::Error> {
        for pair in self.heads.range(range.start.to_be_bytes()..range.end.to_be_bytes()) {
            let (key, record) = pair.into_inner()?;
            each(&key, &record);
        }
        Ok(())
    }

    /// Returns the key and the record of the event at an offset.
    pub(super) fn event(&self, offset: u64) -> Result<Option<([u8; 8], UserValue)>, fjall::Error> {
        let key = offset.to_be_bytes();
        Ok(self.events.get(key)?.map(|record| (key, record)))
    }

    pub(super) fn write(&self, batch: &Batch, meta: &Meta, pace: Pace) -> Result<(), fjall::Error> {
        let durability = if batch.needs_sync() { PersistMode::SyncData } else { PersistMode::Buffer };
        let mut records = self.database.batch().durability(Some(durability));
        for stored in batch.events() {
            let (key, head) = (stored.offset.to_be_bytes(), stored.head(batch.clock().log));
            records.insert(&self.events, key, record::event(&key, &stored.event));
            records.insert(&self.heads, key, record::head(&key, &head));
        }
        for (client, written) in batch.mailboxes() {
            let key = client.as_str().as_bytes();
            match written {
                Written::Confirmed(end) => records.insert(&self.meta, confirmed(key), record::confirmed(key, end)),
                Written::Whole(mailbox) => {
                    records.insert(&self.mailboxes, key, record::mailbox(key, mailbox));
                    records.remove(&self.meta, confirmed(key));
                }
                Written::Nothing => {
                    records.remove(&self.mailboxes, key);
                    records.remove(&self.meta, confirmed(key));
                }
            }
        }
        records.insert(&self.meta, META, record::meta(META, meta));
        match pace {
            Pace::Worker => self.await_worker()?,
            Pace::AtOnce => {}
        }
        records.commit()
    }

    /// Waits while there is much to flush, and fails if that will never be done.
    ///
    /// The engine itself waits for its worker in a commit when there is a little more, but for ever when the worker has
    /// given up over a full disk.
    fn await_worker(&self) -> Result<(), fjall::Error> {
        while [&self.events, &self.heads, &self.mailboxes, &self.meta].into_iter().any(is_worker_late) {
            self.database.persist(PersistMode::Buffer)?;
            #[expect(clippy::disallowed_methods, reason = "the writer's own thread, which has nothing else to do")]
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Removes the events at these offsets; on disk with the next write.
    pub(super) fn forget(&self, offsets: Range<u64>) -> Result<(), fjall::Error> {
        for offset in offsets {
            self.events.remove(offset.to_be_bytes())?;
            self.heads.remove(offset.to_be_bytes())?;
        }
        Ok(())
    }

    /// Gives back the space of everything before an offset, as far as whole tables go.
    pub(super) fn drop_before(&self, end: u64) -> Result<(), fjall::Error> {
        let keys = 0_u64.to_be_bytes()..end.to_be_bytes();
        drop_tables(&self.events, keys.clone())?;
        drop_tables(&self.heads, keys)
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn write_meta(&self, meta: &Meta) -> Result<(), fjall::Error> {
        self.meta.insert(META, record::meta(META, meta))?;
        self.database.persist(PersistMode::Buffer)
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn lose(&self, offset: u64, with_head: bool) -> Result<(), fjall::Error> {
        self.events.remove(offset.to_be_bytes())?;
        if with_head {
            self.heads.remove(offset.to_be_bytes())?;
        }
        self.database.persist(PersistMode::Buffer)
    }
}
