//! The engine: its keyspaces, how a batch becomes records, and how it is brought back after it gave up.
//!
//! * `events`: offset → event, `heads`: offset → what the log has to know of it, so that a start need not read payloads.
//! * `mailboxes`: client → its rule. `meta`: one record.
//!
//! After a failed write the engine takes no more, but goes on reading. It is opened anew as soon as the file system has room.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use events::Event;
use fjall::{AbstractTree, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use tracing::{debug, error, info};

use super::{
    super::{batch::Batch, log::Head},
    StoreError,
    record::{self, Meta},
    witness::Witness,
};

/// Blocks of tables kept in memory, in bytes. The newest events are kept elsewhere; this serves late readers.
const CACHE: u64 = 8 << 20;

/// Bytes of events in memory before they become a table, which is also the unit in which space is given back.
const EVENTS_IN_MEMORY: u64 = 8 << 20;

/// The same for the small records.
const RECORDS_IN_MEMORY: u64 = 2 << 20;

/// The least that the engine takes: journals go once their records are in tables.
const JOURNALS: u64 = 64 << 20;

/// Memory that waits to be flushed, in tables of a keyspace: below the 4 at which the engine waits by itself.
const MOST_SEALED: usize = 1;

/// Tables that wait to be merged, in runs: below the 20 at which the engine slows down by itself.
const MOST_RUNS: usize = 18;

/// What must fit on the file system before the engine is opened anew.
const ROOM: usize = 8 << 20;

/// The engine's own folder in the data folder.
pub(super) const ENGINE: &str = "engine";

pub(super) const META: &[u8] = b"meta";

/// See the module.
#[derive(Debug)]
pub(in super::super) struct Disk {
    folder: PathBuf,
    engine: RwLock<Option<Engine>>,
    /// What was written last; only the writer looks at it.
    meta: Mutex<Meta>,
    witness: Witness,
    /// The engine takes no more writes.
    gave_up: AtomicBool,
    /// Space is being given back.
    sweeping: Arc<AtomicBool>,
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
            .max_journaling_size(JOURNALS)
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

    /// Calls `each` with the key and the record of every mailbox.
    pub(super) fn mailboxes(&self, mut each: impl FnMut(&[u8], &[u8])) -> Result<(), fjall::Error> {
        for pair in self.mailboxes.iter() {
            let (key, record) = pair.into_inner()?;
            each(&key, &record);
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

    fn write(&self, batch: &Batch, meta: &Meta) -> Result<(), fjall::Error> {
        let durability = if batch.needs_sync() { PersistMode::SyncData } else { PersistMode::Buffer };
        let mut records = self.database.batch().durability(Some(durability));
        let now = SystemTime::now();
        for stored in batch.events() {
            let (key, event) = (stored.offset.to_be_bytes(), &stored.event);
            let head = Head { topic: event.topic.clone(), bytes: event.payload.len() as u64, stored: now };
            records.insert(&self.events, key, record::event(&key, event));
            records.insert(&self.heads, key, record::head(&key, &head));
        }
        for (client, mailbox) in batch.mailboxes() {
            let key = client.as_str().as_bytes();
            match mailbox {
                Some(mailbox) => records.insert(&self.mailboxes, key, record::mailbox(key, mailbox)),
                None => records.remove(&self.mailboxes, key),
            }
        }
        records.insert(&self.meta, META, record::plain(META, meta));
        self.await_worker()?;
        records.commit()
    }

    /// Waits while there is much to flush, and fails if that will never be done.
    ///
    /// The engine itself waits for its worker in a commit when there is a little more, but for ever when the worker has given
    /// up over a full disk.
    fn await_worker(&self) -> Result<(), fjall::Error> {
        let is_behind = |keyspace: &Keyspace| {
            keyspace.tree.sealed_memtable_count() > MOST_SEALED || keyspace.tree.l0_run_count() > MOST_RUNS
        };
        while [&self.events, &self.heads, &self.mailboxes, &self.meta].into_iter().any(is_behind) {
            self.database.persist(PersistMode::Buffer)?;
            #[expect(clippy::disallowed_methods, reason = "the writer's own thread, which has nothing else to do")]
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Gives back the space of everything before an offset, as far as whole tables go.
    fn drop_before(&self, end: u64) -> Result<(), fjall::Error> {
        let keys = 0_u64.to_be_bytes()..end.to_be_bytes();
        self.events.tree.drop_range(keys.clone())?;
        self.heads.tree.drop_range(keys)?;
        Ok(())
    }
}

impl Disk {
    /// Takes over an open engine; `meta` is what stands in it.
    pub(super) fn new(folder: &Path, engine: Engine, meta: Meta, witness: Witness) -> Self {
        Self {
            folder: folder.to_owned(),
            engine: RwLock::new(Some(engine)),
            meta: Mutex::new(meta),
            witness,
            gave_up: AtomicBool::new(false),
            sweeping: Arc::default(),
        }
    }

    pub(super) fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let before = *self.meta.lock().unwrap_or_else(PoisonError::into_inner);
        let meta = Meta {
            oldest: batch.trimmed().unwrap_or(before.oldest),
            next: batch.next(),
            synced: before.synced + u64::from(batch.needs_sync()),
            signed_off: batch.signs_off(),
            ..before
        };
        let engine = self.writable()?;
        engine.write(batch, &meta).map_err(|error| self.give_up(&error))?;
        *self.meta.lock().unwrap_or_else(PoisonError::into_inner) = meta;
        if batch.needs_sync() {
            self.witness.note(meta.synced).map_err(|error| StoreError::Failed(error.to_string()))?;
        }
        Ok(())
    }

    /// Gives space back, aside: it may have to wait for tables that are being merged. What one sweep leaves, the next takes.
    pub(super) fn sweep(&self, end: u64) {
        let Some(engine) = self.engine() else { return };
        if self.sweeping.swap(true, Ordering::Relaxed) {
            return;
        }
        let sweeping = Arc::clone(&self.sweeping);
        std::thread::spawn(move || {
            if let Err(error) = engine.drop_before(end) {
                debug!(%error, "old tables could not be dropped");
            }
            sweeping.store(false, Ordering::Relaxed);
        });
    }

    /// Reads events by offset; `None` for one that is not there or is damaged.
    pub(super) fn read(&self, offsets: &[u64]) -> Result<Vec<Option<Event>>, StoreError> {
        let engine = self.engine().ok_or_else(|| StoreError::Failed("the store is not open".to_owned()))?;
        let read = |offset: &u64| {
            let key = offset.to_be_bytes();
            let event = match engine.events.get(key) {
                Ok(Some(record)) => record::read_event(&key, &record).map_err(|error| error.to_string()),
                Ok(None) => return Ok(None),
                // No file descriptors, no memory: the event is there, and can be read later.
                Err(error) if is_passing(&error) => return Err(StoreError::Failed(error.to_string())),
                Err(error) => Err(error.to_string()),
            };
            let tell =
                |error: &String| error!(offset, error, "an event is damaged; its readers are told that it is gone");
            Ok(event.inspect_err(tell).ok())
        };
        offsets.iter().map(read).collect()
    }

    fn engine(&self) -> Option<Engine> {
        self.engine.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the engine, which is opened anew if it gave up and there is room.
    fn writable(&self) -> Result<Engine, StoreError> {
        if !self.gave_up.load(Ordering::Relaxed)
            && let Some(engine) = self.engine()
        {
            return Ok(engine);
        }
        let failed = |error: &dyn std::fmt::Display| StoreError::Failed(error.to_string());
        find_room(&self.folder).map_err(|error| failed(&error))?;
        let mut engine = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        // Closed before it is opened again: it has a lock on its files.
        drop(engine.take());
        let opened = Engine::open(&self.folder.join(ENGINE)).map_err(|error| failed(&error))?;
        info!("the storage engine was opened anew");
        self.gave_up.store(false, Ordering::Relaxed);
        Ok(engine.insert(opened).clone())
    }

    /// As after a failed write.
    #[cfg(test)]
    pub(in super::super) fn take_no_more(&self) {
        self.gave_up.store(true, Ordering::Relaxed);
    }

    fn give_up(&self, error: &fjall::Error) -> StoreError {
        self.gave_up.store(true, Ordering::Relaxed);
        StoreError::Failed(match error {
            // What it was that failed, it says only the first time, and not always to us.
            fjall::Error::Poisoned => "a write failed; the disk may be full".to_owned(),
            error => error.to_string(),
        })
    }
}

/// Tells whether an error is about the machine's means and not about what was read.
fn is_passing(error: &fjall::Error) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            // An error without a number is the engine's own, over what it read; with EIO the disk itself gives up.
            return error.raw_os_error().is_some_and(|number| number != rustix::io::Errno::IO.raw_os_error());
        }
        source = error.source();
    }
    false
}

/// Finds out whether the file system has room, by taking it.
fn find_room(folder: &Path) -> io::Result<()> {
    let probe = folder.join("room");
    let found = fs::write(&probe, vec![1; ROOM]).and_then(|()| fs::File::open(&probe)?.sync_all());
    // If it is not there, that is what `found` says.
    let _ = fs::remove_file(&probe);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_lacks_passes_and_what_was_read_does_not() {
        let of_system = |errno: rustix::io::Errno| fjall::Error::Io(errno.into());
        assert!(is_passing(&of_system(rustix::io::Errno::MFILE)) && is_passing(&of_system(rustix::io::Errno::NOMEM)));
        assert!(!is_passing(&of_system(rustix::io::Errno::IO)), "the disk itself gives up");
        assert!(!is_passing(&fjall::Error::Io(io::ErrorKind::UnexpectedEof.into())), "a table is too short");
        assert!(!is_passing(&fjall::Error::InvalidTrailer));
    }
}
