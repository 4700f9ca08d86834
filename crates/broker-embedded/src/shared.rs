//! What the broker, its Leases and its writer share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
    mpsc,
};

use events::Event;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, oneshot, watch};

use super::{
    clock::Clock,
    command::{Command, Task},
    metrics::StoreMetrics,
    state::BrokerState,
    store::{Store, StoreError},
};

/// What the writer sees, too.
#[derive(Debug)]
pub(super) struct Shared {
    /// Its lock is handed on to those who wait, unlike that of the standard library: a long scan, which takes it again
    /// and again, would keep the writer and all other readers out.
    state: Mutex<BrokerState>,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<StoreMetrics>,
    /// A Lease was released, or its mailbox dropped.
    pub(super) released: Notify,
    /// The log has become longer.
    pub(super) appended: Notify,
    /// The last write succeeded.
    pub(super) is_writable: AtomicBool,
}

impl Shared {
    pub(super) const fn new(state: BrokerState, store: Store, clock: Clock, metrics: Arc<StoreMetrics>) -> Self {
        let (released, appended, is_writable) = (Notify::const_new(), Notify::const_new(), AtomicBool::new(true));
        Self { state: Mutex::new(state), store, clock, metrics, released, appended, is_writable }
    }

    /// Locks the state; never held across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, BrokerState> {
        self.state.lock()
    }

    /// Says how much is kept.
    pub(super) fn measure(&self, state: &BrokerState) {
        let events = state.log.next() - state.log.oldest();
        self.metrics.events.set(i64::try_from(events).unwrap_or(i64::MAX));
        self.metrics.bytes.set(i64::try_from(state.log.bytes()).unwrap_or(i64::MAX));
    }
}

/// What every part but the writer holds: the writer ends with the last of them.
#[derive(Debug)]
pub(super) struct Handle {
    shared: Arc<Shared>,
    /// Few and small, but for events: those have to find `room`.
    commands: mpsc::Sender<Command>,
    /// For the bytes of events that wait to be stored, also of those whose publisher has given up waiting.
    room: Arc<Semaphore>,
    /// For the looks through the log that a client can ask for: see [`Self::turn`].
    turn: Semaphore,
    /// True when the writer's thread has panicked; closed when it has ended otherwise.
    writer_panicked: watch::Receiver<bool>,
}

/// How many bytes of events may wait to be stored.
const ROOM: u32 = 64 * 1024 * 1024;

/// What an event that waits to be stored takes in memory besides its payload, in bytes, about: the event, the command
/// around it, and the channel on which its publisher waits.
const WAITING_AROUND_PAYLOAD: usize = 512;

impl std::ops::Deref for Handle {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Handle {
    pub(super) fn new(
        shared: Arc<Shared>,
        commands: mpsc::Sender<Command>,
        writer_panicked: watch::Receiver<bool>,
    ) -> Self {
        let room = Arc::new(Semaphore::new(ROOM as usize));
        Self { shared, commands, room, turn: Semaphore::new(1), writer_panicked }
    }

    /// Waits for the turn of one step of a look through the log. A step is bounded and ends with a yield, but a
    /// thousand looks at once would put a thousand steps before the next request of any other client; so they take
    /// turns. A Lease takes none: its Session drops the call again and again, and would lose its place in the row each
    /// time. Cancel-safe.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.turn.acquire().await.ok()
    }

    /// Waits until the writer's thread has panicked; for ever if it never does. Cancel-safe.
    pub(super) async fn writer_panicked(&self) {
        if self.writer_panicked.clone().wait_for(|panicked| *panicked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Has the writer do something; returns when it is stored, or is not. A dropped call may be carried out all the
    /// same.
    pub(super) async fn submit(&self, task: Task) -> Result<(), StoreError> {
        let bytes = match &task {
            Task::Publish(events) => events.iter().map(|(event, _)| event.payload.len() + WAITING_AROUND_PAYLOAD).sum(),
            _ => 0,
        };
        let bytes = u32::try_from(bytes).unwrap_or(ROOM).min(ROOM);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await.map_err(|_| StoreError::Closed)?;
        let (done, answer) = oneshot::channel();
        self.commands.send(Command { task, done, room }).map_err(|_| StoreError::Closed)?;
        let result = answer.await.unwrap_or(Err(StoreError::Closed));
        if result == Err(StoreError::Closed) {
            self.is_writable.store(false, Ordering::Relaxed);
        }
        result
    }

    /// Reads events from the store, off the runtime's threads; `None` for one that is not there or is damaged.
    pub(super) async fn read(&self, offsets: Vec<u64>) -> Result<Vec<Option<Event>>, StoreError> {
        if offsets.is_empty() {
            return Ok(Vec::new());
        }
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || shared.store.read(&offsets)).await;
        read.unwrap_or(Err(StoreError::Closed))
    }

    pub(super) fn is_writable(&self) -> bool {
        self.is_writable.load(Ordering::Relaxed)
    }
}
