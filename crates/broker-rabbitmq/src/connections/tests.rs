//! The tasks that keep the connections.

use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::FeedRetention;

#[tokio::test]
async fn a_task_that_panicked_is_noticed_and_an_orderly_end_is_no_panic() {
    let options = AmqpOptions {
        // Nothing listens there.
        urls: "amqp://guest:guest@127.0.0.1:1/%2f".parse().unwrap(),
        name: "test".to_owned(),
        mailbox_expiry: Duration::from_hours(1),
        max_leases: 10,
        feed_topics: Vec::new(),
        feed_retention: FeedRetention { age: Duration::from_hours(1), bytes: 1 << 30 },
        feed_replicas: None,
        feed_linger: Duration::from_secs(1),
    };
    let connections = Connections::start(&options).unwrap();
    connections.run_beside(std::future::pending());
    connections.close().await;
    assert!(timeout(Duration::from_millis(50), connections.failed()).await.is_err());

    let connections = Connections::start(&options).unwrap();
    connections.run_beside(async { panic!("on purpose") });
    timeout(Duration::from_mins(1), connections.failed()).await.unwrap();
}
