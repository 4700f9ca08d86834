//! A client that goes, at any moment: nothing is lost, and where the gateway can know it, everything is back in the
//! queue at once. The linger is a minute here, so whatever comes back sooner did not wait for it.
//!
//! Another gateway to come back on needs RabbitMQ: an embedded broker has one.

use std::time::Duration;

use postern_tests::{Broker, HttpConnection, Request, World, on_both_brokers};

async fn world(broker: Broker) -> World {
    // The largest payload here is 12 MiB.
    World::with(broker, |builder| builder.flag("--linger", "60s").flag("--max-body", (16 << 20).to_string())).await
}

/// The client comes back and gets these, flagged.
async fn gets(world: &World, numbers: &[u64]) {
    let batch = world.poll().send(&world.gateway).await.batch();
    assert_eq!(batch.numbers("n"), numbers);
    assert!(batch.events.iter().all(|event| event.redelivered));
}

on_both_brokers!(while_it_waits);
async fn while_it_waits(broker: Broker) {
    // Soon, and after the gateway has parked the poll.
    let times = [Duration::from_millis(200), Duration::from_millis(1500)];
    for (held_for, with_reset) in times.into_iter().flat_map(|time| [(time, false), (time, true)]) {
        let world = world(broker).await;
        let mut held = world.poll().hold(&world.gateway).await;
        assert!(held.is_silent(held_for).await);
        if with_reset {
            held.reset();
        } else {
            held.close().await;
        }
        world.is_back(0).await;
        world.backend.publish(&world.topic, r#"{"n":0}"#).await;
        world.is_back(1).await;
        assert_eq!(world.poll().send(&world.gateway).await.batch().numbers("n"), [0]);
    }
}

on_both_brokers!(while_unseen_events_lie_in_the_window);
async fn while_unseen_events_lie_in_the_window(broker: Broker) {
    let world = world(broker).await;
    world.backend.publish_numbered(&world.topic, 0..3).await;
    world.is_handed_over().await;
    // Held back, because the same batch was asked for twice before.
    for _ in 0..2 {
        assert_eq!(world.poll().send(&world.gateway).await.batch().numbers("n"), [0, 1, 2]);
    }
    world.poll().hold(&world.gateway).await.close().await;
    world.is_back(3).await;
    gets(&world, &[0, 1, 2]).await;
}

on_both_brokers!(before_its_answer_is_written);
async fn before_its_answer_is_written(broker: Broker) {
    let world = world(broker).await;
    // Larger than all socket buffers between the two, and the client does not read.
    let large = format!(r#"{{"n":0,"pad":"{}"}}"#, "x".repeat(12 * 1024 * 1024));
    let mut held = world.poll().hold(&world.gateway).await;
    assert!(held.is_silent(Duration::from_millis(200)).await);
    world.backend.publish(&world.topic, &large).await;
    assert_eq!(held.head().await.status, 200);
    held.reset();
    world.is_back(1).await;
    gets(&world, &[0]).await;
}

on_both_brokers!(between_headers_and_body);
async fn between_headers_and_body(broker: Broker) {
    let world = world(broker).await;
    let mut held = world.poll().hold(&world.gateway).await;
    assert!(held.is_silent(Duration::from_millis(200)).await);
    world.backend.publish(&world.topic, r#"{"n":0}"#).await;
    // The kernel of a client that dies with bytes unread sends a reset: here they are not even taken from the socket.
    let (stream, _) = held.into_parts();
    stream.readable().await.unwrap();
    drop(stream);
    world.is_back(1).await;
    gets(&world, &[0]).await;
}

on_both_brokers!(with_a_reset_after_the_body);
async fn with_a_reset_after_the_body(broker: Broker) {
    let world = world(broker).await;
    let mut connection = HttpConnection::open(world.gateway.address()).await;
    world.backend.publish(&world.topic, r#"{"n":0}"#).await;
    assert_eq!(world.poll().send_on(&mut connection).await.batch().numbers("n"), [0]);
    connection.reset();
    world.is_back(1).await;
    gets(&world, &[0]).await;
}

on_both_brokers!(with_a_reset_after_an_answer_that_closes);
async fn with_a_reset_after_an_answer_that_closes(broker: Broker) {
    let world = world(broker).await;
    world.backend.publish(&world.topic, r#"{"n":0}"#).await;
    let mut held = world.poll().header("Connection", "close").hold(&world.gateway).await;
    assert_eq!(held.answer().await.batch().numbers("n"), [0]);
    held.reset();
    world.is_back(1).await;
    gets(&world, &[0]).await;
}

on_both_brokers!(in_order_after_the_body_as_curl_does);
async fn in_order_after_the_body_as_curl_does(broker: Broker) {
    let world = world(broker).await;
    world.backend.publish(&world.topic, r#"{"n":0}"#).await;
    let answer = world.poll().send(&world.gateway).await.batch();
    // That was the orderly end of a connection: the session lingers, and the client finds it warm.
    assert_eq!(world.backend.consumer_count(&world.client).await, Some(1));
    gets(&world, &[0]).await;
    let confirmed = world.poll().last_seen(&answer.last_seen).wait(0).send(&world.gateway).await;
    assert_eq!(confirmed.status, 204);
}

on_both_brokers!(on_an_old_connection_while_it_polls_on_a_new_one);
async fn on_an_old_connection_while_it_polls_on_a_new_one(broker: Broker) {
    let world = world(broker).await;
    let mut old = HttpConnection::open(world.gateway.address()).await;
    world.backend.publish(&world.topic, r#"{"n":0}"#).await;
    let batch = world.poll().send_on(&mut old).await.batch();
    let mut new = world.poll().last_seen(&batch.last_seen).hold(&world.gateway).await;
    assert!(new.is_silent(Duration::from_millis(200)).await);
    old.reset();
    assert!(new.is_silent(Duration::from_millis(500)).await);
    assert_eq!(world.backend.consumer_count(&world.client).await, Some(1));
    world.backend.publish(&world.topic, r#"{"n":1}"#).await;
    assert_eq!(new.answer().await.batch().numbers("n"), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn to_come_back_on_another_gateway() {
    let world = world(Broker::RabbitMq).await;
    let other = Broker::RabbitMq.gateway().await.start().await;
    world.backend.publish_numbered(&world.topic, 0..3).await;
    let mut connection = HttpConnection::open(world.gateway.address()).await;
    let poll = world.poll().query("limit", "1");
    let first = poll.send_on(&mut connection).await.batch();
    assert_eq!(first.numbers("n"), [0]);
    connection.reset();
    let rest = world.poll().last_seen(&first.last_seen).send(&other).await.batch();
    assert_eq!(rest.numbers("n"), [1, 2]);
}

/// An embedded broker does not store an event twice in a row.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_publisher_sent_again_what_was_confirmed_before() {
    let world = world(Broker::RabbitMq).await;
    let post = async |n: u64, id: &str| {
        let body = format!("{{\"n\":{n}}}");
        let request = Request::publish(&world.topic, "application/json", body).header("Event-Id", id);
        request.send(world.gateway.address()).await.expect_status(202);
    };
    let (retried, other) = ("01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058");
    post(0, retried).await;
    let first = world.poll().send(&world.gateway).await.batch();
    post(1, other).await;
    post(0, retried).await;
    let mut connection = HttpConnection::open(world.gateway.address()).await;
    eventually_both(&world, &first.last_seen, &mut connection).await;
    connection.reset();
    world.is_back(2).await;
    // The same token again: it was of the first try, and says nothing of what came between that and the second one.
    let again = world.poll().last_seen(&first.last_seen).send(&world.gateway).await.batch();
    assert_eq!(again.numbers("n"), [1, 0]);
}

/// Polls with the same token until both events are in one answer.
async fn eventually_both(world: &World, token: &str, connection: &mut HttpConnection) {
    for _ in 0..10 {
        if world.poll().last_seen(token).send_on(connection).await.batch().numbers("n") == [1, 0] {
            return;
        }
    }
    panic!("the second event does not come");
}

on_both_brokers!(at_random_moments_a_thousand_times);
async fn at_random_moments_a_thousand_times(broker: Broker) {
    let world = world(broker).await;
    let mut seen = Vec::new();
    let mut token = None::<String>;
    for n in 0..1000 {
        // Numbered, as by a client that hangs up on its own polls: they travel on different connections, and the
        // gateway may read an abandoned one after its successor.
        let poll = world.poll().query("poll", &format!("one.{n}"));
        let poll = token.iter().fold(poll, |poll, token| poll.last_seen(token));
        let mut held = poll.hold(&world.gateway).await;
        let payload = format!("{{\"n\":{n}}}");
        let publish = world.backend.publish(&world.topic, &payload);
        let leave = async {
            let patience = Duration::from_micros(rand_up_to(4000));
            let answer = tokio::time::timeout(patience, held.answer()).await;
            // Whether a whole answer came, and was not seen all the same, is the client's dice.
            answer.ok().filter(|_| rand_up_to(2) == 0)
        };
        let (_, answer) = tokio::join!(publish, leave);
        if rand_up_to(2) == 0 {
            held.reset();
        }
        if let Some(batch) = answer.map(|answer| answer.batch()) {
            let fresh = batch.numbers("n").into_iter().filter(|n| !seen.contains(n)).collect::<Vec<_>>();
            seen.extend(fresh);
            token = Some(batch.last_seen);
        }
    }
    while seen.len() < 1000 {
        let poll = world.poll().query("poll", &format!("one.{}", 1000 + seen.len()));
        let poll = token.iter().fold(poll, |poll, token| poll.last_seen(token));
        let batch = poll.send(&world.gateway).await.batch();
        let fresh = batch.numbers("n").into_iter().filter(|n| !seen.contains(n)).collect::<Vec<_>>();
        seen.extend(fresh);
        token = Some(batch.last_seen);
    }
    assert_eq!(seen, (0..1000).collect::<Vec<_>>());
}

/// A random number below `end`; a UUID is randomness enough for dice.
fn rand_up_to(end: u64) -> u64 {
    u64::try_from(uuid::Uuid::new_v4().as_u128() % u128::from(end)).unwrap()
}
