//! Many clients at once.

use std::time::Duration;

use postern_tests::{Broker, Gateway, HttpConnection, Poll, eventually_eq, on_both_brokers, unique};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

const CLIENTS: usize = 2000;
const EVENTS: u64 = 6;

on_both_brokers!(two_thousand_clients_hold_polls_and_each_gets_its_own_events_in_order);
async fn two_thousand_clients_hold_polls_and_each_gets_its_own_events_in_order(broker: Broker) {
    let gateway = broker.gateway().await.start().await;
    gateway.wait_ready().await;
    let run = unique("scale");
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let (address, name) = (gateway.address(), format!("{run}-{n}"));
        clients.spawn(async move { read_all(address, &name).await });
    }
    let backend = broker.behind(&gateway).await;
    // A session counts from its first poll on; its mailbox is bound for certain only when it is consumed.
    for n in 0..CLIENTS {
        let name = format!("{run}-{n}");
        eventually_eq(Duration::from_mins(1), "consumers", Some(1), async || backend.consumer_count(&name).await).await;
    }
    for counted in ["postern_polls_held", "postern_sessions"] {
        let all = CLIENTS.to_string();
        eventually_eq(Duration::from_mins(1), counted, all, async || metric(&gateway, counted).await).await;
    }

    // Each client's events go to its own topic; all clients at once, event by event.
    let publishers = match broker {
        // Other tests use this broker, too.
        Broker::RabbitMq => 8,
        // They share what a sync costs.
        Broker::Embedded => 32,
    };
    let mut publishing = JoinSet::new();
    for first in 0..publishers {
        let (backend, run) = (broker.behind(&gateway).await, run.clone());
        publishing.spawn(async move {
            for event in 0..EVENTS {
                for n in (first..CLIENTS).step_by(publishers) {
                    backend.publish(&format!("{run}-{n}"), &format!("{{\"n\":{event}}}")).await;
                }
            }
        });
    }
    publishing.join_all().await;
    timeout(Duration::from_mins(2), clients.join_all()).await.expect("every client should have seen everything");
}

/// Polls on one connection until it has seen everything, in order.
async fn read_all(address: std::net::SocketAddr, name: &str) {
    let mut connection = HttpConnection::open(address).await;
    let (mut next, mut token) = (0, None::<String>);
    while next < EVENTS {
        let poll = Poll::of(name).topics(name).wait(55);
        let answer = token.iter().fold(poll, |poll, token| poll.last_seen(token)).send_on(&mut connection).await;
        match answer.status {
            204 => continue,
            // On a busy machine the broker may take longer for so many at once than a client is to wait for it.
            503 => {
                let seconds = answer.header("retry-after").and_then(|seconds| seconds.parse().ok());
                sleep(Duration::from_secs(seconds.unwrap_or_else(|| panic!("{answer:?}")))).await;
                continue;
            }
            _ => {}
        }
        let batch = answer.batch();
        assert!(batch.events.iter().all(|event| event.topic == name && !event.redelivered), "{batch:?}");
        let numbers = batch.numbers("n");
        let expected = next..next + numbers.len() as u64;
        assert_eq!(numbers, expected.clone().collect::<Vec<_>>(), "the next events of {name}");
        (next, token) = (expected.end, Some(batch.last_seen));
    }
}

async fn metric(gateway: &Gateway, name: &str) -> String {
    let text = postern_tests::Request::get("/metrics").send(gateway.address()).await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    line.unwrap_or_default()
}
