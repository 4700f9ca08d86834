//! A client of the gateway: long-polls on one keep-alive connection and confirms with every poll.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use postern_tests::LeanHttp;

use super::{reader::Reader, stage::Client, stamp::Stamp};
use crate::batch::Batch;

/// Seconds that a poll may be held: the gateway's longest, so that a quiet client costs the least.
const WAIT: u32 = 55;

/// See the module.
#[derive(Debug)]
pub(crate) struct Poller {
    http: LeanHttp,
    path: String,
    last_seen: String,
}

impl Poller {
    /// Connects and polls once without waiting: when this returns, the gateway consumes the mailbox.
    pub(crate) async fn open(address: SocketAddr, client: &Client) -> anyhow::Result<Self> {
        let mut http = LeanHttp::open(address).await?;
        let path = format!("/clients/{}/events", client.id);
        http.send("GET", &format!("{path}?wait=0&topics={}", client.topic)).await?;
        let answer = http.answer().await?;
        ensure!(answer.status == 204, "{path} should be empty: {answer:?}");
        Ok(Self { http, path, last_seen: String::new() })
    }

    /// Sends a poll that the gateway holds.
    pub(crate) async fn hold(&mut self) -> anyhow::Result<()> {
        self.poll(WAIT).await
    }

    /// Leaves as a client that dies.
    pub(crate) fn leave(self) -> anyhow::Result<()> {
        self.http.reset()
    }

    async fn poll(&mut self, wait: u32) -> anyhow::Result<()> {
        let Self { http, path, last_seen } = self;
        http.send("GET", &format!("{path}?wait={wait}&last_seen={last_seen}")).await
    }
}

impl Reader for Poller {
    async fn burst(&mut self, arrived: &mut Vec<Stamp>) -> anyhow::Result<()> {
        self.poll(WAIT).await?;
        let answer = self.http.answer().await?;
        if answer.status == 204 {
            return Ok(());
        }
        ensure!(answer.status == 200, "status {}: {}", answer.status, String::from_utf8_lossy(answer.body));
        let batch: Batch<'_, Stamp> = serde_json::from_slice(answer.body).context("a batch is JSON")?;
        arrived.extend(batch.events.iter().map(|element| element.data));
        batch.last_seen.clone_into(&mut self.last_seen);
        Ok(())
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        self.poll(0).await?;
        let answer = self.http.answer().await?;
        ensure!(answer.status == 204, "more came than was published: {}", String::from_utf8_lossy(answer.body));
        Ok(())
    }
}
