//! What is counted of HTTP: connections, requests, and what clients get and publish.
//!
//! Durations are of the gateway's own clock, but for the age of an event, whose beginning is what its publisher says.

mod by;
mod label;
mod looked_at;

use std::time::Duration;

use events::{Event, EventTime};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use self::{
    by::{By, by},
    label::Labels,
};
pub(super) use self::{
    label::{
        Answer, Follower, Limit, Method, Operation, Published, Reading, RefusedByGuard, Source, Status, Transport,
        Words,
    },
    looked_at::LookedAt,
};

/// Metrics by one label.
type ByOne<V, M> = By<[(&'static str, V); 1], M>;

/// A histogram of each way to read.
type ByReading = By<Reading, Histogram>;

/// The names of labels.
const OUTCOME: &str = "outcome";
const SOURCE: &str = "source";
const FOLLOWER: &str = "state";
const ROUTE: &str = "route";
const WHAT: &str = "what";

/// Upper bounds of what takes a moment, in seconds: from a write into memory to the longest wait for a confirm.
const MOMENTS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds of how long polls and streams are held, in seconds. A poll is held up to 55 s, by default 25 s; a
/// stream of a feed for days.
const HELD: [f64; 16] =
    [0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 60.0, 300.0, 1800.0, 14_400.0, 86_400.0];

/// Upper bounds of how old an event is when it is handed out, in seconds: from an event that a poll waited for to one
/// that waited for its client all day.
const AGES: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 3600.0, 86_400.0];

/// Upper bounds of how many events an answer has. A client may ask for up to 500.
const BATCHES: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];

/// What requests are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Request {
    /// What it asks for.
    pub(super) route: Operation,
    /// Its method.
    pub(super) method: Method,
    /// How it was answered.
    pub(super) status: Status,
}

impl Labels for Request {
    const COUNT: usize = Operation::ALL.len() * Method::ALL.len() * Status::ALL.len();

    fn index(&self) -> usize {
        (self.route.index() * Method::ALL.len() + self.method.index()) * Status::ALL.len() + self.status.index()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct HttpMetrics {
    /// Open client connections.
    pub(super) connections: Gauge,
    /// How many there may be.
    pub(super) max_connections: Gauge,
    /// Connections refused because there were too many.
    pub(super) connections_refused: Counter,
    /// How often a connection could not be accepted.
    pub(super) accepts_failed: Counter,
    refused_by_guard: ByOne<RefusedByGuard, Counter>,
    limited: ByOne<Limit, Counter>,
    /// Polls that wait, and streams.
    pub(super) polls_held: Gauge,
    /// Events handed to clients, repeats included.
    pub(super) events: Counter,
    /// Those of them that may be repeats.
    pub(super) events_redelivered: Counter,
    polls: ByOne<Answer, Counter>,
    held: ByReading,
    hand_outs: ByReading,
    batches: ByReading,
    published: ByOne<Published, Counter>,
    resets: ByOne<Source, Counter>,
    followers: ByOne<Follower, Gauge>,
    confirms: Histogram,
    publish_answers: Histogram,
    requests: By<Request, Counter>,
    durations: ByOne<Operation, Histogram>,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        Self {
            connections: Gauge::default(),
            max_connections: Gauge::default(),
            connections_refused: Counter::default(),
            accepts_failed: Counter::default(),
            refused_by_guard: by(WHAT, Counter::default),
            limited: by(WHAT, Counter::default),
            polls_held: Gauge::default(),
            events: Counter::default(),
            events_redelivered: Counter::default(),
            polls: by(OUTCOME, Counter::default),
            published: by(OUTCOME, Counter::default),
            resets: by(SOURCE, Counter::default),
            followers: by(FOLLOWER, Gauge::default),
            confirms: moments(),
            publish_answers: moments(),
            requests: By::new(Counter::default),
            // As many series for each as there are bounds: those that are never asked for are left out.
            durations: By::new(moments),
            held: By::new(|| Histogram::new(HELD)),
            hand_outs: By::new(|| Histogram::new(AGES)),
            batches: By::new(|| Histogram::new(BATCHES)),
        }
    }
}

impl HttpMetrics {
    /// Counts an answered poll.
    pub(super) fn answered(&self, answer: Answer) {
        self.polls.of(&[(OUTCOME, answer)]).inc();
    }

    /// Counts a batch that is handed out: how many events it has, and how old the oldest is that is new to its client.
    pub(super) fn handed_out(&self, reading: Reading, events: usize, oldest_new: Option<&Event>) {
        self.events.inc_by(events as u64);
        self.batches.of(&reading).observe(f64::from(u32::try_from(events).unwrap_or(u32::MAX)));
        // An event that does not say when it was published has the time at which the broker delivered it.
        if let Some(event) = oldest_new.filter(|event| event.time_is_known) {
            // Clocks differ.
            let millis = EventTime::now().unix_millis().saturating_sub(event.time.unix_millis());
            self.hand_outs.of(&reading).observe(Duration::from_millis(millis).as_secs_f64());
        }
    }

