//! What the gateway counts, declared once.
//!
//! Labels are bounded sets of words; no client id and no topic is ever one. Every word of a small set is there from the start, so
//! that the first occurrence is an increase.

mod label;
// Elsewhere there is no /proc, and the process is not measured.
#[cfg(target_os = "linux")]
mod process;
mod text;

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

pub use self::{
    label::{Answer, Follower, Method, Operation, Published, Release, Source, Status},
    text::TextFormat,
};

/// Metrics by one label.
type By<V, M> = Family<[(&'static str, V); 1], M, fn() -> M>;

/// The names of labels.
const OUTCOME: &str = "outcome";
const SOURCE: &str = "source";
const FOLLOWER: &str = "state";
const ROUTE: &str = "route";

/// Upper bounds of what takes a moment, in seconds: from a write into memory to the longest wait for a confirm.
const MOMENTS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What requests are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Request {
    /// What it asks for.
    pub route: Operation,
    /// Its method.
    pub method: Method,
    /// How it was answered.
    pub status: Status,
}

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    /// Open client connections.
    pub connections: Gauge,
    /// How many there may be.
    pub max_connections: Gauge,
    /// Connections refused because there were too many.
    pub connections_refused: Counter,
    /// How often a connection could not be accepted.
    pub accepts_failed: Counter,
    /// Polls that wait, and streams.
    pub polls_held: Gauge,
    /// Open Sessions.
    pub sessions: Gauge,
    /// How many there may be.
    pub max_sessions: Gauge,
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
    /// Whether the gateway says that it is ready: 1 or 0.
    pub ready: Gauge,
    /// Whether the broker can be used: 1 or 0.
    pub broker_ready: Gauge,
    /// Searches of the log for followers of feeds that run now.
    pub feed_searches: Gauge,
    /// Those that failed.
    pub feed_searches_failed: Counter,
    /// How often the embedded broker's store was synced.
    pub store_syncs: Counter,
    /// Payload bytes that it stored.
    pub store_payload_bytes: Counter,
    /// Events that it keeps.
    pub store_events: Gauge,
    /// What they count for retention, in bytes.
    pub store_bytes: Gauge,
    /// How much they may count.
    pub store_max_bytes: Gauge,
    polls: By<Answer, Counter>,
    releases: By<Release, Counter>,
    published: By<Published, Counter>,
    resets: By<Source, Counter>,
    followers: By<Follower, Gauge>,
    confirms: Histogram,
    requests: Family<Request, Counter>,
    durations: By<Operation, Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            connections: Gauge::default(),
            max_connections: Gauge::default(),
            connections_refused: Counter::default(),
            accepts_failed: Counter::default(),
            polls_held: Gauge::default(),
            sessions: Gauge::default(),
            max_sessions: Gauge::default(),
            window_bytes: Gauge::default(),
            transit_in_bytes: Gauge::default(),
            transit_out_bytes: Gauge::default(),
            events: Counter::default(),
            events_redelivered: Counter::default(),
            ready: Gauge::default(),
            broker_ready: Gauge::default(),
            feed_searches: Gauge::default(),
            feed_searches_failed: Counter::default(),
            store_syncs: Counter::default(),
            store_payload_bytes: Counter::default(),
            store_events: Gauge::default(),
            store_bytes: Gauge::default(),
            store_max_bytes: Gauge::default(),
            polls: by(OUTCOME, Answer::ALL, Counter::default),
            releases: by(OUTCOME, Release::ALL, Counter::default),
            published: by(OUTCOME, Published::ALL, Counter::default),
            resets: by(SOURCE, Source::ALL, Counter::default),
            followers: by(FOLLOWER, Follower::ALL, Gauge::default),
            confirms: moments(),
            requests: Family::default(),
            // As many series for each as there are bounds: those that are never asked for are left out.
            durations: by(ROUTE, &[], moments),
        }
    }
}

impl Metrics {
    /// Says how many connections and sessions there may be.
    pub fn may_hold(&self, connections: usize, sessions: usize) {
        self.max_connections.set(i64::try_from(connections).unwrap_or(i64::MAX));
        self.max_sessions.set(i64::try_from(sessions).unwrap_or(i64::MAX));
    }

    /// Counts an answered poll.
    pub fn answered(&self, answer: Answer) {
        self.polls.get_or_create(&[(OUTCOME, answer)]).inc();
    }

    /// Counts a Session that ended.
    pub fn released(&self, release: Release) {
        self.releases.get_or_create(&[(OUTCOME, release)]).inc();
    }

    /// Counts an event that a client published, and how long the broker took to confirm it.
    pub fn published(&self, published: Published, took: Duration) {
        self.published.get_or_create(&[(OUTCOME, published)]).inc();
        if published == Published::Confirmed {
            self.confirms.observe(took.as_secs_f64());
        }
    }

    /// Counts an answer that tells a client that something is gone.
    pub fn told_reset(&self, source: Source) {
        self.resets.get_or_create(&[(SOURCE, source)]).inc();
    }

