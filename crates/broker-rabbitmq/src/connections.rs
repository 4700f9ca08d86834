//! The connections to the broker, and keeping them.
//!
//! One connection publishes; one carries administrative tasks, which may be refused, and a refusal closes a channel;
//! Leases are spread over at least two others, and over more as there are more Leases. What reads the Feeds' log shares
//! one more, so that no replay stands in the way of a Lease; it is opened when it is first needed, and again when it is
//! needed after a loss. Any other connection that is lost is replaced by the `supervisor` of its kind, with growing,
//! jittered pauses: a kind that fails, or waits, holds up no other. Until then every call that needs one fails at once
//! with [`BrokerError::Reconnecting`], or once a try has failed with [`BrokerError::NotConnected`]; only at the very
//! start it waits for the outcome of the first try.
//!
//! How many channels there may be, and so how many Leases, is the broker's to say: see `limits`.

mod connection;
mod idle_channels;
mod kind;
mod limits;
mod publish_connection;
mod supervisor;

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use amqp::AmqpUrls;
use broker::{BrokerError, limits::CALL_TIMEOUT};
use futures_util::future::join_all;
use lapin::Channel;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{connection::Role, idle_channels::IdleChannels, kind::Kind, limits::Limits};
pub(super) use self::{
    connection::{BrokerConnection, ChannelSlot, OwnChannel},
    publish_connection::{PublishConnection, Published},
};
use super::{call::in_time, options::AmqpOptions, pulse::Pulse};

/// How often a supervisor looks whether its connections are well.
const CHECK_EVERY: Duration = Duration::from_millis(200);

/// How many short tasks (creating, binding, looking at a mailbox) begin at once. RabbitMQ does most of their work one
/// after the other for all of its clients: more at once would not end sooner, and the tasks of other gateways would
/// wait for them.
const MAX_SHORT_TASKS: usize = 64;

/// How long a short task keeps its turn; it ends within milliseconds when the broker is well.
const MAX_TURN: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Connections {
    urls: AmqpUrls,
    publish: Kind,
    admin: Kind,
    lease: Kind,
    feed: Kind,
    publishing: Mutex<Option<Arc<PublishConnection>>>,
    administering: Mutex<Option<Arc<BrokerConnection>>>,
    /// Of that connection.
    idle: IdleChannels,
    leasing: Mutex<Vec<Arc<BrokerConnection>>>,
    /// Locked while it is opened, so that only one is.
    feeding: tokio::sync::Mutex<Option<Arc<BrokerConnection>>>,
    limits: Arc<Limits>,
    /// First come, first served.
    short_tasks: Semaphore,
    max_leases: usize,
    /// Events are kept for feeds.
    has_feeds: bool,
    /// The last try to open one more connection for Leases failed.
    cannot_grow: AtomicBool,
    warned: AtomicBool,
    was_ready: AtomicBool,
    closing: CancellationToken,
    /// A task has panicked.
    failed: CancellationToken,
    pulse: Pulse,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Connections {
    /// The pools would show the broker's password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("urls", &self.urls).finish_non_exhaustive()
    }
}

impl Connections {
    /// Starts connecting and keeping connected, until [`Self::close`].
    pub(super) fn start(options: &AmqpOptions) -> Result<Arc<Self>, BrokerError> {
        let limits = Arc::<Limits>::default();
        // At random, so that the gateways of a fleet do not all begin at one node; all kinds of one gateway do.
        let start = rand::random_range(0..options.urls.iter().len());
        let kind = |role| Kind::new(&options.urls, start, &options.name, role, Arc::clone(&limits));
        let connections = Arc::new(Self {
            publish: kind(Role::Publish)?,
            admin: kind(Role::Admin)?,
            lease: kind(Role::Lease)?,
            feed: kind(Role::Feed)?,
            urls: options.urls.clone(),
            publishing: Mutex::default(),
            administering: Mutex::default(),
            idle: IdleChannels::default(),
            leasing: Mutex::default(),
            feeding: tokio::sync::Mutex::default(),
            limits,
            short_tasks: Semaphore::new(MAX_SHORT_TASKS),
            max_leases: options.max_leases,
            has_feeds: !options.feed_topics.is_empty(),
            cannot_grow: AtomicBool::new(false),
            warned: AtomicBool::new(false),
            was_ready: AtomicBool::new(false),
            closing: CancellationToken::new(),
            failed: CancellationToken::new(),
            pulse: Pulse::new(),
            tasks: TaskTracker::new(),
        });
        connections.spawn(Arc::clone(&connections).supervise());
        let beating = Arc::clone(&connections);
        connections.run_beside(async move { beating.pulse.beat().await });
        Ok(connections)
    }

