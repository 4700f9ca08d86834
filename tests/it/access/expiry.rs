//! Rights that end while a poll is held, or a stream is open.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use postern_tests::{Answer, Broker, EventStream, HttpConnection, Poll, Request, eventually, on_both_brokers};
use serde_json::json;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::{WithToken, World, bearer_for};

on_both_brokers!(a_held_poll_is_answered_when_its_token_ends);
async fn a_held_poll_is_answered_when_its_token_ends(broker: Broker) {
    let world = World::new(broker).await;
    let alice = json!({"sub": "alice", "postern": {"read": ["jobs.#"]}});
    let began = Instant::now();
    let poll = Poll::of("alice").topics("jobs.1").wait(50).token(&world.bearer_for(&alice, 2));
    poll.send(&world.gateway).await.expect_status(204);
    assert!(began.elapsed() < Duration::from_secs(40), "it was not held for its wait");
    poll.send(&world.gateway).await.problem(401);
    let feed = Request::get("/topics/jobs.1/events?wait=50&last_seen=now").token(&world.bearer_for(&alice, 2));
    feed.send(world.gateway.address()).await.expect_status(204);
    let detail = feed.send(world.gateway.address()).await.problem(401);
    assert_eq!(detail, "token: it is expired");
}

on_both_brokers!(a_stream_ends_with_its_token_and_says_so);
async fn a_stream_ends_with_its_token_and_says_so(broker: Broker) {
    let world = World::new(broker).await;
    let alice = json!({"sub": "alice", "postern": {"read": ["jobs.#"]}});
    let bind = Request::new("PUT", "/clients/alice/topics/jobs.1").token(&world.bearer(&alice));
    bind.send(world.gateway.address()).await.expect_status(204);
    for path in ["/clients/alice/events", "/topics/jobs.1/events"] {
        world.publish("jobs.1", "{\"n\":0}").await;
        let request = Request::get(path).token(&world.bearer_for(&alice, 8));
        let mut stream = EventStream::open_with(world.gateway.address(), request.clone(), "").await.unwrap();
        // A feed may show an older one first, which was the newest that it had.
        while stream.next().await.unwrap().number("n") != 0 {}
        world.publish("jobs.1", "{\"n\":1}").await;
        assert_eq!(stream.next().await.unwrap().number("n"), 1, "{path}");
        let last = stream.next().await.unwrap();
        assert_eq!((last.kind.as_str(), last.data), ("expired", json!({"expired": true})), "{path}");
        stream.end().await;
        assert_eq!(stream.retry, Some(Duration::from_secs(1)), "{path}");
        // Without a new token it stops for good.
        let refused = request.header("accept", "text/event-stream").send(world.gateway.address()).await;
        refused.problem(401);
    }
}

// Its tokens live for two seconds, so that several end while it polls; in the middle the gateway is killed.
on_both_brokers!(a_client_whose_tokens_end_again_and_again_loses_nothing);
async fn a_client_whose_tokens_end_again_and_again_loses_nothing(broker: Broker) {
    const EVENTS: u64 = 100;
    let mut world = World::new(broker).await;
    let alice = json!({"sub": "alice", "postern": {"read": ["jobs.#"]}});
    let first = Poll::of("alice").topics("jobs.#").wait(0).token(&world.bearer_for(&alice, 60));
    first.send(&world.gateway).await.expect_status(204);
    let (address, backend) = (world.gateway.address(), world.bearer(&super::everything()));
    let World { issuer, gateway, .. } = &mut world;
    let half = Notify::new();
    let publishing = async {
        for n in 0..EVENTS {
            // Slow enough for several tokens to end meanwhile.
            sleep(Duration::from_millis(100)).await;
            if n == EVENTS / 2 {
                half.notify_one();
            }
            publish_until_confirmed(address, &backend, n).await;
        }
    };
    let killing = async {
        half.notified().await;
        gateway.kill9();
        gateway.start_again().await;
    };
    let polling = async {
        let (mut seen, mut refused) = (BTreeSet::new(), 0);
        let (mut last_seen, mut token) = (String::new(), "Bearer none".to_owned());
        while (seen.len() as u64) < EVENTS {
            let poll = Poll::of("alice").wait(25).last_seen(&last_seen).token(&token);
            match answer(address, &poll.request()).await {
                Some(answer) if answer.status == 200 => {
                    let batch = answer.batch();
                    seen.extend(batch.numbers("n"));
                    last_seen = batch.last_seen;
                }
                Some(answer) if answer.status == 401 => {
                    refused += 1;
                    token = bearer_for(issuer, &alice, 2);
                }
                Some(answer) => assert!(matches!(answer.status, 204 | 503), "{answer:?}"),
                None => sleep(Duration::from_millis(100)).await,
            }
        }
        (seen, refused)
    };
    let ((), (), (seen, refused)) = tokio::join!(publishing, killing, polling);
    assert_eq!(seen, (0..EVENTS).collect());
    assert!(refused >= 3, "its tokens have ended {refused} times");
}

/// A publisher repeats until it has its confirm.
async fn publish_until_confirmed(address: SocketAddr, bearer: &str, n: u64) {
    let event = Request::publish("jobs.1", "application/json", format!("{{\"n\":{n}}}")).token(bearer);
    let event = event.header("event-id", &format!("event-{n}"));
    eventually(Duration::from_mins(1), "a confirm", async || match answer(address, &event).await {
        Some(answer) if answer.status == 202 => Ok(()),
        other => Err(other),
    })
    .await;
}

/// Asks a gateway that may be gone.
async fn answer(address: SocketAddr, request: &Request) -> Option<Answer> {
    let mut connection = HttpConnection::try_open(address).await.ok()?;
    connection.send_unless_left(&request.bytes()).await.ok()?;
    connection.answer_unless_left().await.ok()
}
