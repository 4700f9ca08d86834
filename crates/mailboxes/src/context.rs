//! What all Sessions of a registry share.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use broker::{Broker, Remembered};
use events::ClientId;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{budget::WindowBudget, desk::Timeouts, last_seen::Place, metrics::MailboxMetrics};

/// Of how many clients it is remembered what they have confirmed: a megabyte or two, for those that come back soon.
const REMEMBERED: usize = 16_384;

/// What an operator can set about mailboxes.
#[derive(Debug, Clone)]
pub struct MailboxOptions {
    /// How long a Session stays open without a poll.
    pub linger: Duration,
    /// How long a Delivery may stay unconfirmed.
    pub confirm_deadline: Duration,
    /// How many Deliveries of one Lease may be unconfirmed, at least 1.
    pub window: u16,
    /// How many Sessions may be open at once.
    pub max_mailboxes: usize,
    /// How many payload bytes all windows together should hold.
    pub memory: usize,
}

impl MailboxOptions {
    pub(super) const fn timeouts(&self) -> Timeouts {
        Timeouts { linger: self.linger, confirm_deadline: self.confirm_deadline }
    }
}

/// See the module.
pub(super) struct Context<B> {
    pub(super) broker: Arc<B>,
    pub(super) options: MailboxOptions,
    pub(super) budget: Arc<WindowBudget>,
    pub(super) metrics: Arc<MailboxMetrics>,
    pub(super) shutdown: Shutdown,
    /// How many Leases were opened, from anywhere.
    leases: AtomicU32,
    /// Up to where the last Lease of each client has confirmed.
    confirmed: Mutex<Remembered<ClientId, Place>>,
}

impl<B: Broker> Context<B> {
    pub(super) fn new(broker: Arc<B>, options: MailboxOptions, metrics: Arc<MailboxMetrics>) -> Self {
        metrics.max_sessions.set(i64::try_from(options.max_mailboxes).unwrap_or(i64::MAX));
        let budget = WindowBudget::new(options.memory, metrics.window_bytes.clone());
        Self {
            broker,
            options,
            budget,
            metrics,
            shutdown: Shutdown::default(),
            leases: AtomicU32::new(rand::random()),
            confirmed: Mutex::new(Remembered::new(REMEMBERED)),
        }
    }

    /// Takes note of what a Lease has confirmed that was released in order: the broker has got its confirms.
    pub(super) fn remember_confirmed(&self, client: &ClientId, place: Place) {
        self.last_confirmed().insert(client.clone(), place);
    }

    /// Returns up to where the last Lease of a client here has confirmed, as far as it is known.
    pub(super) fn confirmed(&self, client: &ClientId) -> Option<Place> {
        self.last_confirmed().get(client).copied()
    }

    fn last_confirmed(&self) -> MutexGuard<'_, Remembered<ClientId, Place>> {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of a new Lease, which stands in its tokens: the instance in the upper half, so that each token
    /// names the process that made it, and a count in the lower.
    pub(super) fn next_lease(&self) -> u64 {
        let count = self.leases.fetch_add(1, Ordering::Relaxed);
        u64::from(self.broker.instance().0) << u32::BITS | u64::from(count)
    }
}

/// The end of the process, as the Sessions see it.
#[derive(Debug, Default)]
pub(super) struct Shutdown {
    begun: CancellationToken,
    spread: OnceLock<Duration>,
}

impl Shutdown {
    pub(super) fn begin(&self, spread: Duration) {
        let _ = self.spread.set(spread);
        self.begun.cancel();
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Waits until one Session has to end: each at a time of its own within the spread.
    pub(super) async fn staggered(&self) {
        self.begun.cancelled().await;
        let spread = self.spread.get().copied().unwrap_or_default();
        sleep(spread.mul_f64(rand::random())).await;
    }
}
