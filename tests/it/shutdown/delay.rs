//! Between "not ready" and the end: the time in which a load balancer leaves the gateway, and no client notices.
//!
//! Every answer here is made before it is known what is behind, so one broker is enough: the embedded one.

use std::time::Duration;

use postern_tests::{Broker, Gateway, HttpConnection, Left, Poll, Request, World, free_port, unique};

use super::GRACE;

/// Waits until `/ready` says that the gateway leaves.
async fn is_leaving(gateway: &Gateway) {
    gateway.wait_answer("/ready", 503, GRACE).await;
    let refusal = Request::get("/ready").send(gateway.address()).await;
    assert_eq!(refusal.header("retry-after"), Some("1"));
    assert!(refusal.problem(503).contains("shutting down"));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_served_in_it_and_another_signal_ends_it() {
    let admin = free_port();
    let flags = |builder: postern_tests::GatewayBuilder| {
        builder.flag("--shutdown-delay", "1h").flag("--admin-listen", format!("127.0.0.1:{admin}"))
    };
    let mut world = World::with(Broker::Embedded, flags).await;
    let before = world.poll().hold(&world.gateway).await;
    let mut kept = HttpConnection::open(world.gateway.address()).await;
    kept.request(&Request::get("/live")).await.expect_status(200);
    let waits = Poll::of(&unique("bob")).topics("nothing.comes").wait(50);
    let mut waiting = waits.hold(&world.gateway).await;
    assert!(waiting.is_silent(Duration::from_millis(100)).await);
    world.gateway.terminate();
    is_leaving(&world.gateway).await;
    for port in [admin, world.gateway.address().port()] {
        Request::get("/live").send(([127, 0, 0, 1], port).into()).await.expect_status(200);
        Request::get("/ready").send(([127, 0, 0, 1], port).into()).await.problem(503);
    }

    // On a new connection, and on those from before, which end with their answers: the next goes to another gateway.
    let (client, topic) = (unique("carol"), unique("late"));
    let mut late = Poll::of(&client).topics(&topic).wait(50).hold(&world.gateway).await;
    assert!(late.is_silent(Duration::from_millis(100)).await, "a poll is held");
    for (topic, mut held) in [(&world.topic, before), (&topic, late)] {
        let published = if *topic == world.topic {
            kept.request(&Request::publish(topic, "text/plain", "one")).await
        } else {
            Request::publish(topic, "text/plain", "one").send(world.gateway.address()).await
        };
        assert_eq!(published.clone().expect_status(202).header("connection"), Some("close"));
        let answer = held.answer().await;
        assert_eq!((answer.header("connection"), answer.batch().events.len()), (Some("close"), 1));
        assert_eq!(held.left().await, Left::Closed);
    }
    assert_eq!(kept.left().await, Left::Closed);
    assert!(waiting.is_silent(Duration::from_millis(100)).await);

    world.gateway.terminate();
    let answer = waiting.answer().await.expect_status(204);
    assert_eq!(answer.header("connection"), Some("close"));
    waiting.close().await;
    assert_eq!(world.gateway.wait_exit(GRACE).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_by_itself() {
    let mut world = World::with(Broker::Embedded, |builder| builder.flag("--shutdown-delay", "1s")).await;
    let mut held = world.poll().wait(50).hold(&world.gateway).await;
    assert!(held.is_silent(Duration::from_millis(100)).await);
    world.gateway.terminate();
    is_leaving(&world.gateway).await;
    held.answer().await.expect_status(204);
    held.close().await;
    assert_eq!(world.gateway.wait_exit(GRACE).await.code(), Some(0));
}

/// The first request of a client that connects in the moment of the signal is on its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_made_before_it_gets_an_answer() {
    let mut world = World::new(Broker::Embedded).await;
    let mut connected = HttpConnection::open(world.gateway.address()).await;
    // The gateway has accepted it before it answers this one.
    Request::get("/live").send(world.gateway.address()).await.expect_status(200);
    world.gateway.terminate();
    world.gateway.wait_logged("shutting down", GRACE).await;
    let publish = Request::publish(&world.topic, "text/plain", "one");
    let published = connected.request(&publish).await.expect_status(202);
    assert_eq!(published.header("connection"), Some("close"));
    connected.close().await;
    assert_eq!(world.gateway.wait_exit(GRACE).await.code(), Some(0));
    world.gateway.start_again().await;
    assert_eq!(world.mailbox().await, (Some(1), Some(0)));
}