    /// Returns what tells whether this process has stood still.
    pub(super) const fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Tells whether there is a connection of each kind that the supervisors keep.
    pub(super) fn is_ready(&self) -> bool {
        !self.closing.is_cancelled()
            && [Role::Publish, Role::Admin, Role::Lease].into_iter().all(|role| self.is_there(role))
    }

    fn is_there(&self, role: Role) -> bool {
        match role {
            Role::Publish => locked(&self.publishing).as_ref().is_some_and(|connection| connection.is_connected()),
            Role::Admin => locked(&self.administering).as_ref().is_some_and(|connection| connection.is_connected()),
            Role::Lease => locked(&self.leasing).iter().any(|connection| connection.is_connected()),
            Role::Feed => true,
        }
    }

    /// Returns the connection that publishes.
    pub(super) async fn publishing(&self) -> Result<Arc<PublishConnection>, BrokerError> {
        self.publish.tried.cancelled().await;
        let connection = locked(&self.publishing).clone();
        connection.filter(|connection| connection.is_connected()).ok_or_else(|| self.publish.no_connection())
    }

    /// Returns the connection that publishes, with room for another channel; waits for that.
    pub(super) async fn publishing_apart(&self) -> Result<(Arc<PublishConnection>, ChannelSlot), BrokerError> {
        let publishing = self.publishing().await?;
        let place = self.place(publishing.shared()).await?;
        Ok((publishing, place))
    }

    /// Returns a place on the connection for administrative tasks; waits for one.
    pub(super) async fn administering(&self) -> Result<ChannelSlot, BrokerError> {
        self.place(&self.admin_connection().await?).await
    }

    async fn admin_connection(&self) -> Result<Arc<BrokerConnection>, BrokerError> {
        self.admin.tried.cancelled().await;
        let connection = locked(&self.administering).clone();
        connection.filter(|connection| connection.is_connected()).ok_or_else(|| self.admin.no_connection())
    }

