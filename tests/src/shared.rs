//! The one broker of all tests that do not kill theirs.

use tokio::sync::OnceCell;

use crate::{Amqp, RabbitNode};

/// Never dropped, as no static is; the node's leash ends it with the test process.
static SHARED: OnceCell<SharedNode> = OnceCell::const_new();

/// The broker that tests share: a node of its own, or the one that the environment variable `AMQP_URL` names.
#[derive(Debug)]
pub struct SharedNode {
    url: String,
    node: Option<RabbitNode>,
}

/// Returns the shared broker, which the first caller starts.
pub async fn shared_node() -> &'static SharedNode {
    SHARED.get_or_init(SharedNode::start).await
}

impl SharedNode {
    async fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place where the harness reads its environment")]
        let given = std::env::var("AMQP_URL").ok();
        if let Some(url) = given {
            return Self { url, node: None };
        }
        let node = RabbitNode::start().await;
        Self { url: node.url(), node: Some(node) }
    }

    /// Returns its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Connects to it.
    pub async fn amqp(&self) -> Amqp {
        Amqp::connect(&self.url).await
    }

    /// Returns the node, for its command line tool and virtual hosts; panics if `AMQP_URL` names a foreign broker.
    pub fn node(&self) -> &RabbitNode {
        self.node.as_ref().expect("this test needs a node of its own: run it without AMQP_URL")
    }
}
