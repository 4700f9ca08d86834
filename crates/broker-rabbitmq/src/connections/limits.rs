//! How many channels there may be: on one connection, and on all of them together.
//!
//! A connection's limit is negotiated (`channel_max`, AMQP 0-9-1, section 1.4.2.6). A user, or a node of the broker,
//! can have a limit of its own, which a client is not told in advance: RabbitMQ closes the *connection* that opens one
//! channel too many, with every Lease on it. So the limit is learned from the first such refusal, and from then on
//! nothing is opened that would exceed it. Leases leave some of it to the other connections, without which no Lease can
//! be opened.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tracing::warn;

/// No connection carries more channels than RabbitMQ's own default of `channel_max`: all of them go with the
/// connection.
const MAX_CHANNELS: usize = 2047;

/// Refusals within this time of one another have one cause: channels that were opened at the same moment.
const ONE_BURST: Duration = Duration::from_secs(2);

/// Where other programs share the limit, a little more is tried after so long.
const GROWS_EVERY: Duration = Duration::from_mins(1);

/// Returns how many channels are used at once on a connection with this `channel_max`: 1432 of 2047, 14 of 20.
///
/// What is missing is lost to channels that the server closed, or on its way to being closed.
pub(super) fn max_places(channel_max: u16) -> usize {
    (usize::from(channel_max).min(MAX_CHANNELS) * 7 / 10).max(1)
}

/// Returns with how many lost channel numbers a connection is replaced: 511 of 2047, 5 of 20.
pub(super) fn max_closed_by_server(channel_max: u16) -> usize {
    (usize::from(channel_max).min(MAX_CHANNELS) / 4).max(1)
}

/// Returns above how many Leases of each connection another one is opened: 1023 of 2047, 10 of 20.
pub(super) fn comfortable_leases(channel_max: u16) -> usize {
    (usize::from(channel_max).min(MAX_CHANNELS) / 2).max(1)
}

/// Returns how many of these channels no Lease takes.
const fn reserve(limit: usize) -> usize {
    let share = limit / 5;
    if share < 4 {
        4
    } else if share > 64 {
        64
    } else {
        share
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    all: AtomicUsize,
    /// The most that there were.
    peak: AtomicUsize,
    leases: AtomicUsize,
    learned: Mutex<Option<Learned>>,
    freed: Notify,
}

/// What a refusal has told.
#[derive(Debug, Clone, Copy)]
struct Learned {
    /// The broker's limit, or the most that were open.
    limit: usize,
    /// How many were allowed after the last refusal, which is less than `limit` if other programs share it.
    base: usize,
    since: Instant,
}

impl Learned {
    fn allowed(&self) -> usize {
        let steps = self.since.elapsed().as_secs() / GROWS_EVERY.as_secs();
        let growth = usize::try_from(steps).unwrap_or(usize::MAX).saturating_mul(self.base.div_ceil(8));
        // Some that are given back may not be closed yet.
        let margin = self.limit / 16 + 1;
        self.base.saturating_add(growth).min(self.limit.saturating_sub(margin)).max(1)
    }
}

impl Limits {
    /// Takes a place if there is one.
    pub(super) fn take(&self, for_lease: bool) -> bool {
        let Some(allowed) = self.learned().map(|learned| learned.allowed()) else {
            self.count(for_lease);
            return true;
        };
        let max_leases = allowed.saturating_sub(reserve(allowed)).max(1);
        let leases_are_few = !for_lease || self.leases.load(Ordering::Relaxed) < max_leases;
        let has_room = leases_are_few && self.all.load(Ordering::Relaxed) < allowed;
        if has_room {
            self.count(for_lease);
        }
        has_room
    }

    fn count(&self, for_lease: bool) {
        let all = self.all.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(all, Ordering::Relaxed);
        self.leases.fetch_add(usize::from(for_lease), Ordering::Relaxed);
    }

    /// Gives a place back.
    pub(super) fn free(&self, for_lease: bool) {
        self.all.fetch_sub(1, Ordering::Relaxed);
        self.leases.fetch_sub(usize::from(for_lease), Ordering::Relaxed);
        self.freed.notify_waiters();
    }

    /// Waits until a place is given back.
    pub(super) fn freed(&self) -> impl Future<Output = ()> {
        self.freed.notified()
    }

    /// The broker has closed a connection over one channel too many; `limit` is how many it allows, if it said so.
    pub(super) fn refused(&self, limit: Option<usize>) {
        let mut learned = self.learned();
        let (limit, base) = match *learned {
            Some(known) if known.since.elapsed() < ONE_BURST => return,
            // Other programs share it, so that less is ours than was thought. How many are open now says nothing: what
            // was on the connection is being given back.
            Some(known) => (limit.unwrap_or(known.limit), known.allowed() * 7 / 8),
            None => {
                let limit = limit.unwrap_or_else(|| self.peak.load(Ordering::Relaxed));
                (limit, limit)
            }
        };
        let now = Learned { limit, base: base.min(limit).max(1), since: Instant::now() };
        *learned = Some(now);
        drop(learned);
        let leases = now.allowed().saturating_sub(reserve(now.allowed())).max(1);
        warn!(
            limit,
            mailboxes = leases,
            "the broker allows too few channels and closed a connection over one more; from now on this gateway reads no more \
             mailboxes than fit; raise the limit of the user (max-channels) or of the node (channel_max_per_node), and start \
             the gateway again"
        );
    }

    /// Tells whether the broker has refused a channel.
    pub(super) fn are_learned(&self) -> bool {
        self.learned().is_some()
    }

    fn learned(&self) -> MutexGuard<'_, Option<Learned>> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
