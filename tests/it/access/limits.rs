//! With a token, the limits of one client are those of its subject, wherever its requests come from.

use std::time::Duration;

use postern_tests::{Broker, HttpConnection, Poll, Request, eventually, unique};
use serde_json::json;

use super::World;

const SOON: Duration = Duration::from_secs(20);

async fn world(flags: &[(&str, &str)]) -> World {
    World::with(Broker::Embedded, |builder| {
        flags.iter().fold(builder, |builder, (flag, value)| builder.flag(flag, *value))
    })
    .await
}

fn publish(topic: &str) -> Request {
    Request::publish(topic, "text/plain", "x")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_publishes_at_its_pace_and_a_token_may_have_another() {
    let world = world(&[("--publish-rate", "1"), ("--publish-burst", "2")]).await;
    let topic = unique("paced");
    let bearer = |subject: &str, rate: Option<u32>| {
        let mut claim = json!({"publish": ["#"]});
        if let Some(rate) = rate {
            claim["rate"] = rate.into();
        }
        world.bearer(&json!({"sub": subject, "postern": claim}))
    };
    let send = async |bearer: &str| publish(&topic).header("authorization", bearer).send(world.gateway.address()).await;
    let (alice, another) = (bearer("alice", None), bearer("alice", None) + " ");
    eventually(SOON, "a publish too many", async || {
        let answer = send(&alice).await;
        if answer.status == 429 { Ok(()) } else { Err(answer) }
    })
    .await;
    assert_eq!(send(&another).await.status, 429, "another token of the same subject");
    send(&bearer("bob", None)).await.expect_status(202);
    // As many seconds of it as of the common one.
    let fast = bearer("backend", Some(1000));
    for _ in 0..500 {
        send(&fast).await.expect_status(202);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_holds_polls_up_to_its_maximum() {
    let world = world(&[("--max-polls-per-token", "1")]).await;
    let address = world.gateway.address();
    let bearer = |subject: &str| world.bearer(&json!({"sub": subject, "postern": {"read": ["#"]}}));
    let feed = |subject: &str, wait: u32| {
        Request::get(&format!("/topics/a/events?wait={wait}")).header("authorization", &bearer(subject))
    };
    let mut held = HttpConnection::open(address).await;
    let poll = Poll::of("alice").topics("a").wait(55).request().header("authorization", &bearer("alice"));
    held.send(&poll.bytes()).await;
    eventually(SOON, "a poll that is held", async || {
        let look = Request::get("/clients/alice").header("authorization", &bearer("alice"));
        let answer = look.send(address).await;
        if answer.status == 200 && answer.json()["connected"] == true { Ok(()) } else { Err(answer) }
    })
    .await;
    let refused = feed("alice", 0).send(address).await;
    assert!(refused.problem(429).contains("--max-polls-per-token"), "{refused:?}");
    feed("bob", 0).send(address).await.expect_status(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_asks_for_what_it_may_not_have_is_slowed_down_and_an_unknown_one_by_its_address() {
    let world = world(&[("--failure-rate", "2"), ("--trusted-proxy", "127.0.0.0/8")]).await;
    let address = world.gateway.address();
    let bearer = |subject: &str| world.bearer(&json!({"sub": subject, "postern": {"read": ["#"]}}));
    let poll = |client: &str| Poll::of(client).topics("a").wait(0).request();
    let (alice, bob) = (bearer("alice"), bearer("bob"));
    for _ in 0..2 {
        poll("bob").header("authorization", &alice).send(address).await.problem(403);
    }
    // Also in its own mailbox.
    poll("alice").header("authorization", &alice).send(address).await.problem(429);
    poll("bob").header("authorization", &bob).send(address).await.expect_status(204);
    for (client, status) in [("203.0.113.1", 429), ("203.0.113.2", 401)] {
        let forwarded = || poll("bob").header("x-forwarded-for", client).header("authorization", "Bearer nonsense");
        if status == 429 {
            for _ in 0..2 {
                forwarded().send(address).await.problem(401);
            }
        }
        forwarded().send(address).await.problem(status);
    }
}
