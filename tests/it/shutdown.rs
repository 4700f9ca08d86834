//! The orderly end of a gateway: every client gets an answer, and finds the mailbox free elsewhere.
//!
//! Where the broker is RabbitMQ, the mailbox is looked at as soon as the answer is there, and "elsewhere" is another
//! gateway. An embedded broker can be looked at only after its next start.

mod delay;

use std::time::Duration;

use postern_tests::{
    Broker, HttpConnection, Left, Poll, Request, World, eventually, eventually_eq, on_both_brokers, unique,
};
use tokio::io::AsyncReadExt;

/// The default grace period and some time for a busy machine.
const GRACE: Duration = Duration::from_secs(15);

/// Begins to publish and returns the connection with half of the body sent; the gateway reads it.
async fn half_a_post(world: &World) -> HttpConnection {
    let mut post = HttpConnection::open(world.gateway.address()).await;
    let head = format!("POST /topics/{}/events HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n", world.topic);
    post.send(format!("{head}content-length: 7\r\n\r\n").as_bytes()).await;
    assert_eq!(post.head().await.status, 100);
    post.send(b"{\"n\"").await;
    post
}

on_both_brokers!(a_held_poll_is_answered_once_its_events_are_back_in_the_queue);
async fn a_held_poll_is_answered_once_its_events_are_back_in_the_queue(broker: Broker) {
    let mut world = World::new(broker).await;
    world.backend.publish_numbered(&world.topic, 0..3).await;
    let all = async || world.poll().wait(50).send(&world.gateway).await.batch().events.len();
    let all_three = eventually(GRACE, "all three at once", async || all().await.eq(&3).then_some(()).ok_or(()));
    all_three.await;
    // What is asked for again is answered at once the first time and held back for a second from then on: a poll that
    // is held although its window is not empty.
    assert_eq!(all().await, 3);
    let mut held = world.poll().wait(50).hold(&world.gateway).await;
    assert!(held.is_silent(Duration::from_millis(100)).await);
    world.gateway.terminate();
    let answer = held.answer().await.expect_status(204);
    if broker == Broker::RabbitMq {
        assert_eq!(world.mailbox().await, (Some(3), Some(0)));
    }
    assert_eq!((answer.header("connection"), answer.header("last-seen")), (Some("close"), None));
    assert_eq!(held.left().await, Left::Closed);
    held.close().await;
    assert_eq!(world.gateway.wait_exit(GRACE).await.code(), Some(0));
    world.gateway.start_again().await;
    assert_eq!(world.mailbox().await, (Some(3), Some(0)));
}

on_both_brokers!(a_post_is_finished_while_idle_connections_end_and_new_polls_are_refused);
async fn a_post_is_finished_while_idle_connections_end_and_new_polls_are_refused(broker: Broker) {
    let mut world = World::new(broker).await;
    let mut idle = HttpConnection::open(world.gateway.address()).await;
    idle.request(&Request::get("/live")).await.expect_status(200);
    let mut post = half_a_post(&world).await;
    world.gateway.terminate();
    assert_eq!(idle.left().await, Left::Closed);
    world.gateway.wait_logged("shutting down", GRACE).await;
    let refusal = world.poll().send(&world.gateway).await;
    assert_eq!((refusal.header("connection"), refusal.header("retry-after")), (Some("close"), Some("1")));
    assert!(refusal.problem(503).contains("shutting down"));
    // A load balancer that checks this does not cut what is still to be answered.
    Request::get("/live").send(world.gateway.address()).await.expect_status(200);
    Request::get("/ready").send(world.gateway.address()).await.problem(503);
    // An EventSource gives up on an error.
    let stream = Request::get(&format!("/topics/{}/events", world.topic)).header("accept", "text/event-stream");
    let stream = stream.send(world.gateway.address()).await.expect_status(200);
    assert!(stream.text().starts_with("retry: "), "{stream:?}");
    post.send(b":1}").await;
    let accepted = post.answer().await.expect_status(202);
    assert_eq!(accepted.header("connection"), Some("close"));
    if broker == Broker::RabbitMq {
        assert_eq!(world.mailbox().await, (Some(1), Some(0)));
    }
    post.close().await;
    assert_eq!(world.gateway.wait_exit(GRACE).await.code(), Some(0));
    world.gateway.start_again().await;
    assert_eq!(world.mailbox().await, (Some(1), Some(0)));
}

on_both_brokers!(who_asked_nothing_yet_holds_nothing_up);
async fn who_asked_nothing_yet_holds_nothing_up(broker: Broker) {
    let mut world = World::with(broker, |builder| builder.flag("--shutdown-grace", "1m")).await;
    // The spare connection of a browser, the first byte of a request or of a preface, half a head.
    let mut connections = Vec::new();
    for begun in ["", "G", "P", "GET /live HTTP/1.1\r\nhost: localhost\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut connection = HttpConnection::open(world.gateway.address()).await;
        connection.send(begun.as_bytes()).await;
        connections.push(connection);
    }
    // They were accepted and read from before this one is answered.
    Request::get("/live").send(world.gateway.address()).await.expect_status(200);
    world.gateway.terminate();
    assert_eq!(world.gateway.wait_exit(Duration::from_secs(30)).await.code(), Some(0), "well within the grace period");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_asked_before_and_ask_nothing_now_hold_nothing_up() {
    let mut world = World::with(Broker::Embedded, |builder| builder.flag("--shutdown-grace", "1m")).await;
    let live = Request::get("/live");
    // Half of the next head.
    let mut begun = HttpConnection::open(world.gateway.address()).await;
    begun.request(&live).await.expect_status(200);
    begun.send(b"GET /live HTTP/1.1\r\nhost: localhost\r\n").await;
    // A client of HTTP/2 that asked once and answers no ping: its settings and GET /live, by indexes of HPACK's static
    // table.
    let mut silent = HttpConnection::open(world.gateway.address()).await;
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let head = [&[0, 0, 9, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x04, 5][..], b"/live"].concat();
    silent.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..], &head].concat()).await;
    let (mut silent, mut came) = silent.into_parts();
    while !came.windows(5).any(|window| window == b"live\n") {
        assert!(silent.read_buf(&mut came).await.unwrap() > 0, "the gateway has left");
    }
    live.send(world.gateway.address()).await.expect_status(200);
    world.gateway.terminate();
    assert_eq!(world.gateway.wait_exit(Duration::from_secs(10)).await.code(), Some(0), "well within the grace period");
}

