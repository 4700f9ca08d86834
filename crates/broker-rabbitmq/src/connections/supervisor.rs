//! Keeps the connections open: one supervisor for each kind replaces a connection that is lost or worn out.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use broker::BrokerError;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::{BrokerConnection, CHECK_EVERY, Connections, PublishConnection, Role, kind::Kind, locked};

/// The pause after the first failed try to connect; it doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause while nothing works without the connection.
const MAX_PAUSE: Duration = Duration::from_secs(3);

/// The longest pause while all works without it: one more for Leases, which an operator's limit may not allow.
const MAX_PAUSE_FOR_MORE: Duration = Duration::from_mins(1);

/// The most connections with Leases of a broker that allows few channels on each: a thread and 8 MB each.
const MAX_LEASE_LINKS: usize = 32;

/// Leases of a connection to a broker that has RabbitMQ's default of `channel_max`: so many connections there are at
/// most.
const DEFAULT_COMFORTABLE_LEASES: usize = 1000;

/// The longest time without a line while the same attempt fails again and again.
const MAX_SILENCE: Duration = Duration::from_mins(1);

/// Failed attempts since the last success, and when they were last told.
#[derive(Debug, Default)]
struct Failures {
    attempts: u32,
    told: Option<(Instant, String)>,
    silence: Duration,
}

impl Failures {
    /// Tells whether an operator should hear of this one: of the first, of another reason, and then after silences that
    /// double up to [`MAX_SILENCE`].
    fn is_news(&mut self, reason: String, now: Instant) -> bool {
        if let Some((at, told)) = &self.told
            && *told == reason
            && now < *at + self.silence
        {
            return false;
        }
        self.silence = (self.silence * 2).clamp(MAX_PAUSE, MAX_SILENCE);
        self.told = Some((now, reason));
        true
    }
}

impl Connections {
    pub(super) async fn supervise(self: Arc<Self>) {
        let closing = self.closing.clone();
        let all = async { tokio::join!(self.keep(&self.publish), self.keep(&self.admin), self.keep(&self.lease)) };
        tokio::select! {
            () = closing.cancelled() => {}
            _ = all => {}
        }
    }

