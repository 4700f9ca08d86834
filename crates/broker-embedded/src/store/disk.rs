//! The engine in its folder, and how it is brought back after it gave up.
//!
//! After a failed write the engine takes no more, but goes on reading. It is opened anew as soon as the file system has
//! room. Until then no events are written, but for retention's part: that writes from a `reserve`, because it is what
//! makes room.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use broker::Seldom;
use events::Event;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::{
    super::batch::Batch,
    engine::{Engine, Pace},
    error::StoreError,
    fjall_internals::{is_passing, missing_file},
    record::{self, Meta},
    reserve::{self, Reserve},
    sync_mark::{self, SyncMark},
};

/// How often the engine is opened anew although there is no room: that alone drops journals and tables which it left.
const REOPEN: Duration = Duration::from_mins(1);

/// The engine's own folder in the data folder.
pub(super) const ENGINE: &str = "engine";

/// All that a store has in its folder.
pub(super) const NAMES: [&str; 4] = [ENGINE, sync_mark::FILE, reserve::FILE, reserve::PROBE];

/// See the module.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    engine: RwLock<Option<Engine>>,
    /// What was written last.
    meta: Mutex<Meta>,
    sync_mark: SyncMark,
    reserve: Reserve,
    /// The engine takes no more writes.
    gave_up: AtomicBool,
    opened: Mutex<Instant>,
    /// The thread that gives space back.
    reclaimer: Mutex<Option<JoinHandle<()>>>,
    /// Space was given back up to this offset.
    reclaimed: Arc<AtomicU64>,
}

impl Disk {
    /// Takes over an open engine; `meta` is what stands in it.
    pub(super) fn new(folder: &Path, engine: Engine, meta: Meta, sync_mark: SyncMark) -> Self {
        Self {
            folder: folder.to_owned(),
            engine: RwLock::new(Some(engine)),
            meta: Mutex::new(meta),
            sync_mark,
            reserve: Reserve::open(folder),
            gave_up: AtomicBool::new(false),
            opened: Mutex::new(Instant::now()),
            reclaimer: Mutex::default(),
            reclaimed: Arc::default(),
        }
    }