    /// Counts an event that a client published, and how long the broker took to confirm it.
    pub(super) fn published(&self, published: Published, took: Duration) {
        self.published.of(&[(OUTCOME, published)]).inc();
        if published == Published::Confirmed {
            self.confirms.observe(took.as_secs_f64());
        }
    }

    /// Counts how long an event took from its last byte to its answer.
    pub(super) fn publish_answered(&self, took: Duration) {
        self.publish_answers.observe(took.as_secs_f64());
    }

    /// Counts a request that the guard refused.
    pub(super) fn refused_by_guard(&self, what: RefusedByGuard) {
        self.refused_by_guard.of(&[(WHAT, what)]).inc();
    }

    /// Counts a sender that has reached a limit of its own.
    pub(super) fn limited(&self, what: Limit) {
        self.limited.of(&[(WHAT, what)]).inc();
    }

    /// Counts an answer that tells a client that something is gone.
    pub(super) fn told_reset(&self, source: Source) {
        self.resets.of(&[(SOURCE, source)]).inc();
    }

    /// Counts one more follower of a feed, until the value is dropped.
    pub(super) fn following(&self, follower: Follower) -> Following {
        let followers = self.followers.of(&[(FOLLOWER, follower)]).clone();
        followers.inc();
        Following(followers)
    }

    /// Counts how long a poll or a stream was held.
    pub(super) fn held(&self, reading: Reading, held: Duration) {
        self.held.of(&reading).observe(held.as_secs_f64());
    }

    /// Counts a request that is over, and how long it took unless it waited for events.
    pub(super) fn requested(&self, request: &Request, took: impl FnOnce() -> Duration) {
        self.requests.of(request).inc();
        if request.route.reading().is_none() {
            self.durations.of(&[(ROUTE, request.route)]).observe(took().as_secs_f64());
        }
    }

    /// Shows all of this to Prometheus.
    pub(super) fn register(&self, registry: &mut Registry) {
        self.register_requests(registry);
        self.register_events(registry);
    }

    fn register_requests(&self, registry: &mut Registry) {
        registry.register("connections", "Open client connections", self.connections.clone());
        registry.register("max_connections", "Maximum of open client connections", self.max_connections.clone());
        registry.register(
            "connections_refused",
            "Connections refused because there were too many",
            self.connections_refused.clone(),
        );
        registry.register(
            "accepts_failed",
            "Tries to accept a connection that failed, as for lack of file descriptors",
            self.accepts_failed.clone(),
        );
        registry.register("http_requests", "Requests that are over, also streams", self.requests.family());
        registry.register(
            "http_request_duration_seconds",
            "From the head of a request to the end of its answer; not for polls and streams",
            self.durations.family(),
        );
        registry.register(
            "refused_by_guard",
            "Requests that were refused for their Host, or because a page of another origin sent them",
            self.refused_by_guard.family(),
        );
        registry.register(
            "limited",
            "Requests and connections of a sender that had reached a limit of its own",
            self.limited.family(),
        );
        registry.register("polls_held", "Polls that wait, and streams", self.polls_held.clone());
        registry.register("polls", "Answered polls, and streams that began", self.polls.family());
        registry.register(
            "poll_held_seconds",
            "From the head of a poll to its answer, of a stream to its end, or until the client hung up; without those that were \
             answered with an error",
            self.held.family(),
        );
    }

    fn register_events(&self, registry: &mut Registry) {
        registry.register("events", "Events handed to clients, repeats included", self.events.clone());
        registry.register("events_redelivered", "Events that may be repeats", self.events_redelivered.clone());
        registry.register(
            "batch_events",
            "Events of each batch that was handed out; 0 for the news alone that something is gone",
            self.batches.family(),
        );
        registry.register(
            "hand_out_seconds",
            "From the time of an event to its handing out, of the oldest event of each batch that is new to its client; also \
             the time in which the client was away",
            self.hand_outs.family(),
        );
        registry.register("resets", "Answers that tell a client that something is gone", self.resets.family());
        registry.register("feed_followers", "Clients that follow a feed now", self.followers.family());
        registry.register("published", "Events published over HTTP", self.published.family());
        registry.register(
            "publish_confirm_seconds",
            "From a whole event that came over HTTP to its confirm by the broker",
            self.confirms.clone(),
        );
        registry.register(
            "publish_answer_seconds",
            "From the last byte of an event that came over HTTP to its answer, whatever that is",
            self.publish_answers.clone(),
        );
    }
}

/// One more follower, until it is dropped.
#[derive(Debug)]
pub(super) struct Following(Gauge);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn moments() -> Histogram {
    Histogram::new(MOMENTS)
}
