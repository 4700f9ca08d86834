//! A log of feeds that is long before its gateway starts, and the clients of it: who catches up, and who is at the end.
//!
//! Shared by a test, which only checks, and by a benchmark, which measures. Every client checks that it gets exactly
//! the events after its place, each once and in order.

mod follower;
mod live;

use std::{sync::Arc, time::Duration};

use broker::Broker as _;
use broker_embedded::{EmbeddedBroker, EmbeddedOptions, KeptMailboxes, Retention};
use events::{ContentType, Event};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{task::unconstrained, time::Instant};

pub use self::{
    follower::{Follower, MAX_AT_ONCE},
    live::{Latencies, Live},
};
use crate::{Backend, Broker, Folder, Gateway, GatewayBuilder, PipelinedPublisher, RabbitNode, gateway::READY};

/// How many events may be published and not stored: enough to keep a broker busy at any moment.
const IN_FLIGHT: usize = 5000;

/// Of how many topics the events are; each comes in turn.
const TOPICS: u64 = 10;

/// See the module.
pub struct LongLog {
    /// Reads the log.
    pub gateway: Gateway,
    /// Holds it, or the folder does.
    pub node: Option<RabbitNode>,
    _folder: Option<Folder>,
    /// How long the log took to fill.
    pub filled_in: Duration,
    /// How long the gateway took from its start until it served feeds.
    pub ready_in: Duration,
}

impl LongLog {
    /// The pattern of its events; nothing else matches it.
    pub const PATTERN: &str = "log.%23";

    /// The topic of one event before all of them.
    pub const QUIET: &str = "quiet";

    /// Fills a log with the numbers from 0 on, then starts a gateway with these flags on it.
    pub async fn new(
        broker: Broker,
        events: u64,
        flags: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
    ) -> anyhow::Result<Self> {
        match broker {
            Broker::RabbitMq => {
                let node = RabbitNode::start().await;
                let builder = flags(Gateway::builder().amqp_url(&node.url()).with_feed());
                // It makes the stream.
                let mut gateway = builder.start().await;
                gateway.wait_ready().await;
                gateway.kill9();
                let began = Instant::now();
                fill_rabbit(&node.url(), events).await?;
                let filled_in = began.elapsed();
                let began = Instant::now();
                gateway.start_again().await;
                let ready_in = ready(&gateway, began).await;
                Ok(Self { gateway, node: Some(node), _folder: None, filled_in, ready_in })
            }
            Broker::Embedded => {
                let folder = Folder::new("long-log");
                let began = Instant::now();
                fill_embedded(&folder, events).await?;
                let filled_in = began.elapsed();
                let began = Instant::now();
                let gateway = flags(Gateway::builder().flag("--data-dir", folder.path())).start().await;
                let ready_in = ready(&gateway, began).await;
                Ok(Self { gateway, node: None, _folder: Some(folder), filled_in, ready_in })
            }
        }
    }

    /// Connects a publisher.
    pub async fn backend(&self) -> Backend {
        match &self.node {
            Some(node) => Backend::of_rabbitmq(&node.url()).await,
            None => Backend::of_embedded(&self.gateway),
        }
    }

    /// Returns a client that goes on from a place, after which this is the next number; `oldest` is a place, too.
    pub fn follower(&self, place: &str, next: u64) -> Follower {
        Follower::new(self.gateway.address(), Self::PATTERN, place, next)
    }
}

/// Waits until a gateway that was begun then serves feeds; returns how long that took.
async fn ready(gateway: &Gateway, began: Instant) -> Duration {
    gateway.wait_answer("/ready?feeds", 200, READY).await;
    began.elapsed()
}

/// Returns all that is in the log, in order.
fn content(events: u64) -> impl Iterator<Item = anyhow::Result<Event>> {
    let quiet = || anyhow::Ok(Event::new(LongLog::QUIET.parse()?, Some(ContentType::json()), "{}"));
    std::iter::once_with(quiet).chain((0..events).map(event))
}

/// Returns the topic of a number's event.
fn topic(number: u64) -> String {
    format!("log.{}", number % TOPICS)
}

fn event(number: u64) -> anyhow::Result<Event> {
    Ok(Event::new(topic(number).parse()?, Some(ContentType::json()), format!("{{\"n\":{number}}}")))
}

async fn fill_rabbit(url: &str, events: u64) -> anyhow::Result<()> {
    let publisher = PipelinedPublisher::connect(&url.parse()?).await?;
    publisher.publish(content(events), None).await?;
    publisher.close().await;
    Ok(())
}

/// Writes the store as a gateway does, without one and its HTTP.
async fn fill_embedded(folder: &Folder, events: u64) -> anyhow::Result<()> {
    let day = Duration::from_hours(24);
    let options = EmbeddedOptions {
        data_dir: Some(folder.path().to_owned()),
        mailboxes: KeptMailboxes::all_for(day),
        retention: Retention { age: day, bytes: 1 << 30 },
        feed_topics: Vec::new(),
    };
    let broker = &EmbeddedBroker::start(&options, Arc::default())?;
    // The runtime makes a task that does much pause here and there: that would change the order.
    let publish =
        |event: anyhow::Result<Event>| unconstrained(async move { anyhow::Ok(broker.publish(&event?).await?) });
    stream::iter(content(events)).map(publish).buffered(IN_FLIGHT).try_for_each(async |()| Ok(())).await?;
    broker.close().await;
    Ok(())
}