    /// Writes a batch, unless the engine has given up.
    pub(super) fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        if self.gave_up() {
            return Err(StoreError::Failed("the storage engine takes no writes".to_owned()));
        }
        self.commit(batch, Pace::Worker)
    }

    /// Writes a batch that makes room; on a full disk, too.
    pub(super) fn write_from_reserve(&self, batch: &Batch) -> Result<(), StoreError> {
        self.reserve.give_up();
        if self.gave_up() {
            self.reopen()?;
        }
        self.commit(batch, Pace::AtOnce)
    }

    fn commit(&self, batch: &Batch, pace: Pace) -> Result<(), StoreError> {
        let before = *self.meta();
        let meta = Meta {
            format: before.format.max(record::format_of(batch.events().map(|stored| &stored.event))),
            oldest: batch.trimmed().unwrap_or(before.oldest),
            next: batch.next(),
            synced: before.synced + u64::from(batch.needs_sync()),
            signed_off: batch.signs_off(),
            clock: Some(batch.clock()),
        };
        let engine = self.engine().ok_or_else(not_open)?;
        engine.write(batch, &meta, pace).map_err(|error| self.give_up(&error))?;
        *self.meta() = meta;
        if batch.needs_sync() {
            self.sync_mark.note(meta.synced).map_err(|error| StoreError::Failed(error.to_string()))?;
        }
        Ok(())
    }

    /// Tells whether events can be written, as far as is known.
    pub(super) fn has_room(&self) -> bool {
        !self.gave_up() && self.reserve.is_held()
    }

    /// Finds out whether there is room for events, and has the engine take them if there is. `oldest` is the first
    /// event that is kept.
    pub(super) fn find_room(&self, oldest: u64) -> Result<(), StoreError> {
        if oldest > self.reclaimed.load(Ordering::Relaxed)
            && self.stop_reclaiming().is_ok()
            && let Some(engine) = self.engine()
        {
            drop_before(&engine, oldest, &self.reclaimed);
        }
        let found = self.reserve.find_room().map_err(|error| StoreError::Failed(error.to_string()));
        let is_due = || self.engine().is_none() || lock(&self.opened).elapsed() > REOPEN;
        if self.gave_up() && (found.is_ok() || is_due()) {
            self.reopen()?;
        }
        found
    }

    /// Gives space back, aside: it may have to wait for tables that are being merged. What one run leaves, the next
    /// takes.
    pub(super) fn reclaim(&self, end: u64) {
        let mut running = lock(&self.reclaimer);
        if running.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let Some(engine) = self.engine() else { return };
        let reclaimed = Arc::clone(&self.reclaimed);
        let drop_tables = move || drop_before(&engine, end, &reclaimed);
        match std::thread::Builder::new().name("reclaimer".to_owned()).spawn(drop_tables) {
            Ok(thread) => *running = Some(thread),
            Err(error) => {
                static LATER: Seldom = Seldom::a_minute();
                if let Some(left_out) = LATER.due() {
                    warn!(%error, left_out, "space is given back later, for lack of a thread");
                }
            }
        }
    }

    /// Waits for the end of a run; its error is its panic.
    fn stop_reclaiming(&self) -> std::thread::Result<()> {
        lock(&self.reclaimer).take().map_or(Ok(()), JoinHandle::join)
    }

    /// Reads events by offset; `None` for one that is not there or is damaged.
    pub(super) fn read(&self, offsets: &[u64]) -> Result<Vec<Option<Event>>, StoreError> {
        // Held while it reads: the engine is closed when nothing uses it any more.
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        let engine = engine.as_ref().ok_or_else(not_open)?;
        let read = |offset: &u64| {
            let event = match engine.event(*offset) {
                Ok(Some((key, record))) => record::read_event(&key, &record).map_err(|error| error.to_string()),
                Ok(None) if *offset < self.meta().oldest => return Ok(None),
                Ok(None) => Err("it is not in the store".to_owned()),
                // No file descriptors, no memory: the event is there, and can be read later.
                Err(error) if is_passing(&error) => return Err(StoreError::Failed(error.to_string())),
                Err(error) => Err(error.to_string()),
            };
            Ok(event.inspect_err(|error| tell_damage(*offset, error)).ok())
        };
        offsets.iter().map(read).collect()
    }

    /// Closes the engine; when this returns, another process can open it.
    pub(super) fn close(&self) {
        // A panic of the reclaimer is in the log, and costs nothing but space.
        let _ = self.stop_reclaiming();
        drop(self.engine.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let _ = self.stop_reclaiming();
        *lock(&self.opened) = Instant::now();
        let folder = self.folder.join(ENGINE);
        if let Some(file) = missing_file(&folder).map_err(|error| StoreError::Failed(error.to_string()))? {
            return Err(StoreError::Failed(format!("{} is missing", folder.join(file).display())));
        }
        let mut engine = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        // Closed before it is opened again: it has a lock on its files.
        drop(engine.take());
        let opened = Engine::open(&folder).map_err(|error| StoreError::Failed(error.to_string()))?;
        info!("the storage engine was opened anew");
        *engine = Some(opened);
        drop(engine);
        self.gave_up.store(false, Ordering::Relaxed);
        // What was being merged when it gave up could not be dropped.
        self.reclaimed.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn engine(&self) -> Option<Engine> {
        self.engine.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn meta(&self) -> MutexGuard<'_, Meta> {
        lock(&self.meta)
    }

    fn gave_up(&self) -> bool {
        self.gave_up.load(Ordering::Relaxed)
    }

    /// As after a failed write.
    #[cfg(test)]
    pub(crate) fn take_no_more(&self) {
        self.gave_up.store(true, Ordering::Relaxed);
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn go_back_to(&self, next: u64) -> Result<(), StoreError> {
        let meta = *self.meta();
        let engine = self.engine().ok_or_else(not_open)?;
        engine.write_meta(&Meta { next, synced: meta.synced - 1, ..meta }).map_err(|error| self.give_up(&error))
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn lose(&self, offset: u64, with_head: bool) -> Result<(), StoreError> {
        let engine = self.engine().ok_or_else(not_open)?;
        engine.lose(offset, with_head).map_err(|error| self.give_up(&error))
    }

    fn give_up(&self, error: &fjall::Error) -> StoreError {
        self.gave_up.store(true, Ordering::Relaxed);
        StoreError::Failed(match error {
            // What it was that failed, it says only the first time, and not always to us: so the file system is asked.
            fjall::Error::Poisoned => match self.reserve.probe() {
                Err(error) => error.to_string(),
                Ok(()) => "a write failed".to_owned(),
            },
            error => error.to_string(),
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_open() -> StoreError {
    StoreError::Failed("the store is not open".to_owned())
}

/// Logs damage; every reader that comes to the same event finds it again.
fn tell_damage(offset: u64, error: &str) {
    static DAMAGED: Seldom = Seldom::a_minute();
    if let Some(left_out) = DAMAGED.due() {
        error!(offset, error, left_out, "an event is damaged; its readers are told that it is gone");
    }
}

fn drop_before(engine: &Engine, end: u64, reclaimed: &AtomicU64) {
    match engine.drop_before(end) {
        Ok(()) => _ = reclaimed.fetch_max(end, Ordering::Relaxed),
        Err(error) => debug!(%error, "old tables could not be dropped"),
    }
}
