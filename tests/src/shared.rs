//! The one broker of all tests that do not kill theirs.

use tokio::sync::OnceCell;

use crate::{Amqp, RabbitNode};

/// Never dropped, as no static is; the node's leash ends it with the test process.
static NODE: OnceCell<RabbitNode> = OnceCell::const_new();
static BROKER: OnceCell<SharedBroker> = OnceCell::const_new();

/// The broker that tests share: [`shared_node`], or the one that the environment variable `AMQP_URL` names.
#[derive(Debug)]
pub struct SharedBroker(String);

/// Returns the shared broker, which the first caller starts if need be.
pub async fn shared_broker() -> &'static SharedBroker {
    BROKER.get_or_init(SharedBroker::find).await
}

/// Returns the shared node, which the first caller starts: for tests that need its command line tool or its virtual
/// hosts, and so cannot use a foreign broker.
pub async fn shared_node() -> &'static RabbitNode {
    NODE.get_or_init(RabbitNode::start).await
}

impl SharedBroker {
    async fn find() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place where the harness reads its environment")]
        let given = std::env::var("AMQP_URL").ok();
        Self(match given {
            Some(url) => url,
            None => shared_node().await.url(),
        })
    }

    /// Returns its URL.
    pub fn url(&self) -> &str {
        &self.0
    }

    /// Connects to it.
    pub async fn amqp(&self) -> Amqp {
        Amqp::connect(&self.0).await
    }
}
