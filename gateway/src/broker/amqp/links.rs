//! The connections to the broker, and keeping them.
//!
//! One connection publishes; one carries administrative tasks, whose errors can close channels; Leases are spread over at
//! least two others, and over more as there are more Leases. What reads the Feeds' log shares one more, so that no replay
//! stands in the way of a Lease; it is opened when it is first needed, and again when it is needed after a loss. Any other
//! connection that is lost is replaced by the supervisor, with growing, jittered pauses. Until then every call that needs one
//! fails at once with [`BrokerError::Unavailable`]; only at the very start it waits for the outcome of the first try.

mod link;
mod publish_link;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool_lapin::{Manager, Pool, PoolError, Runtime};
use events::amqp::{AmqpUrl, connection_properties};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

pub(super) use self::{
    link::{Link, Occupied},
    publish_link::PublishLink,
};
use super::{AmqpOptions, CALL_TIMEOUT, repair::repairing};
use crate::broker::BrokerError;

/// How often the supervisor looks whether all connections are well.
const CHECK_EVERY: Duration = Duration::from_millis(200);

/// The pause after the first failed try to connect; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// One connection carries at most 2047 channels (RabbitMQ's `channel_max`); above this many another one is opened.
const COMFORTABLE_LEASES: usize = 1000;

