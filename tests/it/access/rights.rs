//! Rights that shrink, and grow again: what waits in a mailbox is shown by the token of the poll that comes for it.

use postern_tests::{Broker, EventStream, HttpConnection, PATIENCE, Poll, Request, eventually_eq, on_both_brokers};
use serde_json::{Value, json};

use super::{WithToken, World};

fn alice(read: &[&str]) -> Value {
    json!({"sub": "alice", "postern": {"read": read}})
}

/// Makes a world in which alice's mailbox has events of two topics, in turn: 0 to 5, the even ones of `a`.
async fn with_events_of_two_topics(broker: Broker) -> World {
    let world = World::new(broker).await;
    let poll = Poll::of("alice").topics("a.#,b.#").wait(0).token(&world.bearer(&alice(&["a.#", "b.#"])));
    poll.clone().send(&world.gateway).await.expect_status(204);
    for n in 0..6 {
        let topic = if n % 2 == 0 { "a.x" } else { "b.x" };
        world.publish(topic, &format!("{{\"n\":{n}}}")).await;
    }
    // Those of a mailbox that is opened come one after the other.
    eventually_eq(PATIENCE, "the mailbox", (0..6).collect(), async || {
        poll.send(&world.gateway).await.batch().numbers("n")
    })
    .await;
    world
}

on_both_brokers!(an_event_that_a_token_may_not_read_waits_for_one_that_may);
async fn an_event_that_a_token_may_not_read_waits_for_one_that_may(broker: Broker) {
    let world = with_events_of_two_topics(broker).await;
    let [narrow, wide] = [&["a.#"][..], &["#"]].map(|read| world.bearer(&alice(read)));
    let batch = Poll::of("alice").wait(5).token(&narrow).send(&world.gateway).await.batch();
    assert_eq!(batch.numbers("n"), [0, 2, 4]);
    // Nothing was confirmed.
    let batch = Poll::of("alice").wait(5).token(&wide).send(&world.gateway).await.batch();
    assert_eq!(batch.numbers("n"), [0, 1, 2, 3, 4, 5]);
    // What a narrow token confirms takes along what is withheld before it, and no more.
    let batch = Poll::of("alice").wait(5).token(&narrow).send(&world.gateway).await.batch();
    let confirming = Poll::of("alice").wait(0).last_seen(&batch.last_seen);
    confirming.token(&narrow).send(&world.gateway).await.expect_status(204);
    let batch = Poll::of("alice").wait(5).token(&wide).send(&world.gateway).await.batch();
    assert_eq!(batch.numbers("n"), [5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_patterns_of_a_feed_each_must_be_allowed() {
    let world = World::new(Broker::Embedded).await;
    let bearer = world.bearer(&alice(&["a.#", "b"]));
    let follow = async |topics: &str| {
        let request = Request::get(&format!("/topics/{topics}/events?wait=0")).token(&bearer);
        request.send(world.gateway.address()).await
    };
    follow("a.1,b").await.expect_status(204);
    for topics in ["a.1,c", "c,a.1", "b,b.%23"] {
        follow(topics).await.problem(403);
    }
}

on_both_brokers!(a_stream_withholds_what_a_poll_would);
async fn a_stream_withholds_what_a_poll_would(broker: Broker) {
    let world = with_events_of_two_topics(broker).await;
    let request = Request::get("/clients/alice/events").token(&world.bearer(&alice(&["b.#"])));
    let mut stream = EventStream::open_with(world.gateway.address(), request, "").await.unwrap();
    let numbers: Vec<u64> = stream.take(3).await.iter().map(|event| event.number("n")).collect();
    assert_eq!(numbers, [1, 3, 5]);
}

on_both_brokers!(a_token_without_read_shows_its_mailbox_and_binds_nothing);
async fn a_token_without_read_shows_its_mailbox_and_binds_nothing(broker: Broker) {
    let world = with_events_of_two_topics(broker).await;
    let bearer = world.bearer(&json!({"sub": "alice"}));
    let poll = Poll::of("alice").token(&bearer);
    assert_eq!(poll.clone().wait(5).send(&world.gateway).await.batch().numbers("n"), [0, 1, 2, 3, 4, 5]);
    let detail = poll.topics("a.x").send(&world.gateway).await.problem(403);
    assert!(detail.contains("a.x"), "{detail}");
}

/// A poll whose client has hung up before it is answered ends the Session of that mailbox; one of a stranger must not.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_hangs_up_ends_no_session() {
    let world = with_events_of_two_topics(Broker::Embedded).await;
    let [of_alice, of_bob] = ["alice", "bob"].map(|sub| world.bearer(&json!({"sub": sub, "postern": {"read": ["#"]}})));
    let poll = Poll::of("alice").wait(5).token(&of_alice);
    assert_eq!(poll.send(&world.gateway).await.batch().events.len(), 6);
    let poll = Poll::of("bob").topics("a.#").wait(0).token(&of_bob);
    poll.send(&world.gateway).await.expect_status(204);
    // A frozen gateway that has the beginning of a request reads the rest of it with the end of its client right behind.
    let hangs_up = async |poll: Poll| {
        let request = poll.request().bytes();
        let (begun, rest) = request.split_at(40);
        let mut connection = HttpConnection::open(world.gateway.address()).await;
        connection.send(begun).await;
        // By now that was read: the answer is of a connection that came later.
        Request::get("/live").send(world.gateway.address()).await.expect_status(200);
        world.gateway.process().freeze();
        connection.send(rest).await;
        connection.finish_sending().await;
        world.gateway.process().thaw();
        // It is refused, or not answered at all: that is up to which of the two is looked at first.
        let _ = connection.answer_unless_left().await;
    };
    for stranger in [Poll::of("alice"), Poll::of("alice").token("Bearer x"), Poll::of("alice").token(&of_bob)] {
        hangs_up(stranger).await;
    }
    // The client itself is taken at its word, and what it says comes after what the strangers said.
    hangs_up(Poll::of("bob").token(&of_bob)).await;
    let ended = world.gateway.wait_logged("session over", PATIENCE).await;
    assert_eq!(ended["client"], "bob", "{ended}");
    let status = Request::get("/clients/alice").token(&of_alice).send(world.gateway.address()).await.json();
    assert_eq!((&status["connected"], &status["unconfirmed"]), (&json!(true), &json!(6)), "{status}");
}

/// A mailbox that is not theirs tells nothing to other users, not even whether it is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_mailbox_is_the_same_whether_it_is_there_or_not() {
    let world = with_events_of_two_topics(Broker::Embedded).await;
    let bob = world.bearer(&json!({"sub": "bob", "postern": {"read": ["#"]}}));
    for request in ["GET", "DELETE"].map(|method| move |path: &str| Request::new(method, path)) {
        let answer = async |path: &str| request(path).token(&bob).send(world.gateway.address()).await.problem(403);
        let (there, nowhere) = (answer("/clients/alice").await, answer("/clients/carol").await);
        assert_eq!(there, nowhere.replace("carol", "alice"));
    }
    let poll = Poll::of("alice").wait(5).token(&world.bearer(&alice(&["#"])));
    assert_eq!(poll.send(&world.gateway).await.batch().events.len(), 6, "it is still there");
    // Each device of a user has a mailbox of its own.
    let phone = Poll::of("bob~phone").topics("a.x").wait(0).token(&bob);
    phone.send(&world.gateway).await.expect_status(204);
}
