//! What stands behind a gateway: a backend service that publishes, and the mailboxes as their broker sees them.
//!
//! On RabbitMQ both go past the gateway, over AMQP. Nothing goes past a gateway with an embedded broker, so there both
//! go over its HTTP interface, on one connection that is kept alive.

use std::{net::SocketAddr, time::Duration};

use events::EventId;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::{Amqp, Answer, DirectPublisher, Gateway, HttpConnection, Request};

/// See the module.
pub struct Backend(Way);

enum Way {
    Amqp { publisher: Box<DirectPublisher>, amqp: Box<Amqp> },
    Http(KeptAlive),
}

impl Backend {
    /// Connects to RabbitMQ.
    pub async fn of_rabbitmq(url: &str) -> Self {
        let (publisher, amqp) = (DirectPublisher::connect(url).await, Amqp::connect(url).await);
        Self(Way::Amqp { publisher: Box::new(publisher), amqp: Box::new(amqp) })
    }

    /// Goes through a gateway that has an embedded broker.
    pub fn of_embedded(gateway: &Gateway) -> Self {
        Self(Way::Http(KeptAlive { gateway: gateway.address(), connection: Mutex::default() }))
    }

    /// Closes the connection that is kept alive; an orderly end of its gateway would wait a second for that.
    pub async fn hang_up(&self) {
        if let Way::Http(http) = &self.0 {
            *http.connection.lock().await = None;
        }
    }

    /// Publishes a JSON payload and waits until it is stored.
    pub async fn publish(&self, topic: &str, json: &str) -> EventId {
        match &self.0 {
            Way::Amqp { publisher, .. } => publisher.publish(topic, json).await,
            Way::Http(http) => {
                let answer = http.request(&Request::publish(topic, "application/json", json)).await;
                let id = answer.clone().expect_status(202).json()["id"].as_str().map(str::parse);
                id.and_then(Result::ok).unwrap_or_else(|| panic!("no id: {answer:?}"))
            }
        }
    }

    /// Publishes `{"n":0}`, `{"n":1}`, …, waits until all are stored, and returns the ids in order.
    pub async fn publish_numbered(&self, topic: &str, numbers: std::ops::Range<u64>) -> Vec<EventId> {
        match &self.0 {
            Way::Amqp { publisher, .. } => publisher.publish_numbered(topic, numbers).await,
            Way::Http(_) => {
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
            Way::Http(http) => {
                let queued = http.look(client).await?["queued"].as_u64();
                Some(queued.and_then(|queued| queued.try_into().ok()).expect("a mailbox has a count"))
            }
        }
    }

    /// Returns the number of those who hold the lease of a client's mailbox, 0 or 1; `None` if there is no mailbox.
    pub async fn consumer_count(&self, client: &str) -> Option<u32> {
        match &self.0 {
            Way::Amqp { amqp, .. } => amqp.consumer_count(client).await,
            Way::Http(http) => {
                let connected = http.look(client).await?["connected"].as_bool();
                Some(connected.expect("a mailbox is connected or not").into())
            }
        }
    }

    /// Returns the connection to RabbitMQ; panics on an embedded broker, which speaks no AMQP.
    pub fn amqp(&self) -> &Amqp {
        match &self.0 {
            Way::Amqp { amqp, .. } => amqp,
            Way::Http(_) => panic!("an embedded broker speaks no AMQP"),
        }
    }
}

/// A connection to a gateway that is used again as long as it lasts.
struct KeptAlive {
    gateway: SocketAddr,
    connection: Mutex<Option<HttpConnection>>,
}

impl KeptAlive {
    /// Returns what the gateway tells of a mailbox; `None` if there is none.
    async fn look(&self, client: &str) -> Option<Value> {
        let answer = self.request(&Request::get(&format!("/clients/{client}"))).await;
        if answer.status == 404 { None } else { Some(answer.expect_status(200).json()) }
    }

    async fn request(&self, request: &Request) -> Answer {
        let mut kept = self.connection.lock().await;
        // Taken: a caller that stops waiting for its answer leaves no half answer to the next.
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => HttpConnection::open(self.gateway).await,
        };
        // The gateway may have left it meanwhile.
        if !connection.is_silent(Duration::ZERO).await {
            connection = HttpConnection::open(self.gateway).await;
        }
        let answer = connection.request(request).await;
        *kept = Some(connection).filter(|_| answer.header("connection") != Some("close"));
        answer
    }
}
