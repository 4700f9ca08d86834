//! What most tests need: a gateway, a broker behind it, and one client with a topic of its own.

use std::time::Duration;

use crate::{Amqp, DirectPublisher, Gateway, GatewayBuilder, Poll, eventually_eq, shared_broker, unique};

/// "At once": far below every linger that a test sets, generous to a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A client that subscribed through a gateway of its own on the shared broker.
pub struct World {
    /// The gateway.
    pub gateway: Gateway,
    /// Publishes past the gateway.
    pub publisher: DirectPublisher,
    /// Looks past the gateway.
    pub amqp: Amqp,
    /// The client's id.
    pub client: String,
    /// Its topic; it gets this one and all below it.
    pub topic: String,
}

impl World {
    /// Starts a gateway with default flags and subscribes.
    pub async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    /// Starts a gateway with these flags and subscribes.
    pub async fn with(flags: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let world = Self::without_mailbox(flags).await;
        world.poll().wait(0).send(&world.gateway).await.expect_status(204);
        world
    }

    /// Starts a gateway with these flags; the client has no mailbox yet.
    pub async fn without_mailbox(flags: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let broker = shared_broker().await;
        let gateway = flags(Gateway::builder().amqp_url(broker.url())).start().await;
        gateway.wait_ready().await;
        Self {
            gateway,
            publisher: DirectPublisher::connect(broker.url()).await,
            amqp: broker.amqp().await,
            client: unique("alice"),
            topic: unique("jobs"),
        }
    }

    /// Returns a poll of the client that names its topics.
    pub fn poll(&self) -> Poll {
        Poll::of(&self.client).topics(&format!("{}.#", self.topic)).wait(30)
    }

    /// Returns (messages ready, consumers) of the client's mailbox.
    pub async fn mailbox(&self) -> (Option<u32>, Option<u32>) {
        (self.amqp.messages_ready(&self.client).await, self.amqp.consumer_count(&self.client).await)
    }

    /// Waits until so many events are back in the mailbox and nobody holds it: at once, not after a timeout.
    pub async fn is_back(&self, events: u32) {
        let state = async || self.mailbox().await;
        eventually_eq(AT_ONCE, "(messages ready, consumers)", (Some(events), Some(0)), state).await;
    }

    /// Waits until all events of the mailbox are in the gateway's window.
    pub async fn is_handed_over(&self) {
        let ready = async || self.amqp.messages_ready(&self.client).await;
        eventually_eq(AT_ONCE, "messages ready", Some(0), ready).await;
    }
}
