//! Publishers that each wait for the confirm of one event before they publish the next.

use std::{net::SocketAddr, sync::Arc};

use amqp::{AmqpUrl, PublishingConnection};
use anyhow::Context;
use events::{ContentType, Event, Topic};
use postern_tests::{HttpConnection, Request};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};

/// What is published.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// How many publish at once, each to a topic of its own.
    pub(crate) publishers: usize,
    /// The payload of an event, in bytes.
    pub(crate) payload: usize,
}

impl Load {
    /// Publishes over HTTP, each publisher on a connection of its own; returns how many events were answered 202.
    pub(crate) async fn over_http(self, gateway: SocketAddr, end: Instant) -> u64 {
        let mut publishing = JoinSet::new();
        for publisher in 0..self.publishers {
            let payload = vec![b'x'; self.payload];
            publishing.spawn(async move {
                let mut connection = HttpConnection::open(gateway).await;
                let publish = Request::publish(&topic(publisher), "text/plain", payload);
                let mut events = 0;
                while Instant::now() < end {
                    connection.request(&publish).await.expect_status(202);
                    events += 1;
                }
                events
            });
        }
        publishing.join_all().await.into_iter().sum()
    }

    /// Publishes batches of so many events over HTTP, each publisher on a connection of its own; returns how many events
    /// were in those that were answered 202.
    pub(crate) async fn by_the_batch(self, gateway: SocketAddr, events: usize, end: Instant) -> u64 {
        let mut publishing = JoinSet::new();
        for publisher in 0..self.publishers {
            let event =
                json!({ "topic": topic(publisher), "text": "x".repeat(self.payload), "content_type": "text/plain" });
            let publish = Request::publish_batch("application/json", Value::from(vec![event; events]).to_string());
            publishing.spawn(async move {
                let mut connection = HttpConnection::open(gateway).await;
                let mut published = 0;
                while Instant::now() < end {
                    connection.request(&publish).await.expect_status(202);
                    published += events as u64;
                }
                published
            });
        }
        publishing.join_all().await.into_iter().sum()
    }

    /// Publishes over AMQP, all publishers on one connection; returns how many events RabbitMQ has confirmed.
    pub(crate) async fn over_amqp(self, url: &AmqpUrl, end: Instant) -> anyhow::Result<u64> {
        let connection = Arc::new(PublishingConnection::open(url, "bench publishers").await?);
        let mut publishing = JoinSet::new();
        for publisher in 0..self.publishers {
            let (connection, payload) = (Arc::clone(&connection), "x".repeat(self.payload));
            publishing.spawn(async move {
                let topic: Topic = topic(publisher).parse()?;
                let mut events = 0;
                while Instant::now() < end {
                    let event = Event::new(topic.clone(), Some(ContentType::text()), payload.clone());
                    connection.channel().publish(&event).await?.stored().await?;
                    events += 1;
                }
                anyhow::Ok(events)
            });
        }
        let counts: anyhow::Result<Vec<u64>> = publishing.join_all().await.into_iter().collect();
        let connection = Arc::into_inner(connection).context("the publishers have ended")?;
        connection.close().await;
        Ok(counts?.into_iter().sum())
    }
}

fn topic(publisher: usize) -> String {
    format!("bench.{publisher}")
}
