//! What the gateway counts, declared once.
//!
//! Labels are bounded sets of words; no client id and no topic is ever one.

use prometheus_client::{
    encoding::EncodeLabelValue,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// How a poll was answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Answer {
    /// With events.
    Batch,
    /// With nothing, at its deadline.
    Nothing,
    /// With a stream of events.
    Stream,
    /// A newer poll took its place.
    Replaced,
    /// With an error or a request to come back.
    Refused,
}

/// Why a Session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Release {
    /// The client hung up.
    Disconnected,
    /// No poll came within the linger.
    Lingered,
    /// The confirm deadline passed.
    Unconfirmed,
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
    /// Returns the reason in words, for a log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "the client hung up",
            Self::Lingered => "no poll came",
            Self::Unconfirmed => "the confirm deadline passed",
            Self::NotOpened => "the lease could not be opened",
            Self::MailboxGone => "the mailbox was deleted",
            Self::BrokerLost => "the broker was lost",
            Self::ShuttingDown => "the gateway is shutting down",
        }
    }
}

/// What became of a published event.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Published {
    /// The broker confirmed it.
    Confirmed,
    /// The broker did not.
    Failed,
}

/// Counters by one label.
type CountersBy<V> = Family<[(&'static str, V); 1], Counter>;

/// The name of that label.
const OUTCOME: &str = "outcome";

/// Every metric of the process.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Open client connections.
    pub connections: Gauge,
    /// Connections refused because there were too many.
    pub connections_refused: Counter,
    /// Polls that wait.
    pub polls_held: Gauge,
    /// Open Sessions.
    pub sessions: Gauge,
    /// Bytes that all windows take.
    pub window_bytes: Gauge,
    /// Bytes of published events on their way in.
    pub transit_in_bytes: Gauge,
    /// Bytes of answers on their way out.
    pub transit_out_bytes: Gauge,
    /// Events handed to clients, repeats included.
    pub events: Counter,
    /// Those of them that may be repeats.
    pub events_redelivered: Counter,
    /// Whether the broker can be used: 1 or 0.
    pub broker_ready: Gauge,
    /// How often the embedded broker's store was synced.
    pub store_syncs: Counter,
    /// Payload bytes that it stored.
    pub store_payload_bytes: Counter,
    /// Events that it keeps.
    pub store_events: Gauge,
    /// What they count for retention, in bytes.
    pub store_bytes: Gauge,
    polls: CountersBy<Answer>,
    releases: CountersBy<Release>,
    published: CountersBy<Published>,
}

impl Metrics {
    /// Counts an answered poll.
    pub fn answered(&self, answer: Answer) {
        self.polls.get_or_create(&[(OUTCOME, answer)]).inc();
    }

    /// Counts a Session that ended.
    pub fn released(&self, release: &Release) {
        self.releases.get_or_create(&[(OUTCOME, *release)]).inc();
    }

    /// Counts an event that a client published.
    pub fn published(&self, published: Published) {
        self.published.get_or_create(&[(OUTCOME, published)]).inc();
    }

    /// Returns everything in the Prometheus text format, OpenMetrics 1.0.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut registry = Registry::with_prefix("postern");
        registry.register("connections", "Open client connections", self.connections.clone());
        registry.register(
            "connections_refused",
            "Connections refused because there were too many",
            self.connections_refused.clone(),
        );
        registry.register("polls_held", "Polls that wait", self.polls_held.clone());
        registry.register("polls", "Answered polls", self.polls.clone());
        registry.register("sessions", "Open sessions", self.sessions.clone());
        registry.register("releases", "Sessions that ended, by reason", self.releases.clone());
        registry.register("window_bytes", "Bytes that all windows take", self.window_bytes.clone());
        registry.register(
            "transit_in_bytes",
            "Bytes of published events on their way in",
            self.transit_in_bytes.clone(),
        );
        registry.register("transit_out_bytes", "Bytes of answers on their way out", self.transit_out_bytes.clone());
        registry.register("events", "Events handed to clients, repeats included", self.events.clone());
        registry.register("events_redelivered", "Events that may be repeats", self.events_redelivered.clone());
        registry.register("published", "Events published over HTTP", self.published.clone());
        registry.register("broker_ready", "Whether the broker can be used", self.broker_ready.clone());
        registry.register("store_syncs", "Syncs of the embedded store", self.store_syncs.clone());
        registry.register(
            "store_payload_bytes",
            "Payload bytes written to the embedded store",
            self.store_payload_bytes.clone(),
        );
        registry.register("store_events", "Events kept in the embedded store", self.store_events.clone());
        registry.register("store_bytes", "What they count for retention", self.store_bytes.clone());
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}
