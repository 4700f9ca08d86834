//! A backend that publishes as Postern's own binaries do, without a process of its own.

use amqp::ConfirmChannel;
use events::{ContentType, Event, EventId};

use crate::Amqp;

/// A connection that publishes events with confirms.
pub struct DirectPublisher {
    channel: ConfirmChannel,
    // Closes with the last handle.
    _amqp: Amqp,
}

impl DirectPublisher {
    /// Connects and declares the exchange.
    pub async fn connect(url: &str) -> Self {
        let amqp = Amqp::connect(url).await;
        let channel = ConfirmChannel::open(amqp.connection()).await.expect("a confirm channel should open");
        Self { channel, _amqp: amqp }
    }

    /// Publishes a JSON payload and waits for the confirm.
    pub async fn publish(&self, topic: &str, json: &str) -> EventId {
        self.publish_event(&event(topic, json)).await
    }

    /// Publishes an event as it is and waits for the confirm.
    pub async fn publish_event(&self, event: &Event) -> EventId {
        let confirmation = self.channel.publish(event).await.expect("an event should be written");
        confirmation.stored().await.expect("an event should be stored");
        event.id.clone()
    }

    /// Publishes `{"n":0}`, `{"n":1}`, … in one go, waits for all confirms, and returns the ids in order.
    pub async fn publish_numbered(&self, topic: &str, numbers: std::ops::Range<u64>) -> Vec<EventId> {
        let (mut ids, mut confirmations) = (Vec::new(), Vec::new());
        for number in numbers {
            let event = event(topic, &format!("{{\"n\":{number}}}"));
            confirmations.push(self.channel.publish(&event).await.expect("an event should be written"));
            ids.push(event.id);
        }
        for confirmation in confirmations {
            confirmation.stored().await.expect("an event should be stored");
        }
        ids
    }
}

fn event(topic: &str, json: &str) -> Event {
    let topic = topic.parse().unwrap_or_else(|e| panic!("{topic:?} is no topic: {e}"));
    Event::new(topic, Some(ContentType::json()), json.as_bytes().to_vec())
}
