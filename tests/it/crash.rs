//! Gateways and brokers that die: what was confirmed to a publisher reaches its client, and nothing is forgotten.
//!
//! A broker that dies alone is RabbitMQ; an embedded one dies with its gateway, which the module `embedded` has more
//! of.

use std::time::Duration;

use postern_tests::{Amqp, Broker, DirectPublisher, Gateway, Poll, RabbitNode, eventually, on_both_brokers, unique};

on_both_brokers!(a_gateway_killed_with_fifty_unconfirmed_events_forgets_none_of_them);
async fn a_gateway_killed_with_fifty_unconfirmed_events_forgets_none_of_them(broker: Broker) {
    let mut gateway = broker.gateway().await.start().await;
    let backend = broker.behind(&gateway).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic);
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    backend.publish_numbered(&topic, 0..60).await;
    let all = eventually(Duration::from_mins(1), "60 events at once", async || {
        let batch = poll.send(&gateway).await.batch();
        if batch.events.len() == 60 { Ok(batch) } else { Err(batch.events.len()) }
    })
    .await;
    // The client has seen ten of them, and says so to the next process.
    let ten = poll.clone().query("limit", "10").send(&gateway).await.batch();
    assert_eq!(ten.ids(), all.ids()[..10]);

    gateway.kill9();
    gateway.start_again().await;
    gateway.wait_ready().await;
    let unseen = poll.last_seen(&ten.last_seen).send(&gateway).await.batch();
    assert_eq!(unseen.ids(), all.ids()[10..]);
    assert!(unseen.events.iter().all(|event| event.redelivered));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_in_the_middle_loses_nothing_that_it_confirmed() {
    let mut node = RabbitNode::start().await;
    let gateway = Gateway::builder().amqp_url(&node.url()).start().await;
    gateway.wait_ready().await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic).query("limit", "10");
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    let publisher = DirectPublisher::connect(&node.url()).await;
    publisher.publish_numbered(&topic, 0..100).await;

    let mut seen = Vec::new();
    let mut token = None::<String>;
    for _ in 0..3 {
        let batch = with(&poll, token.as_ref()).send(&gateway).await.batch();
        seen.extend(batch.numbers("n"));
        token = Some(batch.last_seen);
    }
    let confirmed = seen.clone();

    // One poll is held while the broker dies, another comes while it is away.
    let other = Poll::of(&unique("bob")).topics(&topic);
    let mut held = other.clone().hold(&gateway).await;
    assert!(held.is_silent(Duration::from_millis(500)).await);
    node.kill9();
    let ended = held.answer().await;
    ended.problem(503);
    let retry_after: u64 = ended.header("retry-after").expect("a retry-after").parse().unwrap();
    assert!((1..=5).contains(&retry_after));
    gateway.wait_answer("/ready", 503, Duration::from_secs(10)).await;
    let refused = other.send(&gateway).await;
    assert!(refused.problem(503).contains("cannot be reached") && refused.header("retry-after").is_some());

    node.start_again().await;
    gateway.wait_mailboxes().await;
    while seen.last() != Some(&99) {
        let batch = with(&poll, token.as_ref()).send(&gateway).await.batch();
        assert!(batch.events.iter().all(|event| event.redelivered), "after a crash everything is flagged");
        for number in batch.numbers("n") {
            // What was confirmed a moment before the crash may come back, flagged; nothing else may.
            if !confirmed.contains(&number) {
                seen.push(number);
            }
        }
        token = Some(batch.last_seen);
    }
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_in_order_changes_nothing_for_its_clients() {
    let mut node = RabbitNode::start().await;
    let gateway = Gateway::builder().amqp_url(&node.url()).start().await;
    gateway.wait_ready().await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic);
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    DirectPublisher::connect(&node.url()).await.publish_numbered(&topic, 0..5).await;
    let two = poll.clone().query("limit", "2").send(&gateway).await.batch();
    node.restart().await;
    gateway.wait_ready().await;
    let rest = poll.clone().last_seen(&two.last_seen).send(&gateway).await.batch();
    assert_eq!(rest.numbers("n"), [2, 3, 4]);
    let amqp = Amqp::connect(&node.url()).await;
    poll.last_seen(&rest.last_seen).wait(0).send(&gateway).await.expect_status(204);
    assert_eq!(amqp.messages_ready(&client).await, Some(0));
}

fn with(poll: &Poll, token: Option<&String>) -> Poll {
    token.iter().fold(poll.clone(), |poll, token| poll.last_seen(token))
}
