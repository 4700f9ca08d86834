//! Mailboxes without a message broker: a durable log in the gateway itself, for one gateway on one machine.
//!
//! An event is written once for all its readers. A `mailbox` is a rule about the `log`: from which position on, and
//! what its bindings select. The parts:
//!
//! * `writer`: the one thread that changes anything, as each `command` asks, and shares a sync among all who wait for
//!   one.
//! * `store`: where it writes, and what is found there at the next start.
//! * `repeats`: which events were stored lately, by their ids.
//! * `clock`: how old events are.
//! * `state`: log and mailboxes in memory, what there is to know without reading an event.
//! * `event_log`: the log as Feeds read it.
//! * `lease`: reads the log by a mailbox's rule; while it is at the end, the writer feeds its `live_queue`.
//! * `metrics`: what is counted of the store.
//!
//! Every mailbox lives as long as its events: what retention takes before a client has confirmed it, and what damage
//! took, leaves a marker. Nothing here knows of HTTP, polls or windows.

mod batch;
mod clock;
mod command;
mod event_log;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod kept;
mod lease;
mod live_queue;
mod log;
mod mailbox;
mod metrics;
mod position;
mod repeats;
mod shared;
mod state;
mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{Arc, mpsc},
};

use broker::{
    Broker, BrokerError, LeaseRequest, MailboxStatus, OpenError,
    handover::Instance,
    limits::{CALL_TIMEOUT, MAX_HOLDER_WAIT},
};
use events::{ClientId, Event, TopicPattern};
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};
use tracing::{info, warn};

use self::{
    command::Task,
    lease::EmbeddedLease,
    live_queue::LiveQueue,
    mailbox::MAX_BINDINGS,
    position::Position,
    shared::{Handle, Shared},
    state::BrokerState,
    store::{Store, StoreError},
    writer::Writer,
};
pub use self::{
    event_log::{EmbeddedLog, EmbeddedTail},
    kept::KeptMailboxes,
    log::Retention,
    metrics::StoreMetrics,
    store::OpenStoreError,
};

/// What an operator can set about the broker.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Where to keep events; `None`: nowhere.
    pub data_dir: Option<PathBuf>,
    /// Which mailboxes are kept.
    pub mailboxes: KeptMailboxes,
    /// How long events are kept.
    pub retention: Retention,
    /// Which events are for Feeds.
    pub feed_topics: Vec<TopicPattern>,
}

impl std::fmt::Display for EmbeddedOptions {
    /// Says where events are kept, and what that means.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.data_dir {
            Some(folder) => {
                let folder = folder.canonicalize().unwrap_or_else(|_| folder.clone());
                write!(f, "embedded, in {} (one gateway on one machine; RabbitMQ: --amqp-url)", folder.display())
            }
            None => f.write_str("embedded, in memory (a restart loses every event; --data-dir keeps them)"),
        }
    }
}

/// Keeps mailboxes and the log in a store of its own, or in memory. Cloning shares it.
#[derive(Debug, Clone)]
pub struct EmbeddedBroker {
    handle: Arc<Handle>,
    log: Arc<EmbeddedLog>,
    max_mailboxes: usize,
    instance: Instance,
}

impl EmbeddedBroker {
    /// Opens the store and starts the writer; blocks while the store is read.
    pub fn start(options: &EmbeddedOptions, metrics: Arc<StoreMetrics>) -> Result<Self, OpenStoreError> {
        let began = Instant::now();
        let (store, recovered) = match &options.data_dir {
            Some(folder) => Store::open(folder, options.retention)?,
            None => Store::memory(options.retention),
        };
        let (events, mailboxes) = (recovered.log.next() - recovered.log.oldest(), recovered.mailboxes.len());
        info!(events, mailboxes, took = ?began.elapsed(), "the store is open");
        for damage in recovered.damage {
            warn!(damage, "the store was damaged; clients are told what concerns them");
        }
        metrics.max_bytes.set(i64::try_from(options.retention.bytes).unwrap_or(i64::MAX));
        let state = BrokerState::new(recovered.log, recovered.mailboxes);
        let shared = Arc::new(Shared::new(state, store, recovered.clock, metrics));
        shared.measure(&shared.state());
        let (commands, receiver) = mpsc::channel();
        let writer = Writer::new(Arc::clone(&shared), receiver, recovered.repeats, options.mailboxes);
        let (panicked, writer_panicked) = watch::channel(false);
        let run = move || {
            let ran = std::panic::catch_unwind(AssertUnwindSafe(|| writer.run()));
            panicked.send_replace(ran.is_err());
        };
        std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(run)
            .map_err(|error| OpenStoreError::Io("the writer's thread".to_owned(), error))?;
        let handle = Arc::new(Handle::new(shared, commands, writer_panicked));
        let id = store::id(options.data_dir.as_deref());
        let log = EmbeddedLog::new(Arc::clone(&handle), options.feed_topics.clone().into(), id);
        Ok(Self { handle, log: Arc::new(log), max_mailboxes: options.mailboxes.max, instance: Instance::random() })
    }

    async fn store(&self, task: Task) -> Result<(), BrokerError> {
        match timeout(CALL_TIMEOUT, self.handle.submit(task)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(BrokerError::Unconfirmed(CALL_TIMEOUT)),
        }
    }

