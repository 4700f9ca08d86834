//! What a waiting reader costs in memory, on both sides and in the broker.
//!
//! Each side gets a broker of its own, in which the mailboxes exist already: what is measured is the reading of them.

use std::time::Duration;

use postern_tests::{note, resident_bytes};
use tokio::time::sleep;

use super::{
    consumer,
    measured::Side,
    options::Options,
    poller::Poller,
    stage::{Stage, for_each},
};
use crate::{
    open_files,
    row::{Better, Row},
};

/// How long the polls are held before the memory is read.
const SETTLING: Duration = Duration::from_secs(3);

/// Frees what the broker can free, then returns the bytes that it has in use.
const IN_USE: &str = "[erlang:garbage_collect(P) || P <- processes()], erlang:memory(total).";

/// Bytes for each waiting reader; `None` where it cannot be seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    /// Who waits.
    pub(crate) side: Side,
    /// Resident memory of the process that consumes: the gateway, or this one.
    pub(crate) consumer_resident: Option<f64>,
    /// Resident memory of the broker.
    pub(crate) broker_resident: Option<f64>,
    /// What the broker itself says that it has in use; steadier than its resident memory.
    pub(crate) broker_in_use: Option<f64>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    /// How many readers waited.
    pub(crate) polls: u32,
    /// Both sides.
    pub(crate) held: [Held; 2],
}

impl Memory {
    /// Measures both sides with so many waiting readers.
    pub(crate) async fn measure(options: &Options, polls: u32) -> anyhow::Result<Self> {
        open_files::raise(usize::try_from(polls)?)?;
        note(&format!("memory: {polls} bare consumers"));
        let stage = Stage::set_up(options, polls).await?;
        let bare = bare(&stage, polls).await?;
        stage.tear_down().await;
        note(&format!("memory: {polls} held polls"));
        let stage = Stage::set_up(options, polls).await?;
        let gateway = held(&stage, polls).await?;
        stage.tear_down().await;
        Ok(Self { polls, held: [gateway, bare] })
    }

    /// Returns what the gateway takes beside a bare consumer.
    pub(crate) fn row(&self) -> Option<Row> {
        let [gateway, bare] = self.held.map(|held| held.consumer_resident.map(|bytes| vec![bytes / 1024.0]));
        let what = format!("memory for each of {} readers of mailboxes that wait, RabbitMQ", self.polls);
        Some(Row::of(what, ("KiB", Better::Lower), Side::Bare.name(), gateway?, bare?))
    }
}

async fn bare(stage: &Stage, polls: u32) -> anyhow::Result<Held> {
    let before = Used::look(stage, std::process::id()).await;
    let (connections, consumers) = consumer::open(&stage.url, &stage.clients).await?;
    let after = Used::look(stage, std::process::id()).await;
    consumer::close(connections).await?;
    drop(consumers);
    Ok(after.each(before, polls, Side::Bare))
}

async fn held(stage: &Stage, polls: u32) -> anyhow::Result<Held> {
    let (address, gateway) = (stage.gateway.address(), stage.gateway.process().id());
    let before = Used::look(stage, gateway).await;
    let pollers = for_each(&stage.clients, async |_, client| {
        let mut poller = Poller::open(address, client).await?;
        poller.hold().await?;
        Ok(poller)
    });
    let pollers = pollers.await?;
    stage.wait_gauge("polls_held", pollers.len()).await;
    // The gateway keeps a poll in less memory once it has been held for a second.
    sleep(SETTLING).await;
    let after = Used::look(stage, gateway).await;
    stage.wait_gauge("polls_held", pollers.len()).await;
    Ok(after.each(before, polls, Side::Gateway))
}

/// Bytes at one moment.
#[derive(Debug, Clone, Copy)]
struct Used {
    consumer_resident: Option<f64>,
    broker_resident: Option<f64>,
    broker_in_use: Option<f64>,
}

impl Used {
    async fn look(stage: &Stage, consumer: u32) -> Self {
        let mut broker_in_use = None;
        if let Some(node) = &stage.node {
            // Twice: the first time finds some processes in the middle of something.
            for _ in 0..2 {
                broker_in_use = node.rabbitmqctl(&["eval", IN_USE]).await.trim().parse().ok();
            }
        }
        Self {
            consumer_resident: resident_bytes(consumer),
            broker_resident: stage.node.as_ref().and_then(|node| resident_bytes(node.process().id())),
            broker_in_use,
        }
    }

    fn each(self, before: Self, polls: u32, side: Side) -> Held {
        let each = |after: Option<f64>, before: Option<f64>| Some((after? - before?) / f64::from(polls));
        Held {
            side,
            consumer_resident: each(self.consumer_resident, before.consumer_resident),
            broker_resident: each(self.broker_resident, before.broker_resident),
            broker_in_use: each(self.broker_in_use, before.broker_in_use),
        }
    }
}
