//! Under a default queue type of quorum, mailboxes are classic queues all the same; what is of another type is not
//! read.
//!
//! A quorum queue ignores exclusive consumers, changes the order when it requeues, and drops what was handed out too
//! often.

use std::time::Duration;

use lapin::types::{AMQPValue, FieldTable};
use postern_tests::{
    Amqp, DirectPublisher, Gateway, HttpConnection, Poll, Request, eventually, eventually_eq, shared_node, unique,
};

fn arguments(pairs: &[(&str, AMQPValue)]) -> FieldTable {
    let mut arguments = FieldTable::default();
    for (name, value) in pairs {
        arguments.insert((*name).into(), value.clone());
    }
    arguments
}

#[tokio::test(flavor = "multi_thread")]
async fn a_default_queue_type_of_quorum_changes_neither_order_nor_what_is_kept() {
    let url = shared_node().await.vhost_of_type("quorum", "quorum").await;
    let gateway = Gateway::builder().amqp_url(&url).flag("--window", "4").start().await;
    let (client, amqp) = (unique("alice"), Amqp::connect(&url).await);
    let poll = Poll::of(&client).topics("jobs.#");
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    DirectPublisher::connect(&url).await.publish_numbered("jobs.1", 0..10).await;
    // The first poll's Session is still there, and a poll would be answered with what has come so far.
    let unconfirmed = async || {
        let status = Request::get(&format!("/clients/{client}")).send(gateway.address()).await.json();
        status["unconfirmed"].as_u64()
    };
    eventually_eq(Duration::from_secs(10), "events in the window", Some(4), unconfirmed).await;
    // More often than a quorum queue of RabbitMQ 4 delivers a message (20 times).
    for round in 0..25 {
        let mut connection = HttpConnection::open(gateway.address()).await;
        let batch = poll.clone().wait(5).send_on(&mut connection).await.batch();
        assert_eq!((batch.numbers("n"), batch.events[0].redelivered), (vec![0, 1, 2, 3], round > 0), "round {round}");
        connection.reset();
        let consumers = async || amqp.consumer_count(&client).await;
        eventually_eq(Duration::from_secs(10), "consumers", Some(0), consumers).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_of_another_type_is_refused_and_an_operator_is_told() {
    let node = shared_node().await;
    let amqp = Amqp::connect(&node.url()).await;
    let quorum = ("x-queue-type", AMQPValue::LongString("quorum".into()));
    let expires = ("x-expires", AMQPValue::LongLongInt(86_400_000));
    for (known_from, arguments) in
        [("its type", arguments(std::slice::from_ref(&quorum))), ("both", arguments(&[quorum, expires]))]
    {
        let client = unique("alice");
        let queue = format!("postern.mailbox.{client}");
        amqp.declare_queue(&queue, arguments).await;
        let gateway = Gateway::builder().amqp_url(&node.url()).start().await;
        let poll = Poll::of(&client).topics("jobs.#").wait(0);
        for poll in [poll.clone(), poll.clone().last_seen("nothing-yet")] {
            let refused = poll.send(&gateway).await;
            assert!(refused.problem(503).contains("another type"), "{known_from}: {refused:?}");
        }
        let bind = Request::new("PUT", &format!("/clients/{client}/topics/jobs.1"));
        assert!(bind.send(gateway.address()).await.problem(503).contains("another type"), "{known_from}");
        let fields = gateway.wait_logged("the broker refused", Duration::from_secs(5)).await;
        assert!(fields.to_string().contains(&queue), "{fields}");
        // As the answer says: deleted, it is made anew.
        Request::new("DELETE", &format!("/clients/{client}")).send(gateway.address()).await.expect_status(204);
        eventually(Duration::from_secs(5), "a mailbox of the right type", async || {
            let answer = poll.send(&gateway).await;
            if answer.status == 204 { Ok(()) } else { Err(answer) }
        })
        .await;
    }
}
