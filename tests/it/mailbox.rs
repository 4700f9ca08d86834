//! A mailbox as a well-behaved client sees it.
//!
//! What an operator sees with RabbitMQ's own tools is there only on RabbitMQ.

use std::time::Duration;

use postern_tests::{
    Broker, Gateway, HttpConnection, PATIENCE, Poll, Request, World, eventually, eventually_eq, on_both_brokers,
    shared_node, unique,
};
use tokio::time::sleep;

on_both_brokers!(a_poll_is_held_until_an_event_comes_and_its_confirm_blocks_the_next_one);
async fn a_poll_is_held_until_an_event_comes_and_its_confirm_blocks_the_next_one(broker: Broker) {
    let world = World::without_mailbox(broker, |builder| builder).await;
    let mut held = world.poll().wait(30).hold(&world.gateway).await;
    assert!(held.is_silent(Duration::from_millis(500)).await);
    let id = world.backend.publish(&world.topic, r#"{"state":"running"}"#).await;
    let batch = held.answer().await.batch();
    assert_eq!(batch.ids(), [id.as_str()]);
    let event = &batch.events[0];
    assert_eq!((event.topic.as_str(), event.redelivered, batch.reset), (world.topic.as_str(), false, false));
    assert_eq!(event.data.as_ref().unwrap()["state"], "running");
    assert!(event.other.is_empty() && event.content_type.is_none(), "{event:?}");

    let mut next = world.poll().last_seen(&batch.last_seen).wait(30).hold(&world.gateway).await;
    assert!(next.is_silent(Duration::from_secs(1)).await);
}

on_both_brokers!(without_a_confirm_the_same_events_come_again_and_say_so);
async fn without_a_confirm_the_same_events_come_again_and_say_so(broker: Broker) {
    let world = World::new(broker).await;
    let published = world.backend.publish_numbered(&world.topic, 0..5).await;
    let first = eventually_all(&world, 5).await;
    let second = world.poll().send(&world.gateway).await.batch();
    assert_eq!((second.ids(), second.numbers("n")), (first.ids(), vec![0, 1, 2, 3, 4]));
    assert_eq!(second.ids(), published.iter().map(events::EventId::as_str).collect::<Vec<_>>());
    assert!(second.events.iter().all(|event| event.redelivered));

    let rest = world.poll().last_seen(&second.last_seen).wait(0).send(&world.gateway).await;
    assert_eq!(rest.status, 204);
}

/// Polls without a confirm until so many events come at once.
async fn eventually_all(world: &World, count: usize) -> postern_tests::Batch {
    eventually(Duration::from_mins(1), "all events at once", async || {
        let batch = world.poll().send(&world.gateway).await.batch();
        if batch.events.len() == count { Ok(batch) } else { Err(batch.events.len()) }
    })
    .await
}

on_both_brokers!(short_polls_in_small_batches_bring_everything_in_order);
async fn short_polls_in_small_batches_bring_everything_in_order(broker: Broker) {
    let world = World::new(broker).await;
    // More than a window, so that confirms have to make room.
    world.backend.publish_numbered(&world.topic, 0..200).await;
    let mut connection = HttpConnection::open(world.gateway.address()).await;
    let (mut seen, mut token) = (Vec::new(), None::<String>);
    while seen.len() < 200 {
        let poll = world.poll().query("limit", "7").wait(5);
        let poll = token.iter().fold(poll, |poll, token| poll.last_seen(token));
        let batch = poll.send_on(&mut connection).await.batch();
        assert!(batch.events.len() <= 7 && batch.events.iter().all(|event| !event.redelivered));
        seen.extend(batch.numbers("n"));
        token = Some(batch.last_seen);
    }
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
}

on_both_brokers!(a_poll_that_does_not_wait_gets_what_its_publisher_was_told_is_stored);
async fn a_poll_that_does_not_wait_gets_what_its_publisher_was_told_is_stored(broker: Broker) {
    let world = World::new(broker).await;
    let mut connection = HttpConnection::open(world.gateway.address()).await;
    let mut token = None::<String>;
    for number in 0..300 {
        // The Lease is open, and RabbitMQ confirms an event that is still on its way to it.
        world.backend.publish_numbered(&world.topic, number..number + 1).await;
        let poll = token.iter().fold(world.poll().wait(0), |poll, token| poll.last_seen(token));
        let batch = poll.send_on(&mut connection).await.batch();
        assert_eq!(batch.numbers("n"), [number]);
        token = Some(batch.last_seen);
    }
}

on_both_brokers!(the_place_may_come_as_a_header_which_wins);
async fn the_place_may_come_as_a_header_which_wins(broker: Broker) {
    let world = World::new(broker).await;
    world.backend.publish(&world.topic, r#"{"n":0}"#).await;
    let batch = world.poll().send(&world.gateway).await.batch();
    let confirmed = world.poll().last_seen("stale").header("Last-Event-ID", &batch.last_seen).wait(0);
    assert_eq!(confirmed.send(&world.gateway).await.status, 204);
}

on_both_brokers!(a_mailbox_collects_what_comes_while_its_client_is_away);
async fn a_mailbox_collects_what_comes_while_its_client_is_away(broker: Broker) {
    let gateway = broker.gateway().await.flag("--linger", "100ms").start().await;
    let backend = broker.behind(&gateway).await;
    let (client, topic) = (unique("away"), unique("jobs"));
    Poll::of(&client).topics(&format!("{topic}.*,{topic}.deep.#")).wait(0).send(&gateway).await.expect_status(204);
    let leases = async || backend.consumer_count(&client).await;
    eventually_eq(Duration::from_secs(5), "the lease is released", Some(0), leases).await;
    for (n, topic) in [format!("{topic}.1"), format!("{topic}.deep.1.2"), format!("{topic}.1.2")].iter().enumerate() {
        backend.publish(topic, &format!("{{\"n\":{n}}}")).await;
    }
    // The last topic matches no pattern; no topics are named any more.
    let (mut numbers, mut poll) = (Vec::new(), Poll::of(&client).wait(0));
    while numbers.len() < 2 {
        let batch = poll.send(&gateway).await.batch();
        numbers.extend(batch.numbers("n"));
        poll = Poll::of(&client).wait(0).last_seen(&batch.last_seen);
    }
    assert_eq!(numbers, [0, 1]);
    poll.send(&gateway).await.expect_status(204);
}

on_both_brokers!(a_hundred_events_that_come_between_polls_come_in_order);
async fn a_hundred_events_that_come_between_polls_come_in_order(broker: Broker) {
    let world = World::without_mailbox(broker, |builder| builder).await;
    let binding = Request::new("PUT", &format!("/clients/{}/topics/{}", world.client, world.topic));
    binding.send(world.gateway.address()).await.expect_status(204);
    let published = world.backend.publish_numbered(&world.topic, 0..100).await;
    let (mut ids, mut token) = (Vec::new(), None::<String>);
    while ids.len() < 100 {
        let poll = token.iter().fold(Poll::of(&world.client).wait(5), |poll, token| poll.last_seen(token));
        let batch = poll.send(&world.gateway).await.batch();
        assert!(batch.events.iter().all(|event| !event.redelivered), "{batch:?}");
        assert_eq!(batch.numbers("n"), (ids.len() as u64..).take(batch.events.len()).collect::<Vec<_>>());
        ids.extend(batch.events.into_iter().map(|event| event.id));
        token = Some(batch.last_seen);
    }
    assert_eq!(ids, published.iter().map(events::EventId::as_str).collect::<Vec<_>>());
}

on_both_brokers!(a_pattern_selects_the_same_topics_while_its_client_waits_and_while_it_is_away);
async fn a_pattern_selects_the_same_topics_while_its_client_waits_and_while_it_is_away(broker: Broker) {
    let world = World::with(broker, |builder| builder.flag("--linger", "100ms")).await;
    let World { gateway, backend, topic: first, .. } = world;
    let last = unique("last");
    let topics = ["", ".a", ".a.b", ".a.b.c", ".b", ".a.a"].map(|rest| format!("{first}{rest}.{last}"));
    let table = [
        (format!("{first}.{last}"), vec![0]),
        (format!("{first}.*.{last}"), vec![1, 4]),
        (format!("{first}.*.*.{last}"), vec![2, 5]),
        (format!("*.a.*.{last}"), vec![2, 5]),
        (format!("{first}.#"), vec![0, 1, 2, 3, 4, 5]),
        (format!("#.{last}"), vec![0, 1, 2, 3, 4, 5]),
        (format!("{first}.#.a.#.{last}"), vec![1, 2, 3, 5]),
        (format!("{first}.a.#.{last}"), vec![1, 2, 3, 5]),
        (format!("#.*.b.{last}"), vec![2, 4]),
        // What two patterns of a mailbox select comes once.
        (format!("{first}.*.{last},{first}.#.b.{last},#.{last}.#"), vec![0, 1, 2, 3, 4, 5]),
        (unique("other"), vec![]),
    ];
    let clients: Vec<_> = table.iter().map(|_| unique("alice")).collect();
    let mut waiting = Vec::new();
    for (client, (patterns, _)) in clients.iter().zip(&table) {
        let poll = Poll::of(client).topics(patterns);
        poll.clone().wait(0).send(&gateway).await.expect_status(204);
        waiting.push(poll.wait(30).hold(&gateway).await);
    }
    // Events come once while every client has a reader, and once while none has.
    for away in [false, true] {
        if away {
            drop(std::mem::take(&mut waiting));
            for client in &clients {
                let readers = async || backend.consumer_count(client).await;
                eventually_eq(Duration::from_mins(1), "readers", Some(0), readers).await;
            }
        }
        for (n, topic) in topics.iter().enumerate() {
            backend.publish(topic, &format!("{{\"n\":{n}}}")).await;
        }
        for (client, (patterns, expected)) in clients.iter().zip(&table) {
            let (mut seen, mut token) = (Vec::new(), None::<String>);
            while seen.len() < expected.len() {
                let poll = token.iter().fold(Poll::of(client).wait(10), |poll, token| poll.last_seen(token));
                let batch = poll.send(&gateway).await.batch();
                seen.extend(batch.numbers("n"));
                token = Some(batch.last_seen);
            }
            assert_eq!(seen, *expected, "{patterns}, away: {away}");
            let rest = token.iter().fold(Poll::of(client).wait(0), |poll, token| poll.last_seen(token));
            assert_eq!(rest.send(&gateway).await.status, 204, "{patterns}, away: {away}");
        }
    }
}

on_both_brokers!(what_many_patterns_of_a_mailbox_select_comes_once);
async fn what_many_patterns_of_a_mailbox_select_comes_once(broker: Broker) {
    const EVENTS: u64 = 300;
    let world = World::without_mailbox(broker, |builder| builder).await;
    let topic = format!("{}.a.a.a.a.a", world.topic);
    // Each word as it is, or a wildcard: all of these select it.
    let either = |mask: u32, bit: u32| if mask & (1 << bit) == 0 { ".a" } else { ".*" };
    let pattern = |mask| (0..5).fold(world.topic.clone(), |pattern, bit| pattern + either(mask, bit));
    let patterns = (0..32).map(pattern).collect::<Vec<_>>().join(",");
    let poll = Poll::of(&world.client).topics(&patterns);
    poll.clone().wait(0).send(&world.gateway).await.expect_status(204);
    let read = async {
        let mut connection = HttpConnection::open(world.gateway.address()).await;
        let (mut seen, mut token) = (Vec::new(), None::<String>);
        while seen.last() != Some(&(EVENTS - 1)) {
            let next = token.iter().fold(poll.clone().wait(10), |poll, token| poll.last_seen(token));
            let batch = next.send_on(&mut connection).await.batch();
            seen.extend(batch.numbers("n"));
            token = Some(batch.last_seen);
        }
        seen
    };
    let publish = async {
        for n in 0..EVENTS {
            world.backend.publish(&topic, &format!("{{\"n\":{n}}}")).await;
        }
    };
    let (seen, ()) = tokio::join!(read, publish);
    assert_eq!(seen, (0..EVENTS).collect::<Vec<_>>());
}

on_both_brokers!(topics_are_added_to_a_session_that_is_open);
async fn topics_are_added_to_a_session_that_is_open(broker: Broker) {
    let world = World::new(broker).await;
    let more = unique("more");
    let mut held = Poll::of(&world.client).topics(&more).wait(30).hold(&world.gateway).await;
    assert!(held.is_silent(Duration::from_millis(300)).await);
    world.backend.publish(&more, r#"{"n":1}"#).await;
    assert_eq!(held.answer().await.batch().numbers("n"), [1]);
}

on_both_brokers!(a_mailbox_is_bound_and_unbound_while_its_client_is_away);
async fn a_mailbox_is_bound_and_unbound_while_its_client_is_away(broker: Broker) {
    let world = World::without_mailbox(broker, |builder| builder).await;
    let binding = format!("/clients/{}/topics/{}.%23", world.client, world.topic);
    let change = async |method: &str| Request::new(method, &binding).send(world.gateway.address()).await.status;
    assert_eq!(change("DELETE").await, 204, "nothing was bound, and nothing is");
    assert_eq!((change("PUT").await, change("PUT").await), (204, 204));
    let topic = format!("{}.a.b", world.topic);
    world.backend.publish(&topic, r#"{"n":1}"#).await;
    assert_eq!(change("DELETE").await, 204);
    world.backend.publish(&topic, r#"{"n":2}"#).await;
    let batch = Poll::of(&world.client).wait(2).send(&world.gateway).await.batch();
    assert_eq!(batch.numbers("n"), [1]);

    // The session is open now; a poll that names the pattern again binds it again.
    let again = Poll::of(&world.client).topics(&format!("{}.#", world.topic)).last_seen(&batch.last_seen);
    again.clone().wait(0).send(&world.gateway).await.expect_status(204);
    assert_eq!(change("DELETE").await, 204);
    again.clone().wait(0).send(&world.gateway).await.expect_status(204);
    world.backend.publish(&topic, r#"{"n":3}"#).await;
    assert_eq!(again.wait(5).send(&world.gateway).await.batch().numbers("n"), [3]);
}

on_both_brokers!(a_mailbox_tells_its_state);
async fn a_mailbox_tells_its_state(broker: Broker) {
    let world = World::without_mailbox(broker, |builder| builder).await;
    let look = async |gateway: &Gateway| {
        let answer = Request::get(&format!("/clients/{}", world.client)).send(gateway.address()).await;
        (answer.status, if answer.status == 200 { answer.json() } else { serde_json::Value::Null })
    };
    assert_eq!(look(&world.gateway).await.0, 404);
    world.poll().wait(0).send(&world.gateway).await.expect_status(204);
    world.backend.publish_numbered(&world.topic, 0..100).await;
    // 64 of them fill the window.
    let state = |queued, unconfirmed: Option<u32>, connected| {
        let client = &world.client;
        let json = serde_json::json!({"client":client,"queued":queued,"unconfirmed":unconfirmed,"connected":connected});
        (200, json)
    };
    let here = async || look(&world.gateway).await;
    eventually_eq(Duration::from_secs(5), "the state", state(36, Some(64), true), here).await;
    // An embedded broker has no other gateway.
    if broker == Broker::RabbitMq {
        let other = broker.gateway().await.start().await;
        assert_eq!(look(&other).await, state(36, None, true));
    }
}

on_both_brokers!(a_client_that_asks_for_mailboxes_that_are_not_there_disturbs_no_other);
async fn a_client_that_asks_for_mailboxes_that_are_not_there_disturbs_no_other(broker: Broker) {
    let world = World::without_mailbox(broker, |builder| builder).await;
    let mut held = world.poll().wait(55).hold(&world.gateway).await;
    assert!(held.is_silent(Duration::from_millis(300)).await);
    // On RabbitMQ each of these costs the gateway a channel of its connection, which is replaced after 500 of them.
    let address = world.gateway.address();
    let mut askers = tokio::task::JoinSet::new();
    for asker in 0..8 {
        let absent = unique("absent");
        askers.spawn(async move {
            let mut connection = HttpConnection::open(address).await;
            for n in 0..150 {
                let request = Request::get(&format!("/clients/{absent}-{asker}-{n}"));
                loop {
                    let status = connection.request(&request).await.status;
                    if status == 404 {
                        break;
                    }
                    assert_eq!(status, 503, "where a connection carries few channels, they are used up for moments");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        });
    }
    askers.join_all().await;
    world.backend.publish(&world.topic, r#"{"n":1}"#).await;
    assert_eq!(held.answer().await.batch().numbers("n"), [1]);
}

on_both_brokers!(a_deleted_mailbox_ends_its_poll_with_410_and_the_next_one_starts_anew);
async fn a_deleted_mailbox_ends_its_poll_with_410_and_the_next_one_starts_anew(broker: Broker) {
    let world = World::without_mailbox(broker, |builder| builder).await;
    let mut held = world.poll().wait(30).hold(&world.gateway).await;
    assert!(held.is_silent(Duration::from_millis(500)).await);
    let delete = Request::new("DELETE", &format!("/clients/{}", world.client));
    assert_eq!(delete.send(world.gateway.address()).await.status, 204);
    held.answer().await.problem(410);
    assert_eq!(delete.send(world.gateway.address()).await.status, 204, "gone is gone");
    Poll::of(&world.client).wait(0).send(&world.gateway).await.problem(404);
    let reset = world.poll().last_seen("01890a5d-ac96-774b-bcce-b302099a8057").send(&world.gateway).await.batch();
    assert!(reset.reset && reset.events.is_empty());
}

on_both_brokers!(a_poll_after_a_deletion_never_meets_the_session_of_before);
async fn a_poll_after_a_deletion_never_meets_the_session_of_before(broker: Broker) {
    let world = World::new(broker).await;
    let delete = Request::new("DELETE", &format!("/clients/{}", world.client));
    let mut connection = HttpConnection::open(world.gateway.address()).await;
    for _ in 0..50 {
        connection.request(&delete).await.expect_status(204);
        world.poll().wait(0).send_on(&mut connection).await.expect_status(204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_who_polls_and_from_where() {
    let node = shared_node().await;
    // The program of an operator takes long to start where much else runs.
    let gateway = Gateway::builder().amqp_url(&node.url()).flag("--linger", "60s").start().await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let first = Poll::of(&client).topics(&topic).wait(0);
    first.send(&gateway).await.expect_status(204);
    // A busy node may leave a queue out of one list.
    let shows = async |client: &str, what: &[&str]| {
        let queue = format!("postern.mailbox.{client}");
        eventually(PATIENCE, "the consumer", async || {
            let consumers = node.rabbitmqctl(&["list_consumers"]).await;
            let row = consumers.lines().find(|line| line.starts_with(&queue)).unwrap_or_default();
            if what.iter().all(|what| row.contains(what)) { Ok(()) } else { Err(row.to_owned()) }
        })
        .await;
    };
    shows(&client, &[&format!("{client}@start"), "64"]).await;

    let returning = unique("bob");
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let told = Poll::of(&returning).topics(&topic).last_seen(id).send(&gateway).await.batch();
    assert!(told.reset);
    shows(&returning, &[&format!("{returning}@{id}")]).await;
}

on_both_brokers!(a_client_that_drains_its_mailbox_with_short_polls_is_told_of_its_end_only_there);
async fn a_client_that_drains_its_mailbox_with_short_polls_is_told_of_its_end_only_there(broker: Broker) {
    let world = World::new(broker).await;
    // Several windows, and large enough that the broker is not done reading when the next poll comes.
    let text = "x".repeat(25_000);
    for n in 0..400 {
        world.backend.publish(&world.topic, &format!("{{\"n\":{n},\"text\":\"{text}\"}}")).await;
    }
    let mut connection = HttpConnection::open(world.gateway.address()).await;
    let (mut numbers, mut poll) = (Vec::new(), world.poll().wait(0));
    loop {
        let answer = poll.send_on(&mut connection).await;
        if answer.status == 204 {
            break;
        }
        let batch = answer.batch();
        numbers.extend(batch.numbers("n"));
        poll = world.poll().wait(0).last_seen(&batch.last_seen);
    }
    assert_eq!(numbers, (0..400).collect::<Vec<_>>());
}
