//! The readers of mailboxes: checking that it gets what it should, and timing that.

use std::{ops::Range, time::Duration};

use anyhow::{Context, ensure};
use tokio::time::timeout;

use super::stamp::{Clock, Stamp};

/// How long nothing may come before the rest counts as lost.
const STALL: Duration = Duration::from_mins(1);

/// A reader of one mailbox.
pub(crate) trait Reader: Send + 'static {
    /// Confirms what came before, waits until there is more, and adds all that has come to `arrived`; none is all
    /// right.
    fn burst(&mut self, arrived: &mut Vec<Stamp>) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Confirms the last burst; fails if anything more has come.
    fn finish(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// What one reader got.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Microseconds from publishing to having read the whole event, one for each.
    pub(crate) latencies: Vec<u64>,
    /// In how many bursts they came.
    pub(crate) bursts: usize,
    /// When the last one came, in microseconds of the [`Clock`].
    pub(crate) finished: u64,
}

/// Reads the events with these numbers, which must come in order, each once, and nothing else.
pub(crate) async fn read<R: Reader>(
    mut reader: R,
    client: u32,
    numbers: Range<u32>,
    clock: Clock,
) -> anyhow::Result<(R, Reading)> {
    let mut reading = Reading { latencies: Vec::with_capacity(numbers.len()), ..Reading::default() };
    let mut arrived = Vec::new();
    let mut next = numbers.start;
    while next < numbers.end {
        let burst = async {
            while arrived.is_empty() {
                reader.burst(&mut arrived).await?;
            }
            anyhow::Ok(())
        };
        let burst = timeout(STALL, burst).await.with_context(|| {
            format!("lost: client {client} waited {STALL:?} for event {next} of {numbers:?}, and it did not come")
        })?;
        burst.with_context(|| format!("client {client} waited for event {next}"))?;
        reading.finished = clock.micros();
        reading.bursts += 1;
        for stamp in arrived.drain(..) {
            ensure!(
                (stamp.client, stamp.number) == (client, next),
                "client {client} should get event {next} and got {stamp:?}: lost, repeated or out of order"
            );
            reading.latencies.push(reading.finished.saturating_sub(stamp.published));
            next += 1;
        }
    }
    Ok((reader, reading))
}
