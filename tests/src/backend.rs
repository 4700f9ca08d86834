//! What stands behind a gateway: a backend service that publishes, and the mailboxes as their broker sees them.
//!
//! On RabbitMQ both go past the gateway, over AMQP. Nothing goes past a gateway with an embedded broker, so there both go
//! over its HTTP interface, on one connection that is kept alive.

use std::{net::SocketAddr, time::Duration};

use events::EventId;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::{Amqp, Answer, DirectPublisher, Gateway, HttpConnection, Request};

/// See the module.
pub struct Backend(Way);

enum Way {
    Amqp { publisher: DirectPublisher, amqp: Amqp },
    Http { gateway: SocketAddr, kept: Mutex<Option<HttpConnection>> },
}

impl Backend {
    /// Connects to RabbitMQ.
    pub async fn of_rabbitmq(url: &str) -> Self {
        Self(Way::Amqp { publisher: DirectPublisher::connect(url).await, amqp: Amqp::connect(url).await })
    }

    /// Goes through a gateway that has an embedded broker.
    pub fn of_embedded(gateway: &Gateway) -> Self {
        Self(Way::Http { gateway: gateway.address(), kept: Mutex::default() })
    }

    /// Publishes a JSON payload and waits until it is stored.
    pub async fn publish(&self, topic: &str, json: &str) -> EventId {
        match &self.0 {
            Way::Amqp { publisher, .. } => publisher.publish(topic, json).await,
            Way::Http { gateway, kept } => {
                let answer = request(*gateway, kept, &Request::publish(topic, "application/json", json)).await;
                let id = answer.clone().expect_status(202).json()["id"].as_str().map(str::parse);
                id.and_then(Result::ok).unwrap_or_else(|| panic!("no id: {answer:?}"))
            }
        }
    }

    /// Publishes `{"n":0}`, `{"n":1}`, …, waits until all are stored, and returns the ids in order.
    pub async fn publish_numbered(&self, topic: &str, numbers: std::ops::Range<u64>) -> Vec<EventId> {
        match &self.0 {
            Way::Amqp { publisher, .. } => publisher.publish_numbered(topic, numbers).await,
            Way::Http { .. } => {
                let mut ids = Vec::new();
                for number in numbers {
                    ids.push(self.publish(topic, &format!("{{\"n\":{number}}}")).await);
                }
                ids
            }
        }
    }

    /// Returns the number of messages that wait in the mailbox of a client, not handed over to the gateway; `None` if
    /// there is no mailbox.
    pub async fn messages_ready(&self, client: &str) -> Option<u32> {
        match &self.0 {
            Way::Amqp { amqp, .. } => amqp.messages_ready(client).await,
            Way::Http { gateway, kept } => {
                let queued = look(*gateway, kept, client).await?["queued"].as_u64();
                Some(queued.and_then(|queued| queued.try_into().ok()).expect("a mailbox has a count"))
            }
        }
    }

    /// Returns the number of those who hold the lease of a client's mailbox, 0 or 1; `None` if there is no mailbox.
    pub async fn consumer_count(&self, client: &str) -> Option<u32> {
        match &self.0 {
            Way::Amqp { amqp, .. } => amqp.consumer_count(client).await,
            Way::Http { gateway, kept } => {
                let connected = look(*gateway, kept, client).await?["connected"].as_bool();
                Some(connected.expect("a mailbox is connected or not").into())
            }
        }
    }

    /// Returns the connection to RabbitMQ; panics on an embedded broker, which speaks no AMQP.
    pub fn amqp(&self) -> &Amqp {
        match &self.0 {
            Way::Amqp { amqp, .. } => amqp,
            Way::Http { .. } => panic!("an embedded broker speaks no AMQP"),
        }
    }
}

async fn look(gateway: SocketAddr, kept: &Mutex<Option<HttpConnection>>, client: &str) -> Option<Value> {
    let answer = request(gateway, kept, &Request::get(&format!("/clients/{client}"))).await;
    if answer.status == 404 { None } else { Some(answer.expect_status(200).json()) }
}

/// Sends a request on the connection that was kept, or on a new one if the gateway has left it.
async fn request(gateway: SocketAddr, kept: &Mutex<Option<HttpConnection>>, request: &Request) -> Answer {
    let mut kept = kept.lock().await;
    // Taken: whoever stops waiting for its answer leaves no half answer to the next.
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => HttpConnection::open(gateway).await,
    };
    if !connection.is_silent(Duration::ZERO).await {
        connection = HttpConnection::open(gateway).await;
    }
    let answer = connection.request(request).await;
    *kept = Some(connection).filter(|_| answer.header("connection") != Some("close"));
    answer
}
