//! Catching up with a long log: everybody gets exactly the events behind their place, each once and in order, while new ones
//! are published and others wait for them at the end.

use std::time::Duration;

use postern_tests::{Broker, Live, LongLog, on_both_brokers};
use tokio::{task::JoinSet, time::Instant};

/// How long the log is. `POSTERN_TEST_LOG=1000000 tests/run catch_up` takes minutes, most of them to fill it.
fn events() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a size of a test, which only a person changes")]
    let given = std::env::var("POSTERN_TEST_LOG").ok();
    given.map_or(100_000, |given| given.parse().expect("a number of events"))
}

/// How many clients catch up beside each other.
const CLIENTS: u64 = 100;

on_both_brokers!(everybody_gets_exactly_what_is_behind_their_place_in_a_long_log);
async fn everybody_gets_exactly_what_is_behind_their_place_in_a_long_log(broker: Broker) {
    let events = events();
    let each = events / CLIENTS;
    let log = LongLog::new(broker, events, |gateway| gateway).await.unwrap();
    println!("{events} events: filled in {:?}, read by the gateway in {:?}", log.filled_in, log.ready_in);
    let live = Live::start(&log, 10, Duration::from_millis(50), events).await.unwrap();

    let began = Instant::now();
    let mut places = vec![("oldest".to_owned(), 0)];
    let mut all = log.follower("oldest", 0);
    while all.next() < events {
        all.poll(20).await.unwrap();
        let wanted = places.len() as u64 * each;
        if all.next() >= wanted && all.next() + each <= events {
            places.push((all.place().to_owned(), all.next()));
        }
    }
    println!("one client read all in {:?}", began.elapsed());

    let began = Instant::now();
    let mut clients = JoinSet::new();
    for (place, next) in places {
        let mut client = log.follower(&place, next);
        clients.spawn(async move { client.read_to(next + each).await });
    }
    assert!(clients.len() as u64 >= CLIENTS - 1, "{} clients", clients.len());
    clients.join_all().await;
    println!("{CLIENTS} clients read {each} each in {:?}", began.elapsed());

    let (latencies, end) = live.finish().await.unwrap();
    all.read_to(end).await;
    println!("{} live answers, p50 {:?}, p99 {:?}", latencies.count(), latencies.within(50), latencies.within(99));
}
