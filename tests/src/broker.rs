//! The two brokers that a gateway can run on. They make the same promises, so one test is written once and run on both.

use crate::{Backend, Gateway, GatewayBuilder, shared_broker, shared_node};

/// What keeps a gateway's mailboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broker {
    /// The RabbitMQ that tests share.
    RabbitMq,
    /// The gateway's own, in a folder of its own. It lives and dies with its gateway, of which there is only one.
    Embedded,
}

impl Broker {
    /// Describes a gateway on this broker.
    pub async fn gateway(self) -> GatewayBuilder {
        match self {
            Self::RabbitMq => Gateway::builder().amqp_url(shared_broker().await.url()),
            Self::Embedded => Gateway::builder().embedded(),
        }
    }

    /// Describes a gateway that follows a log of its own: no other test writes to it.
    pub async fn gateway_with_log(self) -> GatewayBuilder {
        match self {
            Self::RabbitMq => Gateway::builder().amqp_url(&shared_node().await.vhost("log").await).with_feed(),
            Self::Embedded => Gateway::builder().embedded(),
        }
    }

    /// Returns what stands behind a gateway that [`Self::gateway`] described.
    pub async fn behind(self, gateway: &Gateway) -> Backend {
        match self {
            Self::RabbitMq => Backend::of_rabbitmq(shared_broker().await.url()).await,
            Self::Embedded => Backend::of_embedded(gateway),
        }
    }
}

/// Makes two tests of one `async fn(Broker)`: `<its name>::rabbitmq` and `<its name>::embedded`.
///
/// It stands above the function and not around it, because rustfmt leaves alone what is inside of a macro. A function
/// without it is never used, which the compiler says.
#[macro_export]
macro_rules! on_both_brokers {
    ($promise:ident) => {
        mod $promise {
            #[tokio::test(flavor = "multi_thread")]
            async fn rabbitmq() {
                super::$promise($crate::Broker::RabbitMq).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn embedded() {
                super::$promise($crate::Broker::Embedded).await;
            }
        }
    };
}