    /// Counts one more follower of a feed, until the value is dropped.
    #[must_use]
    pub fn following(&self, follower: Follower) -> Counted {
        Counted::new(&self.followers.get_or_create(&[(FOLLOWER, follower)]))
    }

    /// Counts a request that is over, and how long it took unless it waited for events.
    pub fn requested(&self, request: &Request, took: Duration) {
        self.requests.get_or_create(request).inc();
        if !request.route.waits() {
            self.durations.get_or_create(&[(ROUTE, request.route)]).observe(took.as_secs_f64());
        }
    }

    /// Returns everything as text.
    #[must_use]
    pub fn encode(&self, format: TextFormat) -> String {
        let mut registry = Registry::default();
        let postern = registry.sub_registry_with_prefix("postern");
        postern.register("build", "The version of the gateway", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        self.register_clients(postern);
        self.register_events(postern);
        self.register_broker(postern);
        #[cfg(target_os = "linux")]
        process::register(&mut registry);
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        match format {
            TextFormat::OpenMetrics => text,
            TextFormat::Classic => text::classic(&text),
        }
    }

    fn register_clients(&self, postern: &mut Registry) {
        postern.register("connections", "Open client connections", self.connections.clone());
        postern.register("max_connections", "Maximum of open client connections", self.max_connections.clone());
        postern.register(
            "connections_refused",
            "Connections refused because there were too many",
            self.connections_refused.clone(),
        );
        postern.register(
            "accepts_failed",
            "Tries to accept a connection that failed, as for lack of file descriptors",
            self.accepts_failed.clone(),
        );
        postern.register("http_requests", "Requests that are over, also streams", self.requests.clone());
        postern.register(
            "http_request_duration_seconds",
            "From the head of a request to the end of its answer; not for polls and streams",
            self.durations.clone(),
        );
        postern.register("polls_held", "Polls that wait, and streams", self.polls_held.clone());
        postern.register("polls", "Answered polls, and streams that began", self.polls.clone());
        postern.register("sessions", "Open sessions", self.sessions.clone());
        postern.register("max_sessions", "Maximum of open sessions", self.max_sessions.clone());
        postern.register("releases", "Sessions that ended, by reason", self.releases.clone());
        postern.register("window_bytes", "Bytes that all windows take", self.window_bytes.clone());
        postern.register(
            "transit_in_bytes",
            "Bytes of published events on their way in",
            self.transit_in_bytes.clone(),
        );
        postern.register("transit_out_bytes", "Bytes of answers on their way out", self.transit_out_bytes.clone());
    }

    fn register_events(&self, postern: &mut Registry) {
        postern.register("events", "Events handed to clients, repeats included", self.events.clone());
        postern.register("events_redelivered", "Events that may be repeats", self.events_redelivered.clone());
        postern.register("resets", "Answers that tell a client that something is gone", self.resets.clone());
        postern.register("feed_followers", "Clients that follow a feed now", self.followers.clone());
        postern.register(
            "feed_searches",
            "Searches of the log that run now, for followers that lag behind what is in memory",
            self.feed_searches.clone(),
        );
        postern.register(
            "feed_searches_failed",
            "Searches of the log that failed, or waited for their turn in vain",
            self.feed_searches_failed.clone(),
        );
        postern.register("published", "Events published over HTTP", self.published.clone());
        postern.register(
            "publish_confirm_seconds",
            "From a whole event that came over HTTP to its confirm by the broker",
            self.confirms.clone(),
        );
    }

    fn register_broker(&self, postern: &mut Registry) {
        postern.register("ready", "Whether the gateway says that it is ready", self.ready.clone());
        postern.register("broker_ready", "Whether the broker can be used", self.broker_ready.clone());
        postern.register("store_syncs", "Syncs of the embedded store", self.store_syncs.clone());
        postern.register(
            "store_payload_bytes",
            "Payload bytes written to the embedded store",
            self.store_payload_bytes.clone(),
        );
        postern.register("store_events", "Events kept in the embedded store", self.store_events.clone());
        postern.register("store_bytes", "What they count for retention", self.store_bytes.clone());
        postern.register(
            "store_max_bytes",
            "How much they may count before the oldest go; 0 without an embedded store",
            self.store_max_bytes.clone(),
        );
    }
}

/// One more in a gauge, until it is dropped.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    /// Counts one more.
    #[must_use]
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Makes metrics by a label that has all these values from the start.
fn by<V, M>(label: &'static str, values: &[V], new: fn() -> M) -> By<V, M>
where
    V: EncodeLabelValue + Copy + Eq + std::hash::Hash,
    M: Clone,
{
    let metrics = Family::new_with_constructor(new);
    for value in values {
        drop(metrics.get_or_create(&[(label, *value)]));
    }
    metrics
}

fn moments() -> Histogram {
    Histogram::new(MOMENTS)
}
