//! The embedded broker alone: what it keeps over the end of its gateway, and what it lets go.
//!
//! Whatever it promises as RabbitMQ does is in the other modules, which run on both. Here is what RabbitMQ has no part
//! in: its folder, its retention, and the one process in which broker and gateway end together.

mod ends;
mod retention;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use postern_tests::{
    Backend, Broker, Folder, Gateway, HttpConnection, Poll, Request, World, eventually, eventually_eq, unique,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::timeout,
};
use uuid::Uuid;

const SOON: Duration = Duration::from_mins(1);

/// A world whose client is bound and has never polled, so that nothing was handed out.
async fn bound(flags: &[(&str, &str)]) -> World {
    let set =
        |builder| flags.iter().fold(builder, |builder: postern_tests::GatewayBuilder, (n, v)| builder.flag(n, *v));
    let world = World::without_mailbox(Broker::Embedded, set).await;
    change_binding(&world, "PUT").await;
    world
}

async fn change_binding(world: &World, method: &str) {
    let binding = format!("/clients/{}/topics/{}.%23", world.client, world.topic);
    Request::new(method, &binding).send(world.gateway.address()).await.expect_status(204);
}

async fn restart(world: &mut World, killed: bool) {
    world.backend.hang_up().await;
    if killed {
        world.gateway.kill9();
        world.gateway.start_again().await;
    } else {
        world.gateway.restart().await;
    }
}

/// Reads on from a token until the mailbox is empty, confirming all of it; returns each number and whether it was
/// flagged.
async fn read_on(gateway: &Gateway, client: &str, mut token: Option<String>) -> Vec<(u64, bool)> {
    let mut seen = Vec::new();
    let reading = async {
        loop {
            let next = token.iter().fold(Poll::of(client).wait(0), |poll, token| poll.last_seen(token));
            let answer = next.send(gateway).await;
            if answer.status == 200 {
                let batch = answer.batch();
                assert!(!batch.reset, "{batch:?}");
                seen.extend(batch.events.iter().map(|event| (event.number("n"), event.redelivered)));
                token = Some(batch.last_seen);
            } else if is_empty(gateway, client).await {
                break;
            }
        }
    };
    timeout(Duration::from_secs(30), reading).await.expect("an end of it");
    seen
}

async fn is_empty(gateway: &Gateway, client: &str) -> bool {
    let state = Request::get(&format!("/clients/{client}")).send(gateway.address()).await.expect_status(200).json();
    (&state["queued"], &state["unconfirmed"]) == (&0.into(), &0.into())
}

/// Returns these numbers, each with this flag.
fn flagged(numbers: std::ops::Range<u64>, redelivered: bool) -> impl Iterator<Item = (u64, bool)> {
    numbers.map(move |n| (n, redelivered))
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_orderly_end_what_was_handed_out_is_flagged_and_nothing_else() {
    let mut world = bound(&[("--window", "10")]).await;
    world.backend.publish_numbered(&world.topic, 0..25).await;
    let four = world.poll().query("limit", "4").send(&world.gateway).await.batch();
    let next = world.poll().query("limit", "1").last_seen(&four.last_seen).send(&world.gateway).await.batch();
    assert_eq!((four.numbers("n"), next.numbers("n")), (vec![0, 1, 2, 3], vec![4]));
    // Four are confirmed, and the window is full again.
    let ready = async || world.backend.messages_ready(&world.client).await;
    eventually_eq(SOON, "messages ready", Some(25 - 14), ready).await;
    // Once more without any reader in between changes nothing.
    for _ in 0..2 {
        restart(&mut world, false).await;
        assert_eq!(world.mailbox().await, (Some(21), Some(0)));
    }
    let rest = read_on(&world.gateway, &world.client, None).await;
    assert_eq!(rest, flagged(4..14, true).chain(flagged(14..25, false)).collect::<Vec<_>>());
    assert_eq!(world.backend.messages_ready(&world.client).await, Some(0));
}

/// It was not written down what was handed out, so all of it may have been.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_everything_that_waits_is_flagged_and_nothing_that_comes_later() {
    let mut world = bound(&[("--window", "10")]).await;
    world.backend.publish_numbered(&world.topic, 0..25).await;
    assert_eq!(world.poll().query("limit", "1").send(&world.gateway).await.batch().numbers("n"), [0]);
    restart(&mut world, true).await;
    world.backend.publish_numbered(&world.topic, 25..30).await;
    let all = read_on(&world.gateway, &world.client, None).await;
    assert_eq!(all, flagged(0..25, true).chain(flagged(25..30, false)).collect::<Vec<_>>());
}

