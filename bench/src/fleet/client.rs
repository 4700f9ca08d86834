//! A client: long-polls on one connection to the proxy and confirms with every poll.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail, ensure};
use events::{ClientId, ContentType, Event, Topic};
use postern_tests::LeanHttp;
use tokio::time::{Instant, sleep, timeout};

use super::stamp::{Stamp, micros_since};
use crate::batch::{Batch, Element};

/// Seconds that a poll may be held.
const WAIT: u32 = 25;

/// The pause after a refusal: a moment, so that a gateway that refuses stays visible in the delays.
const REFUSED: Duration = Duration::from_millis(100);

/// How long nothing may come before what is missing is lost; longer than a gateway keeps a mailbox for its client.
const PATIENCE: Duration = Duration::from_mins(1);

/// A mailbox and the topic of its events.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    id: ClientId,
    /// No other client's mailbox is bound to it.
    topic: Topic,
}

/// What a client got in a round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    /// Microseconds from the publish of each event to its first arrival.
    pub(crate) delays: Vec<u64>,
    /// Events that never came.
    pub(crate) lost: u32,
    /// Events that came after a younger one.
    pub(crate) out_of_order: u32,
    /// Events that came again.
    pub(crate) repeats: u32,
    /// Answers with 503.
    pub(crate) refused: u32,
    /// Answers with another error.
    pub(crate) errors: u32,
    /// All answers.
    pub(crate) answers: u32,
}

impl Client {
    /// Names one.
    pub(crate) fn new(run: &str, number: u32) -> anyhow::Result<Self> {
        Ok(Self { id: format!("{run}-{number}").parse()?, topic: format!("{run}.{number}").parse()? })
    }

    /// Returns the next event for it, of now.
    pub(crate) fn event(&self, number: u32, started: Instant) -> anyhow::Result<Event> {
        let stamp = Stamp { number, published: micros_since(started) };
        let payload = serde_json::to_vec(&stamp).context("a stamp is JSON")?;
        Ok(Event::new(self.topic.clone(), Some(ContentType::json()), payload))
    }

    /// Connects, and makes the mailbox.
    pub(crate) async fn open(&self, proxy: SocketAddr) -> anyhow::Result<LeanHttp> {
        let mut http = LeanHttp::open(proxy).await?;
        http.send("GET", &format!("/clients/{0}/events?wait=0&topics={1}&poll={0}.0", self.id, self.topic)).await?;
        let answer = http.answer().await?;
        ensure!(answer.status == 204, "the mailbox of {} should be empty: {answer:?}", self.id);
        Ok(http)
    }

    /// Removes the mailbox.
    pub(crate) async fn close(&self, http: &mut LeanHttp) -> anyhow::Result<()> {
        http.send("DELETE", &format!("/clients/{}", self.id)).await?;
        let answer = http.answer().await?;
        ensure!(answer.status == 204, "the mailbox of {} should be gone: {answer:?}", self.id);
        Ok(())
    }

    /// Reads so many events.
    pub(crate) async fn read(&self, http: &mut LeanHttp, count: u32, started: Instant) -> anyhow::Result<Reading> {
        let mut reading = Reading::default();
        let mut seen = vec![false; usize::try_from(count)?];
        let (mut last_seen, mut next, mut missing) = (String::new(), 0, count);
        let mut arrived = Instant::now();
        // It numbers its polls, so that a gateway knows from the first one on that it is the reader of the other gateway.
        for poll in 1.. {
            if missing == 0 || arrived.elapsed() > PATIENCE {
                break;
            }
            let path = format!("/clients/{0}/events?wait={WAIT}&last_seen={last_seen}&poll={0}.{poll}", self.id);
            http.send("GET", &path).await?;
            let answer = timeout(PATIENCE * 2, http.answer()).await.context("a poll is not answered")??;
            reading.answers += 1;
            match answer.status {
                200 => {}
                204 => continue,
                503 => {
                    reading.refused += 1;
                    sleep(REFUSED).await;
                    continue;
                }
                _ => {
                    reading.errors += 1;
                    sleep(REFUSED).await;
                    continue;
                }
            }
            let batch: Batch<'_, Stamp> = serde_json::from_slice(answer.body).context("a batch is JSON")?;
            arrived = Instant::now();
            for Element { data: Stamp { number, published } } in batch.events {
                let place = usize::try_from(number).ok().and_then(|number| seen.get_mut(number));
                let place = place.context("an event that was not published")?;
                if std::mem::replace(place, true) {
                    reading.repeats += 1;
                    continue;
                }
                reading.out_of_order += u32::from(number < next);
                next = next.max(number + 1);
                missing -= 1;
                reading.delays.push(micros_since(started).saturating_sub(published));
            }
            batch.last_seen.clone_into(&mut last_seen);
        }
        reading.lost = missing;
        // Confirms the last batch; nothing else may come.
        loop {
            http.send("GET", &format!("/clients/{}/events?wait=0&last_seen={last_seen}", self.id)).await?;
            let answer = http.answer().await?;
            match answer.status {
                204 => return Ok(reading),
                503 => reading.refused += 1,
                _ => bail!("more came than was published: {}", String::from_utf8_lossy(answer.body)),
            }
            sleep(REFUSED).await;
        }
    }
}
