//! One side, once.

use futures_util::{StreamExt, TryStreamExt, stream};
use postern_tests::{LeanHttp, Spread, unique};
use tokio::{task::JoinSet, time::Instant};

use super::{
    client::{Client, Reading},
    options::Options,
    stage::{Cpu, Stage},
};

/// How many mailboxes are made at once.
const AT_ONCE: usize = 16;

/// How many clients there are, and what is published for them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Clients.
    pub(crate) clients: u32,
    /// Events per second for all of them together.
    pub(crate) rate: u32,
    /// Events for each of them.
    pub(crate) count: u32,
}

impl Size {
    /// One client.
    pub(crate) const fn one(options: &Options) -> Self {
        Self { clients: 1, rate: options.rate_of_one, count: options.rate_of_one.saturating_mul(options.seconds) }
    }

    /// All of them.
    pub(crate) const fn many(options: &Options) -> Self {
        let count = options.rate.saturating_mul(options.seconds).div_ceil(options.clients);
        Self { clients: options.clients, rate: options.rate, count }
    }
}

/// What one side did in a round.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    /// Which.
    pub(crate) spread: Spread,
    /// What all clients got.
    pub(crate) reading: Reading,
    /// What it took.
    pub(crate) cpu: Cpu,
}

impl Round {
    /// Publishes to new mailboxes, and reads them.
    pub(crate) async fn run(stage: &Stage, size: Size, spread: Spread) -> anyhow::Result<Self> {
        let (run, proxy) = (unique("fleet"), stage.proxy(spread).address());
        let clients: Vec<_> =
            (0..size.clients).map(|number| Client::new(&run, number)).collect::<anyhow::Result<_>>()?;
        let opening = stream::iter(&clients).map(|client| client.open(proxy)).buffered(AT_ONCE);
        let connections: Vec<LeanHttp> = opening.try_collect().await?;
        let (before, started) = (stage.cpu(spread), Instant::now());
        let events = (0..size.count).flat_map(|number| clients.iter().map(move |client| client.event(number, started)));
        let mut reading = JoinSet::new();
        for (client, mut http) in clients.iter().cloned().zip(connections) {
            reading.spawn(async move {
                let read = client.read(&mut http, size.count, started).await?;
                anyhow::Ok((client, http, read))
            });
        }
        let mut all = Reading::default();
        let mut ends = Vec::new();
        let reading = async {
            while let Some(read) = reading.join_next().await {
                let (client, http, read) = read??;
                all.add(read);
                ends.push((client, http));
            }
            anyhow::Ok(())
        };
        tokio::try_join!(reading, stage.publisher.publish(events, Some(size.rate)))?;
        let cpu = stage.cpu(spread).since(before);
        for (client, http) in &mut ends {
            client.close(http).await?;
        }
        all.delays.sort_unstable();
        Ok(Self { spread, reading: all, cpu })
    }

    /// Returns the delay in milliseconds that so many of a hundred events did not exceed.
    #[expect(clippy::cast_precision_loss, reason = "a delay in microseconds is far below 2⁵²")]
    pub(crate) fn percentile_ms(&self, hundredths: usize) -> f64 {
        let delays = &self.reading.delays;
        let at = (delays.len() * hundredths / 100).min(delays.len().saturating_sub(1));
        delays.get(at).copied().unwrap_or_default() as f64 / 1e3
    }

    /// Returns one line for people.
    pub(crate) fn summary(&self) -> String {
        let Reading { lost, out_of_order, repeats, refused, errors, answers, delays } = &self.reading;
        format!(
            "{} events in {answers} answers, {lost} lost, {out_of_order} out of order, {repeats} repeats, {refused} × 503, \
             {errors} other errors; p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
            delays.len(),
            self.percentile_ms(50),
            self.percentile_ms(99),
            self.percentile_ms(100)
        )
    }
}

impl Reading {
    fn add(&mut self, other: Self) {
        self.delays.extend(other.delays);
        self.lost += other.lost;
        self.out_of_order += other.out_of_order;
        self.repeats += other.repeats;
        self.refused += other.refused;
        self.errors += other.errors;
        self.answers += other.answers;
    }
}
