//! Brokers on RabbitMQ.

use std::{str::FromStr, time::Duration};

use events::ClientId;
use futures_util::future::join_all;
use gateway::broker::{
    Broker,
    amqp::{AmqpBroker, AmqpOptions, FeedRetention},
};
use postern_tests::{RabbitNode, eventually, shared_node};
use tokio::time::timeout;

use super::world::{Durable, Factory, NEVER};

/// On the node that all tests share.
pub(super) struct Rabbit(AmqpBroker);

/// On a node of its own.
pub(super) struct Alone {
    node: RabbitNode,
    expiry: Duration,
    broker: AmqpBroker,
}

async fn connect(url: &str, mailbox_expiry: Duration) -> AmqpBroker {
    let options = AmqpOptions {
        url: url.parse().unwrap(),
        name: "contract".to_owned(),
        mailbox_expiry,
        max_leases: 100,
        feed_topics: vec!["#".parse().unwrap()],
        feed_retention: FeedRetention { age: Duration::from_hours(1), bytes: 1 << 30 },
        feed_linger: Duration::from_secs(15),
    };
    let broker = AmqpBroker::start(&options).unwrap();
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
        Self(connect(&shared_node().await.url(), expiry).await)
    }

    fn broker(&self) -> &AmqpBroker {
        &self.0
    }

    async fn has_mailbox(&self, client: &ClientId) -> bool {
        has_queue(shared_node().await, client).await
    }
}

impl Factory for Alone {
    type Broker = AmqpBroker;

    async fn start(expiry: Duration) -> Self {
        let node = RabbitNode::start().await;
        let broker = connect(&node.url(), expiry).await;
        Self { node, expiry, broker }
    }

    fn broker(&self) -> &AmqpBroker {
        &self.broker
    }

    async fn has_mailbox(&self, client: &ClientId) -> bool {
        has_queue(&self.node, client).await
    }
}

impl Durable for Alone {
    async fn restart(&mut self) {
        self.broker.close().await;
        self.node.restart().await;
        self.broker = connect(&self.node.url(), self.expiry).await;
    }

    async fn crash(&mut self) {
        self.node.kill9();
        let noticed = async || if self.broker.is_ready() { Err("it seems to be there") } else { Ok(()) };
        eventually(Duration::from_mins(1), "the broker is missed", noticed).await;
        self.node.start_again().await;
        wait_ready(&self.broker).await;
    }
}

/// Each waits for the broker's answer though nobody waits for the call, and that takes a channel.
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
