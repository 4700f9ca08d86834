//! Brokers on RabbitMQ.

use std::{str::FromStr, time::Duration};

use broker::{Broker, Lease, LeaseRequest};
use broker_rabbitmq::{AmqpBroker, AmqpOptions, FeedRetention};
use events::ClientId;
use futures_util::future::join_all;
use postern_tests::{Amqp, PATIENCE, RabbitNode, eventually, shared_node};
use prometheus_client::registry::Registry;
use tokio::time::timeout;

use super::{
    log::world::{LogFactory, LogOptions, ROOMY},
    world::{Durable, Factory, NEVER, NOTHING, Reader, marker, numbers, open, take},
};

/// On the node that all tests share.
pub(super) struct Rabbit(AmqpBroker);

/// On a node of its own.
pub(super) struct Alone {
    node: RabbitNode,
    expiry: Duration,
    log: LogOptions,
    broker: AmqpBroker,
}

async fn connect(url: &str, mailbox_expiry: Duration, LogOptions { topics, bytes }: LogOptions) -> AmqpBroker {
    let options = AmqpOptions {
        urls: url.parse().unwrap(),
        name: "contract".to_owned(),
        mailbox_expiry,
        max_leases: 100,
        feed_topics: vec![topics.parse().unwrap()],
        feed_retention: FeedRetention { age: Duration::from_hours(1), bytes },
        feed_replicas: None,
        feed_linger: Duration::from_secs(15),
    };
    let broker = AmqpBroker::start(&options, &mut Registry::default()).unwrap();
    wait_ready(&broker).await;
    broker
}

async fn wait_ready(broker: &AmqpBroker) {
    eventually(Duration::from_mins(1), "the broker is ready", async || {
        broker.is_ready().then_some(()).ok_or("not yet")
    })
    .await;
}

/// Asks the command line tool, which starts no queue's clock anew.
async fn has_queue(node: &RabbitNode, client: &ClientId) -> bool {
    let name = format!("postern.mailbox.{client}");
    node.queues("/").await.iter().any(|row| row.name == name)
}

impl Factory for Rabbit {
    type Broker = AmqpBroker;

    async fn start(expiry: Duration) -> Self {
        Self(connect(&shared_node().await.url(), expiry, ROOMY).await)
    }

    fn broker(&self) -> &AmqpBroker {
        &self.0
    }

    async fn has_mailbox(&self, client: &ClientId) -> bool {
        has_queue(shared_node().await, client).await
    }
}

impl LogFactory for Rabbit {
    const KNOWS_NEWEST: bool = false;

    /// Each virtual host has a log of its own.
    async fn with_log(log: LogOptions) -> Self {
        Self(connect(&shared_node().await.vhost("log").await, NEVER, log).await)
    }
}

impl Alone {
    async fn with(expiry: Duration, log: LogOptions) -> Self {
        let node = RabbitNode::start().await;
        let broker = connect(&node.url(), expiry, log).await;
        Self { node, expiry, log, broker }
    }
}

impl Factory for Alone {
    type Broker = AmqpBroker;

    async fn start(expiry: Duration) -> Self {
        Self::with(expiry, ROOMY).await
    }

    fn broker(&self) -> &AmqpBroker {
        &self.broker
    }

    async fn has_mailbox(&self, client: &ClientId) -> bool {
        has_queue(&self.node, client).await
    }
}

impl LogFactory for Alone {
    const KNOWS_NEWEST: bool = false;

    async fn with_log(log: LogOptions) -> Self {
        Self::with(NEVER, log).await
    }
}

impl Durable for Alone {
    async fn restart(&mut self) {
        self.broker.close().await;
        self.node.restart().await;
        self.broker = connect(&self.node.url(), self.expiry, self.log).await;
    }

    async fn crash(&mut self) {
        self.node.kill9();
        let noticed = async || if self.broker.is_ready() { Err("it seems to be there") } else { Ok(()) };
        eventually(Duration::from_mins(1), "the broker is missed", noticed).await;
        self.node.start_again().await;
        wait_ready(&self.broker).await;
    }
}

/// Two gateways that made a mailbox at once have left a marker each.
#[tokio::test(flavor = "multi_thread")]
async fn the_second_marker_of_one_creation_takes_no_place_and_never_comes() {
    let (world, alice) = (Rabbit::start(NEVER).await, Reader::new());
    let broker = world.broker();
    broker.bind(&alice.client, &[alice.pattern(".#")]).await.unwrap();
    let amqp = Amqp::connect(&shared_node().await.url()).await;
    let queue = format!("postern.mailbox.{}", alice.client);
    let first = amqp.take(&queue).await.unwrap();
    amqp.publish("", &queue, first.properties.clone(), b"").await;
    alice.publish(broker, 0..1).await;
    amqp.publish("", &queue, first.properties, b"").await;
    alice.publish(broker, 1..2).await;
    for redelivered in [false, true] {
        let mut lease = open(broker, LeaseRequest { window: 3, ..alice.again() }).await;
        let mut taken = take(&mut lease, 3).await;
        assert!(taken.iter().all(|delivery| delivery.redelivered == redelivered), "{taken:?}");
        marker(&taken.remove(0));
        assert_eq!(numbers(&taken), [0, 1]);
        lease.release().await;
    }
}

