//! A poll that is held for more than a second is kept without hyper's buffers: no client can tell.

use std::time::Duration;

use postern_tests::{Broker, HttpConnection, Request, World, on_both_brokers};

/// Longer than a poll is held as it came.
const PARKED: Duration = Duration::from_millis(1500);

async fn world(broker: Broker) -> World {
    World::with(broker, |builder| builder.flag("--linger", "60s")).await
}

on_both_brokers!(is_answered_again_and_again_on_its_connection);
async fn is_answered_again_and_again_on_its_connection(broker: Broker) {
    let world = world(broker).await;
    let mut connection = world.poll().header("Connection", "keep-alive").hold(&world.gateway).await;
    for n in 0..2 {
        assert!(connection.is_silent(PARKED).await);
        world.backend.publish(&world.topic, &format!(r#"{{"n":{n}}}"#)).await;
        let answer = connection.answer().await;
        assert!(answer.header("content-length").is_some() && answer.header("connection").is_none());
        let batch = answer.batch();
        assert_eq!(batch.numbers("n"), [n]);
        connection.send(&world.poll().last_seen(&batch.last_seen).request().bytes()).await;
    }
    assert!(connection.is_silent(PARKED).await);
    connection.close().await;
    world.is_back(0).await;
}

on_both_brokers!(is_followed_by_what_came_meanwhile);
async fn is_followed_by_what_came_meanwhile(broker: Broker) {
    let world = world(broker).await;
    let mut connection = HttpConnection::open(world.gateway.address()).await;
    // Before it is parked, and after.
    for pause in [Duration::ZERO, PARKED] {
        connection.send(&world.poll().wait(4).request().bytes()).await;
        assert!(connection.is_silent(pause).await);
        connection.send(&Request::get("/live").bytes()).await;
        assert!(connection.is_silent(PARKED).await, "answers come in the order of the requests");
        connection.answer().await.expect_status(204);
        connection.answer().await.expect_status(200);
    }
}

on_both_brokers!(ends_its_connection_as_it_was_asked);
async fn ends_its_connection_as_it_was_asked(broker: Broker) {
    let world = world(broker).await;
    let mut closing = world.poll().wait(3).header("Connection", "close").hold(&world.gateway).await;
    assert!(closing.is_silent(PARKED).await);
    let answer = closing.answer().await;
    assert_eq!(answer.header("connection"), Some("close"));
    answer.expect_status(204);
    closing.left().await;
}

on_both_brokers!(is_answered_by_a_gateway_that_ends);
async fn is_answered_by_a_gateway_that_ends(broker: Broker) {
    let world = world(broker).await;
    let mut held = world.poll().hold(&world.gateway).await;
    assert!(held.is_silent(PARKED).await);
    world.gateway.terminate();
    let answer = held.answer().await;
    assert_eq!(answer.header("connection"), Some("close"));
    answer.expect_status(204);
    held.left().await;
}
