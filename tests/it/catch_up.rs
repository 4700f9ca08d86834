//! Catching up with a long log: every client gets exactly the events after its place, each once and in order, while new
//! ones are published and others wait for them at the end.

use std::time::Duration;

use postern_tests::{Broker, Gateway, Live, LongLog, Request, eventually, on_both_brokers};
use tokio::task::JoinSet;

/// How long the log is. `POSTERN_TEST_LOG=1000000 tests/run catch_up` gives both a million events, which takes 5 minutes
/// in a debug build on two cores.
fn events(broker: Broker) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a size of a test, which only a person changes")]
    let given = std::env::var("POSTERN_TEST_LOG").ok();
    match (given, broker) {
        (Some(given), _) => given.parse().expect("a number of events"),
        (None, Broker::Embedded) => 300_000,
        (None, Broker::RabbitMq) => 100_000,
    }
}

/// How many clients catch up beside each other.
const CLIENTS: u64 = 100;

on_both_brokers!(every_follower_gets_exactly_what_is_after_its_place_in_a_long_log);
async fn every_follower_gets_exactly_what_is_after_its_place_in_a_long_log(broker: Broker) {
    let events = events(broker);
    let each = events / CLIENTS;
    let mut log = LongLog::new(broker, events, |gateway| gateway).await.unwrap();
    let live = Live::start(&log, 10, Duration::from_millis(50), events).await.unwrap();

    let mut places = vec![("oldest".to_owned(), 0)];
    let mut all = log.follower("oldest", 0);
    while all.next() < events {
        all.poll(20).await.unwrap();
        let wanted = places.len() as u64 * each;
        if all.next() >= wanted && all.next() + each <= events {
            places.push((all.place().to_owned(), all.next()));
        }
    }

    let mut clients = JoinSet::new();
    for (place, next) in places {
        let mut client = log.follower(&place, next);
        clients.spawn(async move { client.read_to(next + each).await });
    }
    assert!(clients.len() as u64 >= CLIENTS - 1, "{} clients", clients.len());
    clients.join_all().await;

    // Those at the end got everything, too.
    let (_, end) = live.finish().await.unwrap();
    all.read_to(end).await;

    if matches!(broker, Broker::RabbitMq) {
        serves_all_before_it_has_read_all(&mut log.gateway).await;
    }
}

/// Restarts a gateway on a stream that it takes seconds to read.
async fn serves_all_before_it_has_read_all(gateway: &mut Gateway) {
    gateway.kill9();
    let from = gateway.log().len();
    gateway.start_again().await;
    gateway.wait_answer("/ready?feeds", 200, Duration::from_mins(1)).await;
    let all_is_known = || gateway.log().fields(from, ALL_IS_KNOWN);
    assert_eq!(all_is_known(), None, "the stream was to be long enough that it is still read");
    gateway.carries_an_event().await;
    let newest = Request::get(&format!("/topics/{}/events?wait=50", LongLog::QUIET)).send(gateway.address()).await;
    assert_eq!(newest.batch().events.len(), 1, "the first event of all is the newest of its topic");
    eventually(Duration::from_mins(1), ALL_IS_KNOWN, async || all_is_known().ok_or("not yet")).await;
}

/// What a gateway says when it has read what was stored before its start.
const ALL_IS_KNOWN: &str = "what was stored before is known";
