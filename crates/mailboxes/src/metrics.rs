//! What is counted of mailboxes: Sessions, why they end, and what their windows hold.

use prometheus_client::{
    encoding::{EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// The name of the label of releases.
const OUTCOME: &str = "outcome";

/// Why a Session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Release {
    /// The client hung up.
    Disconnected,
    /// No poll came within the linger.
    Lingered,
    /// The confirm deadline passed.
    Unconfirmed,
    /// Another gateway got the mailbox.
    HandedOver,
    /// The Lease could not be opened.
    NotOpened,
    /// The mailbox was deleted.
    MailboxGone,
    /// The broker's connection went.
    BrokerLost,
    /// The gateway ended.
    ShuttingDown,
}

impl Release {
    const ALL: [Self; 8] = [
        Self::Disconnected,
        Self::Lingered,
        Self::Unconfirmed,
        Self::HandedOver,
        Self::NotOpened,
        Self::MailboxGone,
        Self::BrokerLost,
        Self::ShuttingDown,
    ];

    /// Returns the reason in words, for a log.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "the client hung up",
            Self::Lingered => "no poll came",
            Self::Unconfirmed => "the confirm deadline passed",
            Self::HandedOver => "another gateway got the mailbox",
            Self::NotOpened => "the lease could not be opened",
            Self::MailboxGone => "the mailbox was deleted",
            Self::BrokerLost => "the broker was lost",
            Self::ShuttingDown => "the gateway is shutting down",
        }
    }
}

impl EncodeLabelValue for Release {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        let word = match self {
            Self::Disconnected => "disconnected",
            Self::Lingered => "lingered",
            Self::Unconfirmed => "unconfirmed",
            Self::HandedOver => "handed_over",
            Self::NotOpened => "not_opened",
            Self::MailboxGone => "mailbox_gone",
            Self::BrokerLost => "broker_lost",
            Self::ShuttingDown => "shutting_down",
        };
        word.encode(encoder)
    }
}

/// Counts Sessions, and why they end.
#[derive(Debug)]
pub struct MailboxMetrics {
    /// Open Sessions.
    pub(super) sessions: Gauge,
    /// How many there may be.
    pub(super) max_sessions: Gauge,
    /// Bytes that all windows take.
    pub(super) window_bytes: Gauge,
    /// Events that were confirmed without having been shown, because the rights of their reader select none of them.
    pub(super) events_withheld: Counter,
    releases: Family<[(&'static str, Release); 1], Counter>,
}

impl Default for MailboxMetrics {
    fn default() -> Self {
        let releases = Family::default();
        for release in Release::ALL {
            drop(releases.get_or_create(&[(OUTCOME, release)]));
        }
        Self {
            sessions: Gauge::default(),
            max_sessions: Gauge::default(),
            window_bytes: Gauge::default(),
            events_withheld: Counter::default(),
            releases,
        }
    }
}

impl MailboxMetrics {
    /// Shows all of this to Prometheus.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("sessions", "Open sessions", self.sessions.clone());
        registry.register("max_sessions", "Maximum of open sessions", self.max_sessions.clone());
        registry.register(
            "events_withheld",
            "Events confirmed without having been shown, for want of a right to read them",
            self.events_withheld.clone(),
        );
        registry.register("releases", "Sessions that ended, by reason", self.releases.clone());
        registry.register("window_bytes", "Bytes that all windows take", self.window_bytes.clone());
    }

    /// Counts a Session that ended.
    pub(super) fn released(&self, release: Release) {
        self.releases.get_or_create(&[(OUTCOME, release)]).inc();
    }
}
