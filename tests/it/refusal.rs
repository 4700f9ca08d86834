//! A broker that is there and does not do what it is asked.
//!
//! It is RabbitMQ, which refuses by permission and by memory; an embedded broker has neither rule.

use std::time::Duration;

use postern_tests::{
    DirectPublisher, Gateway, HttpConnection, Poll, RabbitNode, Request, eventually, shared_node, unique,
};
use tokio::{task::JoinSet, time::timeout};

const JSON: &str = "application/json";

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_out_of_memory_takes_nothing_and_is_read_all_the_same() {
    let node = RabbitNode::start().await;
    let gateway = Gateway::builder().amqp_url(&node.url()).start().await;
    gateway.wait_ready().await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic);
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    DirectPublisher::connect(&node.url()).await.publish_numbered(&topic, 0..2).await;
    node.rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", "1MB"]).await;

    // The broker tells a publisher that it is blocked only once that has sent something.
    let post = async || Request::publish(&topic, JSON, r#"{"n":9}"#).send(gateway.address()).await;
    let detail = post().await.problem(503);
    assert!(detail.contains("may have been stored"), "{detail}");
    for _ in 0..20 {
        let refused = timeout(Duration::from_secs(5), post()).await.expect("at once, nothing is written any more");
        refused.problem(503);
    }
    // A new mailbox would need a marker; one that exists needs nothing stored.
    let put = async |client: &str| {
        let put = Request::new("PUT", &format!("/clients/{client}/topics/{topic}.more"));
        timeout(Duration::from_secs(5), put.send(gateway.address())).await.expect("at once")
    };
    let detail = put(&unique("bob")).await.problem(503);
    assert!(detail.contains("short of memory"), "{detail}");
    put(&client).await.expect_status(204);
    let batch = poll.clone().send(&gateway).await.batch();
    assert_eq!(batch.numbers("n"), [0, 1]);
    poll.clone().last_seen(&batch.last_seen).wait(0).send(&gateway).await.expect_status(204);

    node.rabbitmqctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    eventually(Duration::from_mins(1), "publishing to work again", async || {
        let answer = post().await;
        if answer.status == 202 { Ok(()) } else { Err(answer) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_events_cost_no_other_publisher_the_connection() {
    let node = shared_node().await;
    let user = unique("limited");
    node.rabbitmqctl(&["add_user", &user, "secret"]).await;
    node.rabbitmqctl(&["set_permissions", "-p", "/", &user, ".*", ".*", ".*"]).await;
    node.rabbitmqctl(&["set_topic_permissions", "-p", "/", &user, "postern.events", "^ok", ".*"]).await;
    let url = node.url().replace("guest:guest", &format!("{user}:secret"));
    let gateway = Gateway::builder().amqp_url(&url).start().await;
    gateway.wait_ready().await;
    let address = gateway.address();

    // Each of these makes the broker close a channel, whose number is lost; a connection has 2047 of them.
    let mut publishers = JoinSet::new();
    for _ in 0..8 {
        publishers.spawn(async move {
            let mut connection = HttpConnection::open(address).await;
            for _ in 0..280 {
                connection.request(&Request::publish("secret.1", JSON, "1")).await.problem(503);
            }
        });
    }
    publishers.join_all().await;
    eventually(Duration::from_mins(1), "what is allowed to work", async || {
        let published = Request::publish("ok.1", JSON, "1").send(address).await.status;
        let bound = Request::new("PUT", &format!("/clients/{}/topics/ok.1", unique("bob"))).send(address).await.status;
        if (published, bound) == (202, 204) { Ok(()) } else { Err((published, bound)) }
    })
    .await;
}