    /// Tries once to open a Lease; `None` if it is held.
    async fn try_open(&self, request: &LeaseRequest) -> Result<Option<EmbeddedLease>, OpenError> {
        let client = &request.client;
        let missing: Vec<TopicPattern> = {
            let state = self.handle.state();
            match state.mailbox(client) {
                None if request.topics.is_empty() => return Err(OpenError::NoMailbox),
                None => request.topics.clone(),
                Some(mailbox) => request.topics.iter().filter(|topic| !mailbox.is_bound(topic)).cloned().collect(),
            }
        };
        if !missing.is_empty() {
            let bind = Task::Bind(client.clone(), missing, request.seen_before);
            self.store(bind).await?;
        }
        let live_queue = Arc::new(LiveQueue::new(Position::before(0)));
        let opened = self.handle.state().open(client, &live_queue);
        let Some(repeats) = opened else { return Ok(None) };
        Ok(Some(
            EmbeddedLease::start(Arc::clone(&self.handle), request, live_queue, repeats)
                .await
                .map_err(BrokerError::from)?,
        ))
    }
}

impl From<StoreError> for BrokerError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Failed(reason) => Self::Unwritable(reason),
            StoreError::Closed => Self::Unavailable(error.to_string()),
            StoreError::TooManyBindings => Self::TooManyBindings(MAX_BINDINGS),
            StoreError::TooManyMailboxes => Self::NoRoom {
                attempted: "make a mailbox",
                reason: "as many are kept as may be (--max-kept-mailboxes)",
            },
        }
    }
}

impl Broker for EmbeddedBroker {
    type Lease = EmbeddedLease;
    type Log = EmbeddedLog;

    fn instance(&self) -> Instance {
        self.instance
    }

    fn log(&self) -> Arc<EmbeddedLog> {
        Arc::clone(&self.log)
    }

    async fn open(&self, request: LeaseRequest) -> Result<EmbeddedLease, OpenError> {
        let give_up = Instant::now() + MAX_HOLDER_WAIT;
        loop {
            let released = self.handle.released.notified();
            if let Some(lease) = self.try_open(&request).await? {
                return Ok(lease);
            }
            // It may also have expired between two looks: then no holder is left to say so.
            if self.handle.state().lease(&request.client).is_none() && Instant::now() < give_up {
                tokio::task::yield_now().await;
                continue;
            }
            if timeout_at(give_up, released).await.is_err() {
                return Err(OpenError::Held);
            }
        }
    }

    fn has_room_for(&self, client: &ClientId, topics: &[TopicPattern]) -> Result<(), BrokerError> {
        let state = self.handle.state();
        let room = match state.mailbox(client) {
            Some(mailbox) => mailbox.has_room_for(topics).map_err(StoreError::from),
            None if state.mailbox_count() >= self.max_mailboxes => Err(StoreError::TooManyMailboxes),
            None => Ok(()),
        };
        Ok(room?)
    }

    async fn bind(&self, client: &ClientId, topics: &[TopicPattern]) -> Result<(), BrokerError> {
        self.store(Task::Bind(client.clone(), topics.to_vec(), true)).await
    }

    async fn unbind(&self, client: &ClientId, topic: &TopicPattern) -> Result<(), BrokerError> {
        self.store(Task::Unbind(client.clone(), topic.clone())).await
    }

    async fn delete(&self, client: &ClientId) -> Result<(), BrokerError> {
        self.store(Task::Delete(client.clone())).await
    }

    async fn mailbox(&self, client: &ClientId) -> Result<Option<MailboxStatus>, BrokerError> {
        let mut from =
            self.handle.state().lease(client).map_or(Position::before(0), |live_queue| live_queue.handed_over());
        let mut queued = 0_usize;
        loop {
            let (scan, leased) = {
                let _turn = self.handle.turn().await;
                let state = self.handle.state();
                let Some(scan) = state.scan(client, from, usize::MAX) else { return Ok(None) };
                (scan, state.lease(client).is_some())
            };
            queued += scan.found.len();
            if scan.complete {
                let queued = u32::try_from(queued).unwrap_or(u32::MAX);
                return Ok(Some(MailboxStatus { queued, leased }));
            }
            from = scan.reached;
            tokio::task::yield_now().await;
        }
    }

    async fn publish(&self, event: &Event) -> Result<(), BrokerError> {
        self.store(Task::publish([event.clone()])).await
    }

    async fn publish_all(&self, events: &[Event]) -> Vec<Result<(), BrokerError>> {
        vec![self.store(Task::publish(events.iter().cloned())).await; events.len()]
    }

    fn is_ready(&self) -> bool {
        self.handle.is_writable()
    }

    async fn failed(&self) -> &'static str {
        self.handle.writer_panicked().await;
        "the thread that writes the store has panicked"
    }

    async fn close(&self) {
        let closed = timeout(CALL_TIMEOUT, self.handle.submit(Task::Close)).await;
        if let Err(error) = closed.unwrap_or(Err(StoreError::Closed)) {
            warn!(%error, "the store was not closed in order; what waits in mailboxes will be flagged as redelivered");
        }
    }
}
