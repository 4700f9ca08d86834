//! The connections to the broker, and keeping them.
//!
//! One connection publishes; Leases are spread over at least two others, and over more as there are more Leases. A
//! connection that is lost is replaced by the supervisor, with growing, jittered pauses; nothing else reconnects. Until
//! then every call that needs one fails at once with [`BrokerError::Unavailable`].

mod lease_link;
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
use tokio::time::{Instant, sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

pub(super) use self::{
    lease_link::{LeaseLink, Occupied},
    publish_link::PublishLink,
};
use super::{AmqpOptions, CALL_TIMEOUT};
use crate::{broker::BrokerError, metrics::Metrics};

/// How often the supervisor looks whether all connections are well.
const CHECK_EVERY: Duration = Duration::from_millis(200);

/// The pause after the first failed try to connect; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// One connection carries at most 2047 channels (RabbitMQ's `channel_max`); above this many another one is opened.
const COMFORTABLE_LEASES: usize = 1000;

/// See the module.
#[derive(Debug)]
pub(super) struct Links {
    url: AmqpUrl,
    publish_pool: Pool,
    lease_pool: Pool,
    publishing: Mutex<Option<Arc<PublishLink>>>,
    leasing: Mutex<Vec<Arc<LeaseLink>>>,
    most_leasing: usize,
    ready: AtomicBool,
    closing: CancellationToken,
    tasks: TaskTracker,
    metrics: Arc<Metrics>,
}

impl Links {
    /// Starts connecting and keeping connected, until [`Self::close`].
    pub(super) fn start(options: &AmqpOptions, metrics: Arc<Metrics>) -> Result<Arc<Self>, BrokerError> {
        let most_leasing = options.max_leases.div_ceil(COMFORTABLE_LEASES) + 1;
        let links = Arc::new(Self {
            publish_pool: pool(&options.url, &format!("{} publish", options.name), 1)?,
            lease_pool: pool(&options.url, &format!("{} consume", options.name), 2 * most_leasing)?,
            url: options.url.clone(),
            publishing: Mutex::default(),
            leasing: Mutex::default(),
            most_leasing,
            ready: AtomicBool::new(false),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            metrics,
        });
        links.tasks.spawn(Arc::clone(&links).supervise());
        Ok(links)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Returns the connection that publishes.
    pub(super) fn publishing(&self) -> Result<Arc<PublishLink>, BrokerError> {
        let link = self.publishing_slot().clone().filter(|link| link.is_connected());
        link.ok_or_else(not_connected)
    }

    /// Returns the connection with the fewest Leases; waits while all are full.
    pub(super) async fn lease_link(&self) -> Result<Arc<LeaseLink>, BrokerError> {
        let give_up = Instant::now() + CALL_TIMEOUT;
        loop {
            let least = {
                let links = self.lease_links();
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

    /// Closes every connection and stops the supervisor.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let publishing = self.publishing_slot().take();
        let leasing = std::mem::take(&mut *self.lease_links());
        if let Some(link) = publishing {
            link.close().await;
        }
        for link in leasing {
            link.close().await;
        }
    }

    fn publishing_slot(&self) -> MutexGuard<'_, Option<Arc<PublishLink>>> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lease_links(&self) -> MutexGuard<'_, Vec<Arc<LeaseLink>>> {
        self.leasing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn supervise(self: Arc<Self>) {
        let closing = self.closing.clone();
        let keep_mending = async {
            let mut pause = FIRST_PAUSE;
            loop {
                match self.mend().await {
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
        self.metrics.broker_ready.set(i64::from(ready));
        self.ready.swap(ready, Ordering::Relaxed)
    }

    /// Opens whatever is missing.
    async fn mend(&self) -> Result<(), BrokerError> {
        if self.publishing().is_err() {
            if self.publishing_slot().take().is_some() {
                self.set_ready(false);
                warn!(broker = %self.url, "the connection to the broker was lost");
            }
            let link = connect(&self.publish_pool, PublishLink::open).await?;
            *self.publishing_slot() = Some(Arc::new(link));
        }
        loop {
            let missing = {
                let mut links = self.lease_links();
                links.retain(|link| link.is_connected() && !link.is_worn_out());
                let leases: usize = links.iter().map(|link| link.leases()).sum();
                let wanted = (leases / COMFORTABLE_LEASES + 2).min(self.most_leasing.max(2));
                links.len() < wanted
            };
            if !missing {
                return Ok(());
            }
            let link = connect(&self.lease_pool, async |object| Ok(LeaseLink::new(object))).await?;
            self.lease_links().push(Arc::new(link));
        }
    }
}

fn not_connected() -> BrokerError {
    BrokerError::Unavailable("there is no connection now; the gateway keeps trying".to_owned())
}

fn pool(url: &AmqpUrl, name: &str, size: usize) -> Result<Pool, BrokerError> {
    let unavailable = |error: &dyn std::fmt::Display| BrokerError::Unavailable(error.to_string());
    let runtime = lapin::runtime::default_runtime().map_err(|error| unavailable(&error))?;
    let name = name.to_owned();
    let manager = Manager::new(url.secret(), move || connection_properties(&name), runtime);
    let builder = Pool::builder(manager).max_size(size).runtime(Runtime::Tokio1);
    builder.create_timeout(Some(CALL_TIMEOUT)).build().map_err(|error| unavailable(&error))
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