    /// Keeps the connections of one kind, for as long as it is polled.
    async fn keep(&self, kind: &Kind) {
        let mut pause = FIRST_PAUSE;
        let mut failures = Failures::default();
        loop {
            let reconnected = self.reconnect_missing(kind).await;
            kind.note(reconnected.is_err());
            self.tell_state();
            match reconnected {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    failures = Failures::default();
                    sleep(CHECK_EVERY).await;
                }
                Err(error) => {
                    self.tell_failure(kind.role, &error, pause, &mut failures);
                    self.wait(kind.role, pause.mul_f64(rand::random_range(0.5..1.0))).await;
                    let most = if self.is_there(kind.role) { MAX_PAUSE_FOR_MORE } else { MAX_PAUSE };
                    pause = (pause * 2).min(most);
                }
            }
        }
    }

    /// Opens every connection of one kind that is missing.
    async fn reconnect_missing(&self, kind: &Kind) -> Result<(), BrokerError> {
        match kind.role {
            Role::Publish => {
                if locked(&self.publishing)
                    .as_ref()
                    .is_none_or(|connection| !connection.is_connected() || connection.is_out_of_channels())
                {
                    // A worn-out one serves until the new one is there.
                    let connection = kind.connect_with(PublishConnection::open).await?;
                    if self.has_feeds {
                        connection.await_stream().await;
                    }
                    *locked(&self.publishing) = Some(Arc::new(connection));
                }
            }
            Role::Admin => {
                if locked(&self.administering)
                    .as_ref()
                    .is_none_or(|connection| !connection.is_connected() || connection.is_out_of_channels())
                {
                    let connection = kind.connect().await?;
                    *locked(&self.administering) = Some(Arc::new(connection));
                    // What it held on to of the connection before.
                    self.idle.clear();
                }
            }
            Role::Lease => {
                while self.needs_lease_link() {
                    let connected = kind.connect().await;
                    self.cannot_grow.store(connected.is_err(), Ordering::Relaxed);
                    let connection = Arc::new(connected?);
                    self.tell_ceiling(&connection);
                    locked(&self.leasing).push(connection);
                }
            }
            Role::Feed => {}
        }
        Ok(())
    }

    /// Forgets what cannot be used any more and tells whether more is needed. A worn-out one serves until then.
    fn needs_lease_link(&self) -> bool {
        let mut connections = locked(&self.leasing);
        connections.retain(|connection| connection.is_connected());
        let Some(any) = connections.first() else { return true };
        let leases: usize = connections.iter().map(|connection| connection.places()).sum();
        let wanted = (leases / any.comfortable_leases() + 2).min(self.max_lease_connections(any));
        let enough = connections.iter().filter(|connection| !connection.is_out_of_channels()).count() >= wanted;
        if enough {
            connections.retain(|connection| !connection.is_out_of_channels());
        }
        !enough
    }

    /// Returns how many connections may carry Leases: as many as `--max-mailboxes` needs, within reason.
    pub(super) fn max_lease_connections(&self, connection: &BrokerConnection) -> usize {
        let within_reason = MAX_LEASE_LINKS.max(self.max_leases.div_ceil(DEFAULT_COMFORTABLE_LEASES) + 1);
        (self.max_leases.div_ceil(connection.comfortable_leases()) + 1).clamp(2, within_reason)
    }

    /// Waits before the next try; longer than [`MAX_PAUSE`] only as long as there is such a connection.
    async fn wait(&self, role: Role, pause: Duration) {
        let until = Instant::now() + pause;
        sleep(pause.min(MAX_PAUSE)).await;
        while Instant::now() < until && self.is_there(role) {
            sleep(CHECK_EVERY).await;
        }
    }

    /// Logs it when the broker has become usable, or is no longer.
    fn tell_state(&self) {
        let is_ready = self.is_ready();
        match (self.was_ready.swap(is_ready, Ordering::Relaxed), is_ready) {
            (false, true) => info!(broker = %self.urls, "connected to the broker"),
            (true, false) => warn!(broker = %self.urls, "the connection to the broker was lost"),
            _ => {}
        }
    }

    /// Logs that a connection could not be opened; once for all kinds, if none can be, and the less often the longer it
    /// lasts.
    fn tell_failure(&self, role: Role, error: &BrokerError, retry_in: Duration, failures: &mut Failures) {
        let connection = role.as_str();
        failures.attempts += 1;
        let attempts = failures.attempts;
        let tells = role == Role::Publish || self.is_there(Role::Publish);
        if tells && failures.is_news(error.to_string(), Instant::now()) {
            warn!(broker = %self.urls, connection, %error, attempts, ?retry_in, "cannot connect to the broker");
        } else {
            debug!(broker = %self.urls, connection, %error, attempts, ?retry_in, "cannot connect to the broker");
        }
    }

    /// Logs once if the broker allows fewer channels than `--max-mailboxes` needs.
    fn tell_ceiling(&self, connection: &BrokerConnection) {
        let mailboxes = connection.max_places() * self.max_lease_connections(connection);
        if mailboxes < self.max_leases && !self.warned.swap(true, Ordering::Relaxed) {
            warn!(
                channel_max = connection.channel_max(),
                mailboxes,
                max_mailboxes = self.max_leases,
                "the broker allows so few channels on a connection that fewer mailboxes than --max-mailboxes can be read at once"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_outage_is_told_less_and_less_often() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        let told = |failures: &mut Failures, seconds| {
            failures.is_news("refused".to_owned(), start + Duration::from_secs(seconds))
        };
        let lines: Vec<u64> = (0..300).filter(|second| told(&mut failures, *second)).collect();
        assert_eq!(lines, [0, 3, 9, 21, 45, 93, 153, 213, 273]);
        assert!(failures.is_news("another reason".to_owned(), start + Duration::from_mins(5)));
    }
}