/// See the module.
pub(super) struct Links {
    url: AmqpUrl,
    publish_pool: Pool,
    admin_pool: Pool,
    lease_pool: Pool,
    feed_pool: Pool,
    publishing: Mutex<Option<Arc<PublishLink>>>,
    administering: Mutex<Option<Arc<Link>>>,
    leasing: Mutex<Vec<Arc<Link>>>,
    /// Locked while it is opened, so that only one is.
    feeding: tokio::sync::Mutex<Option<Arc<Link>>>,
    most_leasing: usize,
    ready: AtomicBool,
    /// Cancelled once the first try to connect is over, however it went.
    tried: CancellationToken,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Links {
    /// The pools would show the broker's password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Links {
    /// Starts connecting and keeping connected, until [`Self::close`].
    pub(super) fn start(options: &AmqpOptions) -> Result<Arc<Self>, BrokerError> {
        let most_leasing = options.max_leases.div_ceil(COMFORTABLE_LEASES) + 1;
        let links = Arc::new(Self {
            publish_pool: pool(&options.url, &format!("{} publish", options.name), 2)?,
            admin_pool: pool(&options.url, &format!("{} admin", options.name), 2)?,
            lease_pool: pool(&options.url, &format!("{} consume", options.name), 2 * most_leasing)?,
            feed_pool: pool(&options.url, &format!("{} feed", options.name), 2)?,
            url: options.url.clone(),
            publishing: Mutex::default(),
            administering: Mutex::default(),
            leasing: Mutex::default(),
            feeding: tokio::sync::Mutex::default(),
            most_leasing,
            ready: AtomicBool::new(false),
            tried: CancellationToken::new(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        links.tasks.spawn(Arc::clone(&links).supervise());
        Ok(links)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Returns the connection that publishes.
    pub(super) async fn publishing(&self) -> Result<Arc<PublishLink>, BrokerError> {
        self.tried.cancelled().await;
        locked(&self.publishing).clone().filter(|link| link.is_connected()).ok_or_else(not_connected)
    }

    /// Returns the connection for administrative tasks.
    pub(super) async fn administering(&self) -> Result<Arc<Link>, BrokerError> {
        self.tried.cancelled().await;
        locked(&self.administering).clone().filter(|link| link.is_connected()).ok_or_else(not_connected)
    }

    /// Returns the connection with the fewest Leases; waits while all are full.
    pub(super) async fn leasing(&self) -> Result<Arc<Link>, BrokerError> {
        self.tried.cancelled().await;
        let give_up = Instant::now() + CALL_TIMEOUT;
        loop {
            let least = {
                let links = locked(&self.leasing);
                links.iter().filter(|link| link.is_connected()).min_by_key(|link| link.leases()).cloned()
            };
            match least {
                Some(link) if !link.is_full() => return Ok(link),
                Some(_) if Instant::now() < give_up => sleep(CHECK_EVERY).await,
                Some(_) => return Err(BrokerError::Unavailable("every connection is full".to_owned())),
                None => return Err(not_connected()),
            }
        }
    }

    /// Returns the connection that reads the Feeds' log; opens it, or another one for one that is lost.
    pub(super) async fn feeding(&self) -> Result<Arc<Link>, BrokerError> {
        // Without a broker it is the supervisor that keeps trying, and nobody else.
        self.publishing().await?;
        let mut feeding = self.feeding.lock().await;
        if let Some(link) = feeding.as_ref().filter(|link| link.is_connected() && !link.is_worn_out()) {
            return Ok(Arc::clone(link));
        }
        // A lost one has to go back to its pool before the pool is asked for another.
        *feeding = None;
        let link = Arc::new(connect(&self.feed_pool, async |object| Ok(Link::new(object))).await?);
        *feeding = Some(Arc::clone(&link));
        Ok(link)
    }

    /// Runs a task beside the supervisor, for as long.
    pub(super) fn run_beside(&self, task: impl Future<Output = ()> + Send + 'static) {
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            closing.run_until_cancelled(task).await;
        });
    }

    /// Closes every connection and stops the supervisor.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let publishing = locked(&self.publishing).take();
        let administering = locked(&self.administering).take();
        let leasing = std::mem::take(&mut *locked(&self.leasing));
        let feeding = self.feeding.lock().await.take();
        // All at once: a broker that does not answer takes a second for each.
        let publishing = async {
            if let Some(link) = publishing {
                link.close().await;
            }
        };
        let others = leasing.iter().chain(&administering).chain(&feeding).map(|link| link.close());
        tokio::join!(publishing, join_all(others));
    }

    async fn supervise(self: Arc<Self>) {
        let closing = self.closing.clone();
        let keep_mending = async {
            let mut pause = FIRST_PAUSE;
            loop {
                let mended = self.mend().await;
                self.tried.cancel();
                match mended {
                    Ok(()) => {
                        if !self.set_ready(true) {
                            info!(broker = %self.url, "connected to the broker");
                        }
                        pause = FIRST_PAUSE;
                        sleep(CHECK_EVERY).await;
                    }
                    Err(error) => {
                        self.set_ready(false);
                        let wait = pause.mul_f64(rand::random_range(0.5..1.0));
                        warn!(broker = %self.url, %error, retry_in = ?wait, "cannot connect to the broker");
                        sleep(wait).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
        };
        tokio::select! {
            () = closing.cancelled() => {}
            () = keep_mending => {}
        }
        self.set_ready(false);
    }

    /// Returns what it was before.
    fn set_ready(&self, ready: bool) -> bool {
        self.ready.swap(ready, Ordering::Relaxed)
    }

    /// Opens whatever is missing.
    async fn mend(&self) -> Result<(), BrokerError> {
        let lost = locked(&self.publishing).take_if(|link| !link.is_connected()).is_some();
        if lost {
            self.set_ready(false);
            warn!(broker = %self.url, "the connection to the broker was lost");
        }
        if locked(&self.publishing).as_ref().is_none_or(|link| link.is_worn_out()) {
            // A worn-out one serves until the new one is there.
            let link = connect(&self.publish_pool, PublishLink::open).await?;
            *locked(&self.publishing) = Some(Arc::new(link));
        }
        if !locked(&self.administering).as_ref().is_some_and(|link| link.is_connected() && !link.is_worn_out()) {
            let link = connect(&self.admin_pool, async |object| Ok(Link::new(object))).await?;
            *locked(&self.administering) = Some(Arc::new(link));
        }
        while self.needs_lease_link() {
            let link = connect(&self.lease_pool, async |object| Ok(Link::new(object))).await?;
            locked(&self.leasing).push(Arc::new(link));
        }
        Ok(())
    }

    /// Forgets what cannot be used any more and tells whether more is needed. A worn-out one serves until then.
    fn needs_lease_link(&self) -> bool {
        let mut links = locked(&self.leasing);
        links.retain(|link| link.is_connected());
        let leases: usize = links.iter().map(|link| link.leases()).sum();
        let wanted = (leases / COMFORTABLE_LEASES + 2).min(self.most_leasing.max(2));
        let enough = links.iter().filter(|link| !link.is_worn_out()).count() >= wanted;
        if enough {
            links.retain(|link| !link.is_worn_out());
        }
        !enough
    }
}

/// Locks; no code that can panic runs under these locks.
fn locked<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_connected() -> BrokerError {
    BrokerError::Unavailable("there is no connection now; the gateway keeps trying".to_owned())
}

fn pool(url: &AmqpUrl, name: &str, size: usize) -> Result<Pool, BrokerError> {
    let unavailable = |error: &dyn std::fmt::Display| BrokerError::Unavailable(error.to_string());
    let (address, runtime) = repairing(url).map_err(|error| unavailable(&error))?;
    let name = name.to_owned();
    let manager = Manager::new(address, move || connection_properties(&name), runtime);
    let builder = Pool::builder(manager).max_size(size).runtime(Runtime::Tokio1);
    builder
        .create_timeout(Some(CALL_TIMEOUT))
        .wait_timeout(Some(CALL_TIMEOUT))
        .build()
        .map_err(|error| unavailable(&error))
}

/// Takes a connection from its pool and prepares it.
async fn connect<L>(
    pool: &Pool,
    prepare: impl AsyncFnOnce(deadpool_lapin::Object) -> Result<L, lapin::Error>,
) -> Result<L, BrokerError> {
    let object = pool.get().await.map_err(|error| match error {
        PoolError::Backend(error) => BrokerError::Unavailable(error.to_string()),
        error => BrokerError::Unavailable(error.to_string()),
    })?;
    match timeout(CALL_TIMEOUT, prepare(object)).await {
        Ok(Ok(link)) => Ok(link),
        Ok(Err(error)) => Err(BrokerError::Unavailable(error.to_string())),
        Err(_) => Err(BrokerError::Unavailable("no answer while preparing a connection".to_owned())),
    }
}
