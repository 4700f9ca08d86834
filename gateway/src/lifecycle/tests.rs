//! What happens when a part ends without which the gateway serves nothing.

use std::time::Duration;

use access::Access;
use broker::{
    BrokerError, LeaseRequest, MailboxStatus, OpenError,
    handover::Instance,
    log::{EventLog, LogEnd, LogTail, Logged, Searched},
};
use broker_embedded::{EmbeddedBroker, EmbeddedLog, EmbeddedOptions, EmbeddedTail, KeptMailboxes, Retention};
use events::{ClientId, Event, Selection, Topic, TopicPattern, testing};
use feeds::WindowLimits;
use tokio::time::timeout;

use super::*;
use crate::{
    http::{AllowedHosts, AllowedOrigins, LimitOptions, ListenAddress, TokenCookies},
    process::Hangup,
};

/// The embedded broker, whose log cannot be followed for long.
struct Unfollowable(EmbeddedBroker);

struct UnfollowableLog(Arc<EmbeddedLog>);

/// Panics where the embedded broker has the next events.
struct PanickingTail(EmbeddedTail);

impl LogTail for PanickingTail {
    async fn next(&mut self) -> Result<Vec<Logged>, BrokerError> {
        let events = self.0.next().await?;
        panic!("a bug, at {} events", events.len());
    }

    async fn rest(&mut self) {
        self.0.rest().await;
    }

    async fn resume(&mut self, show: impl FnMut(Vec<Logged>) + Send) -> Result<(), BrokerError> {
        self.0.resume(show).await
    }
}

impl EventLog for UnfollowableLog {
    type Tail = PanickingTail;

    async fn open_tail(&self, show: impl FnMut(&Topic, u64) + Send) -> Result<LogEnd<PanickingTail>, BrokerError> {
        let LogEnd { next, complete_from, tail } = self.0.open_tail(show).await?;
        Ok(LogEnd { next, complete_from, tail: PanickingTail(tail) })
    }

    async fn reaches(&self, offset: u64) -> Result<bool, BrokerError> {
        self.0.reaches(offset).await
    }

    async fn search(&self, selection: &Selection, from: u64, to: u64, limit: usize) -> Result<Searched, BrokerError> {
        self.0.search(selection, from, to, limit).await
    }

    async fn search_after(
        &self,
        selection: &Selection,
        seen: u64,
        to: u64,
        limit: usize,
    ) -> Result<Searched, BrokerError> {
        self.0.search_after(selection, seen, to, limit).await
    }
}

impl Broker for Unfollowable {
    type Lease = <EmbeddedBroker as Broker>::Lease;
    type Log = UnfollowableLog;

    fn instance(&self) -> Instance {
        Instance::random()
    }

    fn log(&self) -> Arc<UnfollowableLog> {
        Arc::new(UnfollowableLog(self.0.log()))
    }

    async fn open(&self, request: LeaseRequest) -> Result<Self::Lease, OpenError> {
        self.0.open(request).await
    }

    async fn bind(&self, client: &ClientId, topics: &[TopicPattern]) -> Result<(), BrokerError> {
        self.0.bind(client, topics).await
    }

    async fn unbind(&self, client: &ClientId, topic: &TopicPattern) -> Result<(), BrokerError> {
        self.0.unbind(client, topic).await
    }

    async fn delete(&self, client: &ClientId) -> Result<(), BrokerError> {
        self.0.delete(client).await
    }

    async fn mailbox(&self, client: &ClientId) -> Result<Option<MailboxStatus>, BrokerError> {
        self.0.mailbox(client).await
    }

    async fn publish(&self, event: &Event) -> Result<(), BrokerError> {
        self.0.publish(event).await
    }

    async fn publish_all(&self, events: &[Event]) -> Vec<Result<(), BrokerError>> {
        self.0.publish_all(events).await
    }

    fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

const FOREVER: Duration = Duration::from_hours(24);

fn http() -> HttpOptions {
    HttpOptions {
        max_connections: 10,
        max_body: 1000,
        max_transit: 1 << 20,
        header_timeout: FOREVER,
        idle_timeout: FOREVER,
        shutdown_delay: Duration::ZERO,
        shutdown_grace: FOREVER,
        access: Arc::new(Access::open()),
        key_set: None,
        token_cookies: TokenCookies::default(),
        hosts: AllowedHosts::default(),
        has_public_metrics: true,
        max_streams: None,
        limits: LimitOptions::default(),
        allowed_origins: AllowedOrigins::default(),
        feed_topics: vec![TopicPattern::all()],
        feed_cache: None,
    }
}

fn mailboxes() -> MailboxOptions {
    MailboxOptions { linger: FOREVER, confirm_deadline: FOREVER, window: 8, max_mailboxes: 10, memory: 1 << 20 }
}

/// Without it a gateway would be ready for ever whose feeds are silent.
#[tokio::test]
async fn the_end_of_the_task_that_follows_the_log_ends_the_gateway_with_an_error() {
    let retention = Retention { age: FOREVER, bytes: 1 << 20 };
    let feed_topics = vec![TopicPattern::all()];
    let options =
        EmbeddedOptions { data_dir: None, mailboxes: KeptMailboxes::all_for(FOREVER), retention, feed_topics };
    let broker = EmbeddedBroker::start(&options, Arc::default()).unwrap();
    let feeds = FeedOptions { window: WindowLimits { bytes: 1 << 20, age: FOREVER }, topics: 10, rest_after: None };
    let listeners = Listeners::bind(&[ListenAddress::Tcp("127.0.0.1:0".parse().unwrap())], &[], None).await.unwrap();
    // Another test sends this process SIGHUP.
    let signals = StopSignals::listen(Hangup::Reloads).unwrap();
    let publisher = broker.clone();
    let serving = run(Unfollowable(broker), listeners, mailboxes(), feeds, http(), Metrics::default(), signals);
    let mut serving = std::pin::pin!(serving);
    let early = timeout(Duration::from_millis(100), serving.as_mut()).await;
    assert!(early.is_err(), "it serves as long as all is well: {early:?}");
    let event = testing::event("a", 1);
    publisher.publish(&event).await.unwrap();
    let ended = timeout(Duration::from_secs(10), serving).await.expect("it ends");
    assert!(ended.unwrap_err().to_string().starts_with("the task that follows the log has failed"));
}
