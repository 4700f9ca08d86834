//! A gateway without feeds.

use amqp::names::FEED;
use postern_tests::{Broker, Gateway, Request, on_both_brokers, shared_node, unique};

async fn start(broker: Broker) -> (Gateway, Option<String>) {
    let url = match broker {
        Broker::RabbitMq => Some(shared_node().await.vhost("off").await),
        Broker::Embedded => None,
    };
    let gateway = match &url {
        Some(url) => Gateway::builder().amqp_url(url),
        None => Gateway::builder().embedded(),
    };
    let gateway = gateway.flag("--feed-topics", "none").start().await;
    gateway.wait_answer("/ready", 200, std::time::Duration::from_mins(1)).await;
    (gateway, url)
}

on_both_brokers!(without_feeds_mailboxes_are_served_and_no_stream_is_made);
async fn without_feeds_mailboxes_are_served_and_no_stream_is_made(broker: Broker) {
    let (gateway, url) = start(broker).await;
    let client = gateway.carries_an_event().await;
    let path = format!("/topics/{}/events", unique("jobs"));
    let refused = Request::get(&format!("{path}?wait=0")).send(gateway.address()).await;
    assert!(refused.problem(404).contains("--feed-topics none"), "{refused:?}");
    let refused = Request::get(&path).header("accept", "text/event-stream").send(gateway.address()).await;
    assert!(refused.problem(404).contains("--feed-topics none"), "{refused:?}");
    Request::get("/ready?feeds").send(gateway.address()).await.expect_status(503);
    if let Some(url) = url {
        let queues = shared_node().await.queues(url.rsplit('/').next().unwrap()).await;
        let names: Vec<_> = queues.into_iter().map(|queue| queue.name).collect();
        assert!(names.contains(&format!("postern.mailbox.{client}")), "{names:?}");
        assert!(!names.iter().any(|name| name == FEED), "{names:?}");
    }
}