/// That the process before ended in order says nothing of this one, which has written nothing since.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_out_between_an_orderly_end_and_a_kill_is_flagged() {
    let mut world = World::with(Broker::Embedded, |builder| builder.flag("--linger", "50ms")).await;
    world.is_back(0).await;
    world.backend.publish_numbered(&world.topic, 0..5).await;
    restart(&mut world, false).await;
    let three = world.poll().query("limit", "3").send(&world.gateway).await.batch();
    assert!(three.numbers("n") == [0, 1, 2] && three.events.iter().all(|event| !event.redelivered), "{three:?}");
    restart(&mut world, true).await;
    let rest = read_on(&world.gateway, &world.client, Some(three.last_seen)).await;
    assert_eq!(rest, flagged(3..5, true).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_stays_confirmed() {
    for killed in [false, true] {
        let mut world = bound(&[]).await;
        world.backend.publish_numbered(&world.topic, 0..10).await;
        let five = world.poll().query("limit", "5").send(&world.gateway).await.batch();
        let sixth = world.poll().query("limit", "1").last_seen(&five.last_seen).send(&world.gateway).await.batch();
        assert_eq!(sixth.numbers("n"), [5]);
        restart(&mut world, killed).await;
        let rest = read_on(&world.gateway, &world.client, None).await;
        assert_eq!(rest, flagged(5..10, true).collect::<Vec<_>>(), "killed: {killed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_and_deletions_outlive_every_end() {
    for killed in [false, true] {
        let mut world = bound(&[]).await;
        world.backend.publish(&world.topic, r#"{"n":0}"#).await;
        restart(&mut world, killed).await;
        // It is bound still.
        world.backend.publish(&world.topic, r#"{"n":1}"#).await;
        change_binding(&world, "DELETE").await;
        world.backend.publish(&world.topic, r#"{"n":2}"#).await;
        restart(&mut world, killed).await;
        // It is unbound still, and what was there when it was unbound is there.
        world.backend.publish(&world.topic, r#"{"n":3}"#).await;
        let seen = read_on(&world.gateway, &world.client, None).await;
        assert_eq!(seen.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 1], "killed: {killed}");

        let delete = Request::new("DELETE", &format!("/clients/{}", world.client));
        delete.send(world.gateway.address()).await.expect_status(204);
        restart(&mut world, killed).await;
        assert_eq!(world.mailbox().await, (None, None), "killed: {killed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_loses_nothing_and_keeps_the_order() {
    const A_ROUND: u64 = 20;
    let mut world = bound(&[("--window", "16")]).await;
    let (mut seen, mut token) = (Vec::new(), None::<String>);
    for round in 0..6 {
        world.backend.publish_numbered(&world.topic, round * A_ROUND..(round + 1) * A_ROUND).await;
        // Two batches are asked for, and the second one is never confirmed to this process.
        for _ in 0..2 {
            let poll = world.poll().query("limit", "7");
            let batch = token.iter().fold(poll, |poll, token| poll.last_seen(token)).send(&world.gateway).await.batch();
            assert_eq!(batch.numbers("n"), (seen.len() as u64..).take(batch.events.len()).collect::<Vec<_>>());
            seen.extend(batch.numbers("n"));
            token = Some(batch.last_seen);
        }
        restart(&mut world, true).await;
    }
    let rest = read_on(&world.gateway, &world.client, token).await;
    assert_eq!(rest, flagged(seen.len() as u64..120, true).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_publishers_write_it_has_everything_that_it_had_accepted() {
    let mut world = World::without_mailbox(Broker::Embedded, |builder| builder).await;
    let topics: Vec<_> = (0..4).map(|n| format!("{}.{n}", world.topic)).collect();
    for topic in &topics {
        Poll::of(topic).topics(topic).wait(0).send(&world.gateway).await.expect_status(204);
    }
    let accepted: Vec<_> = topics.iter().map(|_| Arc::new(AtomicU64::new(0))).collect();
    let mut publishers = JoinSet::new();
    for (topic, accepted) in topics.iter().zip(&accepted) {
        publishers.spawn(publish_until_it_dies(world.gateway.address(), topic.clone(), Arc::clone(accepted)));
    }
    let each = || accepted.iter().map(|accepted| accepted.load(Ordering::Relaxed)).collect::<Vec<_>>();
    eventually(SOON, "fifty of each publisher to be accepted", async || {
        if each().iter().all(|accepted| *accepted >= 50) { Ok(()) } else { Err(each()) }
    })
    .await;
    world.gateway.kill9();
    publishers.join_all().await;
    world.gateway.start_again().await;
    for (topic, accepted) in topics.iter().zip(each()) {
        let numbers: Vec<_> = read_on(&world.gateway, topic, None).await.into_iter().map(|(n, _)| n).collect();
        // What was stored and not answered any more may be there, too.
        assert!(numbers.len() as u64 >= accepted, "{accepted} were accepted and {} are there", numbers.len());
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    }
}

/// Posts 0, 1, 2, … down one connection without waiting for answers, and counts those that say 202.
async fn publish_until_it_dies(address: std::net::SocketAddr, topic: String, accepted: Arc<AtomicU64>) {
    let (stream, _) = HttpConnection::open(address).await.into_parts();
    let (mut answers, mut requests) = stream.into_split();
    let writing = async {
        for n in 0_u64.. {
            let request = Request::publish(&topic, "application/json", format!("{{\"n\":{n}}}"));
            if requests.write_all(&request.bytes()).await.is_err() {
                return;
            }
        }
    };
    let reading = async {
        let mut text = Vec::new();
        while answers.read_buf(&mut text).await.is_ok_and(|count| count > 0) {
            let count = text.windows(13).filter(|bytes| bytes == b"HTTP/1.1 202 ").count();
            accepted.store(count as u64, Ordering::Relaxed);
        }
    };
    tokio::join!(writing, reading);
}

/// The newest 64 MiB are in memory; a client that comes later is served from disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_lags_far_gets_everything_from_disk_byte_for_byte() {
    const FILLER: usize = 7 << 20;
    let world = bound(&[("--max-body", "8388608")]).await;
    let mut connection = HttpConnection::open(world.gateway.address()).await;
    let mut publish = async |topic: &str, payload: &[u8]| {
        let request = Request::publish(topic, "application/octet-stream", payload);
        connection.request(&request).await.expect_status(202);
    };
    let payloads: Vec<Vec<u8>> = (0..40).map(|n| random_bytes(200_000 + n)).collect();
    for payload in &payloads {
        publish(&world.topic, payload).await;
    }
    let filler = vec![0; FILLER];
    for _ in 0..=(64 << 20) / FILLER {
        publish(&unique("other"), &filler).await;
    }
    // And the marker of a mailbox that was made without a poll.
    assert_eq!(world.mailbox().await, (Some(40 + 1), Some(0)));
    let (mut seen, mut token) = (0, None::<String>);
    while seen < payloads.len() {
        let poll = token.iter().fold(world.poll(), |poll, token| poll.last_seen(token));
        let batch = poll.send(&world.gateway).await.batch();
        assert!(!batch.reset, "nothing is gone");
        for event in batch.events {
            let came = STANDARD.decode(event.data_base64.expect("it is no text")).unwrap();
            assert!(came == payloads[seen], "event {seen} is not as it was published");
            seen += 1;
        }
        token = Some(batch.last_seen);
    }
    let rest = token.iter().fold(world.poll().wait(0), |poll, token| poll.last_seen(token));
    rest.send(&world.gateway).await.expect_status(204);
}

fn random_bytes(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 16);
    while bytes.len() < length {
        bytes.extend(Uuid::new_v4().into_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory_it_serves_and_forgets() {
    let folder = Folder::new("started-in");
    let mut gateway = Gateway::builder().switch("--memory").current_dir(&folder).start().await;
    let backend = Backend::of_embedded(&gateway);
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic);
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    backend.publish_numbered(&topic, 0..100).await;
    let all: Vec<_> = read_on(&gateway, &client, None).await.into_iter().map(|(n, _)| n).collect();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    backend.publish(&topic, r#"{"n":100}"#).await;
    let unconfirmed = poll.send(&gateway).await.batch();
    assert_eq!(unconfirmed.numbers("n"), [100]);

    backend.hang_up().await;
    gateway.restart().await;
    assert_eq!(backend.messages_ready(&client).await, None);
    let told = poll.last_seen(&unconfirmed.last_seen).send(&gateway).await.batch();
    assert!(told.reset && told.events.is_empty(), "{told:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is written");
}
