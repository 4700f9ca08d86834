//! What the handlers share.

use std::{sync::Arc, time::Duration};

use access::{Access, Principal};
use broker::Broker;
use events::TopicPattern;
use feeds::Feed;
use hyper::header::HeaderValue;
use mailboxes::Registry;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    connection::persistence::idle_timeout_header,
    cors::AllowedOrigins,
    credentials::TokenCookies,
    guard::AllowedHosts,
    held::HeldPollGuard,
    key_set::KeySetUrl,
    limits::{LimitOptions, Limits},
    metrics::{HttpMetrics, LookedAt},
    problem::Problem,
    readiness::Readiness,
    transit::Transit,
};
use crate::metrics::Metrics;

/// What an operator can set about HTTP.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// How many client connections may be open at once.
    pub max_connections: usize,
    /// The largest published event, in bytes.
    pub max_body: usize,
    /// How many bytes of events may be on their way in, and as many of answers on their way out.
    pub max_transit: usize,
    /// How long a client may take to send the head of a request, and a third of what it may take for a body.
    pub header_timeout: Duration,
    /// How long a connection is kept on which nothing is asked.
    pub idle_timeout: Duration,
    /// How long everything is still served once the gateway is to leave.
    pub shutdown_delay: Duration,
    /// How long held polls and open answers may take once the gateway shuts down.
    pub shutdown_grace: Duration,
    /// Who may do what.
    pub access: Arc<Access>,
    /// Where keys of tokens are fetched from.
    pub key_set: Option<KeySetUrl>,
    /// The cookies that a token may be in.
    pub token_cookies: TokenCookies,
    /// How many requests a connection of HTTP/2 may carry at once.
    pub max_streams: Option<u32>,
    /// What one sender may use of it.
    pub limits: LimitOptions,
    /// By which names the gateway may be asked, besides those of loopback.
    pub hosts: AllowedHosts,
    /// `/metrics` is served at all listeners, and not at those for operators alone.
    pub has_public_metrics: bool,
    /// Which pages of other origins may use the gateway.
    pub allowed_origins: AllowedOrigins,
    /// Which topics can be followed as Feeds.
    pub feed_topics: Vec<TopicPattern>,
    /// How long shared caches may keep answers of polls of feeds, if they may. Whole seconds.
    pub feed_cache: Option<Duration>,
}

/// Everything that a handler needs.
pub struct App<B: Broker> {
    pub(super) broker: Arc<B>,
    pub(super) registry: Registry<B>,
    pub(super) feed: Arc<Feed<B::Log>>,
    pub(super) metrics: Arc<HttpMetrics>,
    pub(super) readiness: Readiness<B>,
    /// Those of all parts of the gateway.
    pub(super) all_metrics: Metrics,
    pub(super) options: HttpOptions,
    /// What every answer says of how long its connection is kept.
    pub(super) idle_timeout_header: HeaderValue,
    pub(super) limits: Limits,
    /// How many more events may be on their way in: as many as connections, which over HTTP/2 carry many.
    pub(super) publishing: Arc<Semaphore>,
    pub(super) incoming: Transit,
    pub(super) outgoing: Transit,
    /// What requests change, as long as it is on its way.
    pub(super) effects: TaskTracker,
    /// The gateway should get no more requests, and serves those that come.
    pub(super) leaving: CancellationToken,
    /// No more polls are held.
    pub(super) shutting_down: CancellationToken,
}

impl<B: Broker> App<B> {
    /// Takes these parts, and adds to the metrics those of HTTP.
    pub fn new(
        broker: Arc<B>,
        registry: Registry<B>,
        feed: Arc<Feed<B::Log>>,
        mut all_metrics: Metrics,
        options: HttpOptions,
    ) -> Self {
        let publishing = Arc::new(Semaphore::new(options.max_connections.min(Semaphore::MAX_PERMITS)));
        let (incoming, outgoing) = (Transit::new(options.max_transit), Transit::new(options.max_transit));
        let leaving = CancellationToken::new();
        let readiness = Readiness::new(&broker, &feed, &options.access, &leaving);
        let metrics = HttpMetrics::default();
        metrics.max_connections.set(i64::try_from(options.max_connections).unwrap_or(i64::MAX));
        metrics.register(all_metrics.postern());
        options.access.metrics().register(all_metrics.postern());
        let looked_at =
            LookedAt { readiness: readiness.clone(), incoming: incoming.clone(), outgoing: outgoing.clone() };
        all_metrics.postern().register_collector(Box::new(looked_at));
        let metrics = Arc::new(metrics);
        Self {
            idle_timeout_header: idle_timeout_header(options.idle_timeout),
            limits: Limits::new(options.limits.clone(), Arc::clone(&metrics)),
            broker,
            registry,
            feed,
            metrics,
            readiness,
            all_metrics,
            options,
            publishing,
            incoming,
            outgoing,
            effects: TaskTracker::new(),
            leaving,
            shutting_down: CancellationToken::new(),
        }
    }

    /// Counts one more held poll, unless its sender holds as many as it may, or there are as many as there may be
    /// connections: over HTTP/2 one connection holds many.
    pub(super) fn hold_poll(&self, principal: Option<&Principal>) -> Result<HeldPollGuard, Problem> {
        let place = self.limits.hold_poll(principal)?;
        let held = HeldPollGuard::new(&self.metrics.polls_held, self.options.max_connections, place);
        held.ok_or(Problem::TooManyConnections)
    }
}