on_both_brokers!(a_client_that_is_stuck_is_closed_after_the_grace_period);
async fn a_client_that_is_stuck_is_closed_after_the_grace_period(broker: Broker) {
    let mut world = World::with(broker, |builder| builder.flag("--shutdown-grace", "1s")).await;
    let mut stuck = half_a_post(&world).await;
    world.gateway.terminate();
    assert_eq!(world.gateway.wait_exit(Duration::from_secs(5)).await.code(), Some(0));
    stuck.left().await;
}

on_both_brokers!(a_terminal_that_closes_has_it_drain);
async fn a_terminal_that_closes_has_it_drain(broker: Broker) {
    let mut world = World::new(broker).await;
    let mut post = half_a_post(&world).await;
    for _ in 0..3 {
        world.gateway.hang_up();
    }
    world.gateway.wait_logged("shutting down", GRACE).await;
    post.send(b":1}").await;
    post.answer().await.expect_status(202);
    post.close().await;
    assert_eq!(world.gateway.wait_exit(GRACE).await.code(), Some(0));
}

on_both_brokers!(a_second_signal_ends_it_at_once);
async fn a_second_signal_ends_it_at_once(broker: Broker) {
    let mut world = World::with(broker, |builder| builder.flag("--shutdown-grace", "5m")).await;
    let _stuck = half_a_post(&world).await;
    world.gateway.terminate();
    world.gateway.wait_logged("shutting down", GRACE).await;
    world.gateway.terminate();
    world.gateway.wait_exit(Duration::from_secs(5)).await;
}

on_both_brokers!(three_hundred_held_polls_are_all_answered);
async fn three_hundred_held_polls_are_all_answered(broker: Broker) {
    let mut world = World::new(broker).await;
    let clients: Vec<_> = (0..300).map(|_| unique("one-of-many")).collect();
    let mut polls = Vec::new();
    for client in &clients {
        polls.push(Poll::of(client).topics(&world.topic).wait(50).hold(&world.gateway).await);
    }
    // A poll whose mailbox is still being opened is told to come again.
    for client in &clients {
        eventually_eq(GRACE, "readers", Some(1), async || world.backend.consumer_count(client).await).await;
    }
    world.gateway.terminate();
    for (mut poll, client) in polls.into_iter().zip(&clients) {
        let answer = poll.answer().await.expect_status(204);
        assert_eq!(answer.header("connection"), Some("close"));
        if broker == Broker::RabbitMq {
            assert_eq!(world.backend.consumer_count(client).await.unwrap_or_default(), 0);
        }
        poll.close().await;
    }
    assert_eq!(world.gateway.wait_exit(GRACE).await.code(), Some(0));
    if broker == Broker::Embedded {
        world.gateway.start_again().await;
        for client in &clients {
            assert_eq!(world.backend.consumer_count(client).await, Some(0));
        }
    }
}

on_both_brokers!(a_rolling_restart_loses_nothing_and_keeps_the_order);
async fn a_rolling_restart_loses_nothing_and_keeps_the_order(broker: Broker) {
    const A_ROUND: u64 = 20;
    let World { gateway, backend, client, topic } = World::new(broker).await;
    let mut gateways = vec![gateway];
    if broker == Broker::RabbitMq {
        gateways.push(broker.gateway().await.start().await);
    }
    let (mut seen, mut token) = (Vec::new(), None::<String>);
    let mut rounds = 0..6;
    while let Some(round) = rounds.next().or_else(|| (seen.len() < 120).then_some(6)) {
        gateways[0].wait_ready().await;
        let poll = Poll::of(&client).topics(&topic).query("limit", "7").wait(20);
        let poll = token.iter().fold(poll, |poll, token| poll.last_seen(token));
        let mut held = poll.hold(&gateways[0]).await;
        if round < 6 {
            // Events come, and the gateway goes, while the poll is held; whichever is first.
            let held = held.is_silent(Duration::from_millis(50));
            let publish = backend.publish_numbered(&topic, round * A_ROUND..(round + 1) * A_ROUND);
            tokio::join!(held, publish);
            backend.hang_up().await;
            gateways[0].terminate();
        }
        let answer = held.answer().await;
        held.close().await;
        // 503: the mailbox was still being opened when the gateway went.
        if !matches!(answer.status, 204 | 503) {
            let batch = answer.batch();
            for event in &batch.events {
                let n = event.number("n");
                if seen.contains(&n) {
                    assert!(event.redelivered, "{n} came again: {event:?}");
                } else {
                    assert_eq!(n, seen.len() as u64, "out of order after {seen:?}");
                    seen.push(n);
                }
            }
            token = Some(batch.last_seen);
        }
        if round < 6 {
            assert_eq!(gateways[0].wait_exit(GRACE).await.code(), Some(0));
            gateways[0].start_again().await;
            gateways.reverse();
        }
    }
    assert_eq!(seen, (0..6 * A_ROUND).collect::<Vec<_>>());
}
