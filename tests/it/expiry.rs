//! A mailbox that is gone: its client is told, and the telling is not lost with one answer.
//!
//! That an older mailbox keeps its older expiry is RabbitMQ's way; an embedded broker goes by its flag.

use std::time::Duration;

use postern_tests::{
    Backend, Broker, DirectPublisher, Gateway, HttpConnection, Poll, eventually, on_both_brokers, shared_node, unique,
};

/// The shortest that leaves a slow machine time to poll; spread by ±10 %.
const EXPIRY: &str = "2s";

async fn gateway(broker: Broker) -> Gateway {
    let builder = match broker {
        // Not a foreign one: its command line tool is needed.
        Broker::RabbitMq => Gateway::builder().amqp_url(&shared_node().await.url()),
        Broker::Embedded => broker.gateway().await,
    };
    builder.flag("--linger", "100ms").flag("--mailbox-expiry", EXPIRY).start().await
}

async fn behind(broker: Broker, gateway: &Gateway) -> Backend {
    match broker {
        Broker::RabbitMq => Backend::of_rabbitmq(&shared_node().await.url()).await,
        Broker::Embedded => broker.behind(gateway).await,
    }
}

/// Waits until the broker has dropped a mailbox, without touching it: looking over AMQP would keep it alive.
async fn is_dropped(broker: Broker, gateway: &Gateway, client: &str) {
    let queue = format!("postern.mailbox.{client}");
    eventually(Duration::from_mins(1), "the mailbox expires", async || {
        let is_there = match broker {
            Broker::RabbitMq => shared_node().await.queues("/").await.iter().any(|row| row.name == queue),
            Broker::Embedded => broker.behind(gateway).await.messages_ready(client).await.is_some(),
        };
        if is_there { Err("it is still there") } else { Ok(()) }
    })
    .await;
}

on_both_brokers!(a_client_whose_mailbox_expired_is_told_until_it_has_seen_it);
async fn a_client_whose_mailbox_expired_is_told_until_it_has_seen_it(broker: Broker) {
    let gateway = gateway(broker).await;
    let backend = behind(broker, &gateway).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic);
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    backend.publish(&topic, r#"{"n":0}"#).await;
    let before = poll.send(&gateway).await.batch();
    assert_eq!((before.numbers("n"), before.reset), (vec![0], false));
    is_dropped(broker, &gateway, &client).await;

    // The first answer that says so is lost.
    let mut connection = HttpConnection::open(gateway.address()).await;
    let lost = poll.clone().last_seen(&before.last_seen).send_on(&mut connection).await.batch();
    assert!(lost.reset && lost.events.is_empty());
    connection.reset();
    backend.publish(&topic, r#"{"n":1}"#).await;
    let told = poll.clone().last_seen(&before.last_seen).send(&gateway).await.batch();
    assert!(told.reset && told.events.is_empty());
    // Once it has seen it, events go on; the telling is confirmed like any event.
    let after = poll.clone().last_seen(&told.last_seen).send(&gateway).await.batch();
    assert_eq!((after.numbers("n"), after.reset), (vec![1], false));
    poll.last_seen(&after.last_seen).wait(0).send(&gateway).await.expect_status(204);
}

on_both_brokers!(a_gateway_that_dies_does_not_take_the_news_with_it);
async fn a_gateway_that_dies_does_not_take_the_news_with_it(broker: Broker) {
    let mut gateway = gateway(broker).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic);
    let never_confirmed = poll.clone().last_seen("01890a5d-ac96-774b-bcce-b302099a8057");
    for confirmed in [false, true] {
        let told = never_confirmed.send(&gateway).await.batch();
        assert!(told.reset);
        gateway.kill9();
        gateway.start_again().await;
        if confirmed {
            let rest = poll.clone().last_seen(&told.last_seen).wait(0).send(&gateway).await;
            assert_eq!(rest.status, 204, "the token of one gateway is good on the next");
        }
    }
}

on_both_brokers!(who_never_saw_anything_is_told_nothing);
async fn who_never_saw_anything_is_told_nothing(broker: Broker) {
    let gateway = gateway(broker).await;
    let backend = behind(broker, &gateway).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let mut held = Poll::of(&client).topics(&topic).hold(&gateway).await;
    assert!(held.is_silent(Duration::from_millis(500)).await);
    backend.publish(&topic, r#"{"n":0}"#).await;
    let batch = held.answer().await.batch();
    assert_eq!((batch.numbers("n"), batch.reset), (vec![0], false));
}

on_both_brokers!(polls_keep_a_mailbox_alive_however_short_its_expiry);
async fn polls_keep_a_mailbox_alive_however_short_its_expiry(broker: Broker) {
    let gateway = gateway(broker).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic);
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    // Held for more than twice the expiry: a reader keeps its mailbox.
    let held = poll.last_seen("nothing-yet").wait(5).send(&gateway).await;
    assert_eq!(held.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn mailboxes_with_another_expiry_are_used_as_they_are_and_an_operator_is_told() {
    let broker = shared_node().await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic);
    {
        let first = Gateway::builder().amqp_url(&broker.url()).start().await;
        poll.clone().wait(0).send(&first).await.expect_status(204);
    }
    let second = Gateway::builder().amqp_url(&broker.url()).flag("--mailbox-expiry", "48h").start().await;
    second.wait_ready().await;
    DirectPublisher::connect(&broker.url()).await.publish(&topic, r#"{"n":0}"#).await;
    assert_eq!(poll.send(&second).await.batch().numbers("n"), [0]);
    let warning = eventually(Duration::from_secs(5), "a warning", async || {
        let lines = second.log().lines();
        lines.iter().find(|line| line.contains("another expiry")).cloned().ok_or(lines)
    })
    .await;
    assert!(warning.contains("policy") && warning.contains("expires"), "{warning}");
}
