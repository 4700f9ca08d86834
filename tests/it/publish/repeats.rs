//! A publisher that sends one event again, under one id.
//!
//! Only the embedded broker knows what it has stored: a RabbitMQ stores what it is sent.

use postern_tests::{Broker, Gateway, Request, World, on_both_brokers};

use super::{JSON, id_of};

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

async fn publish(gateway: &Gateway, topic: &str, id: &str, payload: &str) -> String {
    id_of(&Request::publish(topic, JSON, payload).header("Event-Id", id).send(gateway.address()).await)
}

/// Reads and confirms all that waits, of which nothing is a repeat.
async fn numbers(world: &World) -> Vec<u64> {
    let events = world.read_all().await;
    assert!(events.iter().all(|event| !event.redelivered), "{events:?}");
    events.iter().map(|event| event.number("n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_of_one_id_stays_and_no_other_is_stored() {
    let world = World::new(Broker::Embedded).await;
    for (id, payload) in [(ID, r#"{"n":1}"#), (ID, r#"{"n":2}"#), (&*ID.to_uppercase(), r#"{"n":3}"#)] {
        assert_eq!(publish(&world.gateway, &world.topic, id, payload).await, ID);
    }
    let other = format!("{}.other", world.topic);
    publish(&world.gateway, &other, ID, r#"{"n":4}"#).await;
    publish(&world.gateway, &world.topic, "another", r#"{"n":5}"#).await;
    assert_eq!(numbers(&world).await, [1, 4, 5], "an event is its id and its topic");
    let resent = Request::publish(&world.topic, JSON, r#"{"n":6}"#).header("Event-Id", ID);
    id_of(&resent.header("Postern-Resent", "true").send(world.gateway.address()).await);
    assert_eq!(numbers(&world).await, [0; 0], "its publisher need not say that it sends it again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_of_one_id_at_once_are_one_event() {
    let world = World::new(Broker::Embedded).await;
    for round in 0..5 {
        let (address, topic) = (world.gateway.address(), &world.topic);
        let request =
            Request::publish(topic, JSON, format!("{{\"n\":{round}}}")).header("Event-Id", &round.to_string());
        let posts: Vec<_> = (0..100).map(|_| request.clone()).collect();
        let posts = posts.into_iter().map(|request| tokio::spawn(async move { id_of(&request.send(address).await) }));
        for post in posts.collect::<Vec<_>>() {
            assert_eq!(post.await.unwrap(), round.to_string());
        }
        assert_eq!(numbers(&world).await, [round]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_a_crash_is_the_same_event() {
    let mut world = World::new(Broker::Embedded).await;
    publish(&world.gateway, &world.topic, ID, r#"{"n":1}"#).await;
    assert_eq!(numbers(&world).await, [1]);
    world.gateway.kill9();
    world.gateway.start_again().await;
    world.gateway.wait_ready().await;
    assert_eq!(publish(&world.gateway, &world.topic, ID, r#"{"n":1}"#).await, ID);
    publish(&world.gateway, &world.topic, "next", r#"{"n":2}"#).await;
    assert_eq!(numbers(&world).await, [2]);
}

on_both_brokers!(any_text_is_an_id_under_either_name);
async fn any_text_is_an_id_under_either_name(broker: Broker) {
    let world = World::new(broker).await;
    let long = "evt/1 (second)".repeat(18);
    let texts = ["order-17", "evt_1NG8Du2eZvKYlo2CUI79vXWy", "2026-11-28 04:25 / line 7", &long, ID];
    for text in texts {
        let shown = publish(&world.gateway, &world.topic, text, "1").await;
        let key = Request::publish(&world.topic, JSON, "1").header("Idempotency-Key", &format!("\"{text}\""));
        assert_eq!(id_of(&key.send(world.gateway.address()).await), shown, "{text}");
        assert!(shown.len() <= 80);
        assert_eq!(shown == text, !text.contains(' '), "{text} is shown as {shown}");
        let mut stored = vec![shown.clone()];
        if broker == Broker::RabbitMq {
            // The same text is the same event over AMQP. Each of the three is stored.
            let properties = lapin::BasicProperties::default().with_message_id(text.into());
            world.backend.amqp().publish_foreign(&world.topic, properties, b"1").await;
            stored = vec![shown; 3];
        }
        let read: Vec<String> = world.read_all().await.into_iter().map(|event| event.id).collect();
        assert_eq!(read, stored);
    }
    let differ = Request::publish(&world.topic, JSON, "1").header("Event-Id", "a").header("Idempotency-Key", "b");
    let detail = differ.send(world.gateway.address()).await.problem(400);
    assert!(detail.starts_with("Event-Id and Idempotency-Key: "), "{detail}");
}
