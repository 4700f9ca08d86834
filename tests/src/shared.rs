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
    NODE.get_or_init(start_node).await
}

/// Starts the shared node with the settings that the environment variable `POSTERN_TEST_SETTINGS` names: those of other
/// people's brokers, under which the same tests have to pass. A node that a test starts for itself keeps its own.
async fn start_node() -> RabbitNode {
    #[expect(clippy::disallowed_methods, reason = "the harness reads its environment in this file")]
    let settings = std::env::var("POSTERN_TEST_SETTINGS").unwrap_or_default();
    match settings.as_str() {
        "" | "plain" => RabbitNode::start().await,
        "quorum" => {
            let mut node = RabbitNode::start().await;
            node.default_queue_type("quorum").await;
            node
        }
        // The limits of a hosted broker's small plan, and a deadline for confirms in place of half an hour.
        "small" => RabbitNode::start_with(&["channel_max = 20", "frame_max = 8192", "consumer_timeout = 60000"]).await,
        other => panic!("POSTERN_TEST_SETTINGS is {other:?}, but must be plain, quorum or small"),
    }
}

impl SharedBroker {
    async fn find() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the harness reads its environment in this file")]
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