/// A mailbox is deleted and made anew between two questions of one Lease; all that is in the new one is with another
/// reader.
#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_was_made_anew_is_not_taken_for_the_drained_old_one() {
    let (world, alice) = (Rabbit::start(NEVER).await, Reader::new());
    let broker = world.broker();
    for _ in 0..20 {
        let mut old = open(broker, alice.request()).await;
        assert!(old.is_drained().await.unwrap());
        broker.delete(&alice.client).await.unwrap();
        let mut new = open(broker, alice.request()).await;
        alice.publish(broker, 0..1).await;
        take(&mut new, 1).await;
        // It ends, and says so at once, or in the end.
        assert!(!matches!(old.is_drained().await, Ok(true)), "the old mailbox is gone");
        assert!(timeout(Duration::from_secs(10), old.next()).await.expect("the lease ends").is_err());
        old.release().await;
        new.release().await;
        broker.delete(&alice.client).await.unwrap();
    }
}

/// Both sides may close a channel at once. That ends neither the connection nor the Leases on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_both_sides_close_takes_nothing_along() {
    let (world, alice, bob) = (Rabbit::start(NEVER).await, Reader::new(), Reader::new());
    let broker = world.broker();
    let mut other = open(broker, bob.request()).await;
    for round in 0..300 {
        // Where there are few channels, those that the broker has closed are missing until a connection is replaced.
        let mut lease = eventually(PATIENCE, "the mailbox to be open", || broker.open(alice.request())).await;
        broker.delete(&alice.client).await.unwrap();
        // The broker closes a channel that asks for what is not there.
        let _ = timeout(Duration::from_micros(10 * (round % 100)), lease.is_drained()).await;
        lease.release().await;
    }
    assert_eq!(numbers(&bob.rest(broker, &mut other, ".x").await), NOTHING);
}

/// A cancelled call occupies its channel until the broker has answered.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_given_up_take_no_more_channels_than_there_are() {
    // RabbitMQ's `channel_max`. Few of them are asked for at once.
    const CHANNELS: usize = 2047;
    const AT_ONCE: usize = 100;
    let Alone { node, broker, .. } = &Alone::start(NEVER).await;
    let client = ClientId::from_str("alice").unwrap();
    node.freeze();
    for round in 0..CHANNELS / 50 {
        let calls = (0..AT_ONCE).map(|_| timeout(Duration::from_millis(50), broker.mailbox(&client)));
        let answered = join_all(calls).await.into_iter().find_map(Result::ok);
        assert!(answered.is_none(), "all wait, in round {round}: {answered:?}");
    }
    node.thaw();
    eventually(Duration::from_mins(1), "the broker is asked again", async || broker.mailbox(&client).await).await;
}

/// Stops the process of a mailbox's queue: the broker answers everything but what concerns this queue.
async fn suspend_queue(node: &RabbitNode, client: &ClientId) {
    let eval = format!(
        "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<\"postern.mailbox.{client}\">>)), \
         sys:suspend(amqqueue:get_pid(Q))."
    );
    node.rabbitmqctl(&["eval", &eval]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_does_not_answer_holds_up_no_other() {
    // More than short tasks begin at once, and then more than there are places on a connection.
    const FEW: usize = 200;
    const MANY: usize = 1500;
    let Alone { node, broker, .. } = &Alone::start(NEVER).await;
    let [stuck, well] = ["stuck", "well"].map(|id| ClientId::from_str(id).unwrap());
    for client in [&stuck, &well] {
        broker.bind(client, &["a".parse().unwrap()]).await.unwrap();
    }
    suspend_queue(node, &stuck).await;
    for calls in [FEW, MANY] {
        let asked = (0..calls).map(|_| timeout(Duration::from_secs(15), broker.mailbox(&stuck)));
        let answers = async {
            let answers = join_all(asked).await;
            assert!(answers.iter().flatten().all(Result::is_err), "the queue does not answer");
        };
        let others = async {
            let looked = async || broker.mailbox(&well).await;
            eventually(Duration::from_mins(1), "another mailbox is looked at", looked).await;
        };
        tokio::join!(answers, others);
        eventually(Duration::from_mins(1), "another mailbox is looked at after it", || broker.mailbox(&well)).await;
    }
}