    /// Runs a short task in its turn.
    ///
    /// A task that lasts longer than [`MAX_TURN`] goes on without its turn: tasks on a queue that does not answer must
    /// not keep the turns of all others.
    pub(super) async fn in_turn<T>(
        &self,
        task: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<T, BrokerError> {
        let Ok(Ok(turn)) = timeout(CALL_TIMEOUT, self.short_tasks.acquire()).await else {
            return Err(BrokerError::Unavailable("no answer to earlier calls".to_owned()));
        };
        let mut task = pin!(task);
        if let Ok(done) = timeout(MAX_TURN, task.as_mut()).await {
            return done;
        }
        drop(turn);
        task.await
    }

    /// Waits for a place on a connection of short tasks.
    ///
    /// If cancelled calls without an answer have taken all places of a connection, the supervisor replaces the
    /// connection.
    async fn place(&self, connection: &Arc<BrokerConnection>) -> Result<ChannelSlot, BrokerError> {
        let waiting = async {
            loop {
                let freed = self.limits.freed();
                match ChannelSlot::take(Arc::clone(connection)) {
                    Some(place) => return place,
                    None => freed.await,
                }
            }
        };
        timeout(CALL_TIMEOUT, waiting).await.map_err(|_| {
            if connection.is_full() {
                connection.wear_out();
            }
            no_room("open a channel", "no channel came free")
        })
    }

    /// Returns a place on the connection with the fewest Leases; waits only if another connection is to come.
    pub(super) async fn leasing(&self) -> Result<ChannelSlot, BrokerError> {
        self.lease.tried.cancelled().await;
        let give_up = Instant::now() + CALL_TIMEOUT;
        loop {
            let freed = self.limits.freed();
            let (least, count) = {
                let connections = locked(&self.leasing);
                let connected = connections.iter().filter(|connection| connection.is_connected());
                (
                    connected.min_by_key(|connection| (connection.is_out_of_channels(), connection.places())).cloned(),
                    connections.len(),
                )
            };
            let connection = least.ok_or_else(|| self.lease.no_connection())?;
            if let Some(place) = ChannelSlot::take(Arc::clone(&connection)) {
                return Ok(place);
            }
            if !connection.is_full() {
                return Err(no_room("open a lease", "the broker allows too few channels (max-channels)"));
            }
            let may_grow = count < self.max_lease_connections(&connection) && !self.cannot_grow.load(Ordering::Relaxed);
            if !may_grow || Instant::now() >= give_up {
                return Err(no_room("open a lease", "every connection has as many channels as it may (channel_max)"));
            }
            let _ = timeout(CHECK_EVERY, freed).await;
        }
    }

    /// Returns a place on the connection that reads the Feeds' log; opens it, or another one for one that is lost.
    pub(super) async fn feeding(&self) -> Result<ChannelSlot, BrokerError> {
        // Without a broker it is the supervisor that keeps trying, and nothing else.
        self.publishing().await?;
        let mut feeding = self.feeding.lock().await;
        let usable = feeding
            .as_ref()
            .filter(|connection| connection.is_connected() && !connection.is_out_of_channels())
            .cloned();
        let connection = if let Some(connection) = usable {
            connection
        } else {
            *feeding = None;
            Arc::clone(feeding.insert(Arc::new(self.feed.connect().await?)))
        };
        ChannelSlot::take(connection)
            .ok_or_else(|| no_room("read the feed", "its connection has as many channels as it may"))
    }

    /// Returns how many connections of each kind there are to each address of the broker.
    pub(super) fn connected(&self) -> impl Iterator<Item = (&'static str, BTreeMap<&str, usize>)> {
        let kinds = [&self.publish, &self.admin, &self.lease, &self.feed];
        kinds.into_iter().map(|kind| (kind.role.as_str(), kind.connected()))
    }

    /// Returns how many channels a connection carries, as far as that is known.
    pub(super) fn max_channels(&self) -> usize {
        locked(&self.publishing).as_ref().map_or(usize::MAX, |connection| connection.max_places())
    }

    /// Runs a task beside the supervisor, for as long.
    pub(super) fn run_beside(&self, task: impl Future<Output = ()> + Send + 'static) {
        let closing = self.closing.clone();
        self.spawn(async move {
            closing.run_until_cancelled(task).await;
        });
    }

    /// Runs a task that ends by itself; its panic is noticed.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let panicked = self.failed.clone().drop_guard();
        self.tasks.spawn(async move {
            task.await;
            panicked.disarm();
        });
    }

    /// Waits until a task has panicked.
    pub(super) async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Closes every connection and stops the supervisor.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let publishing = locked(&self.publishing).take();
        let administering = locked(&self.administering).take();
        self.idle.clear();
        let leasing = std::mem::take(&mut *locked(&self.leasing));
        let feeding = self.feeding.lock().await.take();
        // All at once: a broker that does not answer takes a second for each.
        let publishing = async {
            if let Some(connection) = publishing {
                connection.close().await;
            }
        };
        let others = leasing.iter().chain(&administering).chain(&feeding).map(|connection| connection.close());
        tokio::join!(publishing, join_all(others));
    }

    /// Runs an administrative task on a channel that no other has meanwhile.
    pub(super) async fn administer<T>(
        &self,
        attempted: &'static str,
        task: impl AsyncFnOnce(&Channel) -> Result<T, lapin::Error>,
    ) -> Result<T, BrokerError> {
        let run = async {
            let connection = self.admin_connection().await?;
            let room = match self.idle.take(&connection) {
                Some(channel) => Room::Idle(channel),
                None => Room::Slot(self.place(&connection).await?),
            };
            in_time(attempted, async {
                let channel = room.channel().await?;
                let done = task(&channel).await?;
                self.idle.keep(channel, &connection);
                Ok(done)
            })
            .await
        };
        self.in_turn(run).await
    }
}

/// Where a short task runs.
enum Room {
    Idle(OwnChannel),
    Slot(ChannelSlot),
}

impl Room {
    async fn channel(self) -> Result<OwnChannel, lapin::Error> {
        match self {
            Self::Idle(channel) => Ok(channel),
            Self::Slot(slot) => slot.open().await,
        }
    }
}

fn locked<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

const fn no_room(attempted: &'static str, reason: &'static str) -> BrokerError {
    BrokerError::NoRoom { attempted, reason }
}

#[cfg(test)]
mod tests;
