//! A gateway whose feeds no client follows does not read the stream.

use std::sync::Arc;

use feeds::{Feed, FeedOptions, FeedOutcome, FeedRequest, Start, WindowLimits};
use postern_tests::eventually_eq;
use tokio::{task::JoinHandle, time::Instant};

use super::*;

const QUIET: Duration = Duration::from_secs(1);

/// As long as tests of this machine wait for anything.
const SOON: Duration = Duration::from_mins(1);

struct World {
    node: RabbitNode,
    broker: AmqpBroker,
    feed: Arc<Feed<<AmqpBroker as Broker>::Log>>,
    following: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl World {
    async fn new() -> Self {
        let node = RabbitNode::start().await;
        // No search keeps its consumer.
        let broker = connect_with(&node.url(), Duration::ZERO).await;
        let window = WindowLimits { bytes: 1 << 20, age: Duration::from_hours(1) };
        let options = FeedOptions { window, topics: 1000, rest_after: Some(QUIET) };
        let feed = Feed::new(broker.log(), options, Arc::default());
        let following = tokio::spawn({
            let feed = Arc::clone(&feed);
            async move { feed.follow().await }
        });
        let world = Self { node, broker, feed, following };
        let ready = async || world.feed.is_ready().then_some(()).ok_or("not yet");
        eventually(SOON, "the feed is ready", ready).await;
        world
    }

    /// Asks RabbitMQ how many consumers there are, all of them of the stream. What it tells of the stream itself counts
    /// for minutes what has ended.
    async fn consumers(&self) -> usize {
        let channels = self.node.rabbitmqctl(&["list_channels", "--no-table-headers", "consumer_count"]).await;
        channels.lines().map(|count| count.trim().parse::<usize>().unwrap()).sum()
    }

    async fn rest(&self) {
        eventually_eq(SOON, "consumers", 0, async || self.consumers().await).await;
        assert!(self.feed.is_ready());
    }

    async fn poll(&self, start: Start, wait: Duration) -> (Vec<usize>, Start) {
        let deadline = Instant::now() + wait;
        let request = FeedRequest { selection: selection("a"), start, limit: 500, latest_only: false, deadline };
        match self.feed.poll(&request).await {
            FeedOutcome::Batch(batch) => {
                assert!(!batch.reset);
                (numbers(&batch.events), Start::After(batch.last_seen))
            }
            FeedOutcome::Nothing(place) => (Vec::new(), Start::After(place)),
            other => panic!("{other:?}"),
        }
    }

    /// Publishes ten events and reads them as they come: their publisher may be answered before a log that is being read
    /// has them. Returns the place behind them.
    async fn begin(&self) -> Start {
        publish(&self.broker, "a", 0..10).await;
        let (mut seen, mut place) = self.poll(Start::Oldest, PATIENCE).await;
        while seen.len() < 10 {
            let (more, next) = self.poll(place, PATIENCE).await;
            seen.extend(more);
            place = next;
        }
        assert_eq!(seen, list(0..10));
        place
    }

    /// Reads all that there is.
    async fn read(&self, mut start: Start) -> (Vec<usize>, Start) {
        let mut all = Vec::new();
        loop {
            let (some, next) = self.poll(start, Duration::ZERO).await;
            if some.is_empty() {
                return (all, next);
            }
            all.extend(some);
            start = next;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_feeds_no_client_follows_has_no_consumer_until_one_comes() {
    let world = World::new().await;
    let place = world.begin().await;
    world.rest().await;

    publish(&world.broker, "a", 10..3000).await;
    assert_eq!(world.consumers().await, 0, "what is published has it read by no client");
    let (seen, place) = world.read(place).await;
    assert_eq!(seen, list(10..3000));
    let follow = world.poll(Start::Now, PATIENCE);
    let come = async {
        // It comes a while after the client, also where that has to have the stream read first.
        tokio::time::sleep(2 * QUIET).await;
        // Now and then another one asks whether silence means that there is nothing.
        eventually_eq(SOON, "consumers while a client waits", 1, async || world.consumers().await).await;
        publish(&world.broker, "a", [3000]).await;
    };
    let ((seen, _), ()) = tokio::join!(follow, come);
    assert_eq!(seen, [3000]);
    world.rest().await;
    assert_eq!(world.read(place).await.0, [3000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_read_outlives_what_its_broker_goes_through() {
    let world = World::new().await;
    let place = world.begin().await;
    world.rest().await;
    publish(&world.broker, "a", 10..20).await;

    // While the broker takes no messages, none can mark the end.
    world.node.rabbitmqctl(&["set_vm_memory_high_watermark", "0.00001"]).await;
    let blocked = async || match timeout(QUIET, world.broker.publish(&testing::event("b", 0))).await {
        Ok(Err(BrokerError::Blocked)) => Ok(()),
        other => Err(other),
    };
    eventually(SOON, "the broker takes no messages", blocked).await;
    let (seen, place) = world.read(place).await;
    assert_eq!(seen, list(10..20));
    world.node.rabbitmqctl(&["set_vm_memory_high_watermark", "0.9"]).await;
    eventually(SOON, "the broker takes messages", async || world.broker.publish(&testing::event("b", 1)).await).await;
    world.rest().await;

    // What is lost while it is not read comes back although no client asks for it.
    Amqp::connect(&world.node.url()).await.delete_exchange(EXCHANGE).await;
    world.node.rabbitmqctl(&["close_all_connections", "a test"]).await;
    let bound = async || {
        let bindings = world.node.rabbitmqctl(&["list_bindings", "source_name", "destination_name"]).await;
        let is_it = |line: &str| line.split_whitespace().eq([EXCHANGE, FEED]);
        if bindings.lines().any(is_it) { Ok(()) } else { Err(bindings) }
    };
    eventually(SOON, "the stream is bound", bound).await;
    eventually(SOON, "a publish", async || world.broker.publish(&testing::event("a", 20)).await).await;
    world.rest().await;
    let (seen, _) = world.read(place).await;
    assert!(seen.starts_with(&[20]) && seen.iter().all(|n| *n == 20), "{seen:?}");
    world.rest().await;
    let amqp = Amqp::connect(&world.node.url()).await;
    world.node.rabbitmqctl(&["delete_queue", FEED]).await;
    eventually(SOON, "the stream is there", async || amqp.queue(FEED).await.ok_or("not yet")).await;
}
