//! Clients at the end of a feed, who get an event now and then; and how long each took.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use tokio::{
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::{Instant, interval},
};

use super::{LongLog, follower::Follower, topic};

const TOPIC: &str = "live";

/// See the module. The same backend publishes new events of the long log, too, one for each.
pub struct Live {
    stop: oneshot::Sender<()>,
    publishing: JoinHandle<u64>,
    clients: JoinSet<Vec<Duration>>,
}

/// How long events took from before they were published until a client had read them.
#[derive(Debug, Clone)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the time within which so many hundredths of them came.
    pub fn within(&self, hundredths: usize) -> Duration {
        let at = (self.0.len() * hundredths / 100).min(self.0.len().saturating_sub(1));
        self.0.get(at).copied().unwrap_or_default()
    }
}

impl Live {
    /// Has so many clients wait, and publishes at this pace; the next event of the long log has this number.
    pub async fn start(log: &LongLog, clients: usize, every: Duration, mut next: u64) -> anyhow::Result<Self> {
        let (times, end) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(u64::MAX)));
        let mut waiting = JoinSet::new();
        for _ in 0..clients {
            // No client can miss the first event: the place of each is known before it is published.
            let mut follower = Follower::new(log.gateway.address(), TOPIC, "now", 0);
            follower.poll(0).await?;
            waiting.spawn(follow(follower, Arc::clone(&times), Arc::clone(&end)));
        }
        let backend = log.backend().await;
        let (stop, mut stopped) = oneshot::channel();
        let publishing = tokio::spawn(async move {
            let mut pace = interval(every);
            for number in 0_u64.. {
                pace.tick().await;
                let is_last = stopped.try_recv().is_ok();
                if is_last {
                    end.store(number + 1, Ordering::SeqCst);
                }
                times.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                backend.publish(TOPIC, &format!("{{\"n\":{number}}}")).await;
                backend.publish(&topic(next), &format!("{{\"n\":{next}}}")).await;
                next += 1;
                if is_last {
                    break;
                }
            }
            next
        });
        Ok(Self { stop, publishing, clients: waiting })
    }

    /// Publishes the last event and waits until every client has it; returns the next number of the long log, too.
    pub async fn finish(mut self) -> anyhow::Result<(Latencies, u64)> {
        let _ = self.stop.send(());
        let next = self.publishing.await.context("the publisher should live")?;
        let mut latencies = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            latencies.extend(client.context("a client should live")?);
        }
        latencies.sort_unstable();
        Ok((Latencies(latencies), next))
    }
}

async fn follow(mut follower: Follower, times: Arc<Mutex<Vec<Instant>>>, last: Arc<AtomicU64>) -> Vec<Duration> {
    let mut latencies = Vec::new();
    while follower.next() < last.load(Ordering::SeqCst) {
        let numbers = follower.poll(55).await.expect("a client at the end is answered");
        let now = Instant::now();
        let times = times.lock().unwrap_or_else(PoisonError::into_inner);
        latencies
            .extend(numbers.into_iter().filter_map(|number| Some(now - *times.get(usize::try_from(number).ok()?)?)));
    }
    latencies
}
