//! Running one side with one load.

use std::ops::Range;

use amqp::AmqpUrl;
use events::{ContentType, Event};
use postern_tests::{PipelinedPublisher, cpu_seconds};
use tokio::task::JoinSet;

use super::{
    consumer,
    measured::{Cpu, Regime, Round, Side},
    options::Options,
    poller::Poller,
    reader::{Reader, read},
    stage::{Stage, for_each},
    stamp::{Clock, Stamp},
};

/// Everything that rounds need.
#[derive(Debug)]
pub(crate) struct Bench {
    stage: Stage,
    publisher: PipelinedPublisher,
    clock: Clock,
    /// The number of the next event of every client: never used again, so that a leftover of one round shows in the
    /// next.
    next: u32,
}

impl Bench {
    /// Sets the stage.
    pub(crate) async fn start(options: &Options) -> anyhow::Result<Self> {
        let stage = Stage::set_up(options, options.clients).await?;
        let url: AmqpUrl = stage.url.parse()?;
        let publisher = PipelinedPublisher::connect(&url).await?;
        Ok(Self { stage, publisher, clock: Clock::start(), next: 0 })
    }

    /// Runs one round: the readers are there before the first event, and everything is confirmed after the last.
    pub(crate) async fn run(&mut self, side: Side, regime: Regime) -> anyhow::Result<Round> {
        match side {
            Side::Gateway => {
                let address = self.stage.gateway.address();
                let pollers =
                    for_each(&self.stage.clients, async |_, client| Poller::open(address, client).await).await?;
                let (round, pollers) = self.measure(side, regime, pollers).await?;
                for poller in pollers {
                    poller.leave()?;
                }
                self.stage.wait_unread().await;
                Ok(round)
            }
            Side::Bare => {
                let (connections, consumers) = consumer::open(&self.stage.url, &self.stage.clients).await?;
                let (round, consumers) = self.measure(side, regime, consumers).await?;
                consumer::close(connections).await?;
                drop(consumers);
                Ok(round)
            }
        }
    }

    /// Ends everything.
    pub(crate) async fn finish(self) -> anyhow::Result<()> {
        self.publisher.close().await;
        self.stage.tear_down().await;
        Ok(())
    }

    async fn measure<R: Reader>(
        &mut self,
        side: Side,
        regime: Regime,
        readers: Vec<R>,
    ) -> anyhow::Result<(Round, Vec<R>)> {
        let (events, rate) = match regime {
            Regime::Throughput { events } => (events, None),
            Regime::Latency { events, rate } => (events, Some(rate)),
        };
        let numbers = self.next..self.next + events;
        self.next = numbers.end;
        let cpu = self.cpu();
        let started = self.clock.micros();
        let mut tasks = JoinSet::new();
        for (client, reader) in (0..).zip(readers) {
            tasks.spawn(read(reader, client, numbers.clone(), self.clock));
        }
        let reading = async {
            let (mut readers, mut readings) = (Vec::new(), Vec::new());
            while let Some(read) = tasks.join_next().await {
                let (reader, reading) = read??;
                readers.push(reader);
                readings.push(reading);
            }
            anyhow::Ok((readers, readings))
        };
        let publishing = self.publisher.publish(self.events(numbers), rate);
        let ((mut readers, readings), ()) = tokio::try_join!(reading, publishing)?;
        let cpu = self.cpu().since(cpu);
        for reader in &mut readers {
            reader.finish().await?;
        }
        Ok((Round::of(side, regime, started, &readings, cpu), readers))
    }

    /// Returns the events with these numbers of each client, the clients taking turns.
    fn events(&self, numbers: Range<u32>) -> impl Iterator<Item = anyhow::Result<Event>> {
        numbers.flat_map(move |number| {
            (0..).zip(&self.stage.clients).map(move |(client, to)| {
                let payload = Stamp { client, number, published: self.clock.micros() }.json();
                Ok(Event::new(to.topic.clone(), Some(ContentType::json()), payload))
            })
        })
    }

    fn cpu(&self) -> Cpu {
        Cpu {
            gateway: cpu_seconds(self.stage.gateway.process().id()),
            broker: self.stage.node.as_ref().and_then(|node| cpu_seconds(node.process().id())),
            bench: cpu_seconds(std::process::id()),
        }
    }
}
