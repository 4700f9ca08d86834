//! Many clients at once.

use std::{collections::VecDeque, time::Duration};

use postern_tests::{Amqp, DirectPublisher, Gateway, HttpConnection, Poll, eventually_eq, shared_broker, unique};
use tokio::task::JoinSet;

const CLIENTS: usize = 2000;
const EVENTS: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_clients_hold_polls_and_each_gets_its_own_events_in_order() {
    let broker = shared_broker().await;
    let gateway = Gateway::builder().amqp_url(broker.url()).start().await;
    gateway.wait_ready().await;
    let run = unique("scale");
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let (address, name) = (gateway.address(), format!("{run}-{n}"));
        clients.spawn(async move { read_all(address, &name).await });
    }
    let amqp: Amqp = broker.amqp().await;
    let last = format!("{run}-{}", CLIENTS - 1);
    let held = async || metric(&gateway, "postern_polls_held").await;
    eventually_eq(Duration::from_mins(1), "polls held", CLIENTS.to_string(), held).await;
    eventually_eq(Duration::from_mins(1), "consumers", Some(1), async || amqp.consumer_count(&last).await).await;
    let sessions = async || metric(&gateway, "postern_sessions").await;
    eventually_eq(Duration::from_mins(1), "sessions", CLIENTS.to_string(), sessions).await;

    // Each client's events go to its own topic; all clients at once, event by event.
    let mut batches: VecDeque<_> = (0..8).map(|first| (first..CLIENTS).step_by(8).collect::<Vec<_>>()).collect();
    let mut publishing = JoinSet::new();
    while let Some(numbers) = batches.pop_front() {
        let (publisher, run) = (DirectPublisher::connect(broker.url()).await, run.clone());
        publishing.spawn(async move {
            for event in 0..EVENTS {
                for n in &numbers {
                    publisher.publish(&format!("{run}-{n}"), &format!("{{\"n\":{event}}}")).await;
                }
            }
        });
    }
    publishing.join_all().await;
    for seen in clients.join_all().await {
        assert_eq!(seen, (0..EVENTS).collect::<Vec<_>>());
    }
}

/// Polls on one connection until it has seen everything.
async fn read_all(address: std::net::SocketAddr, name: &str) -> Vec<u64> {
    let mut connection = HttpConnection::open(address).await;
    let (mut seen, mut token) = (Vec::new(), None::<String>);
    while seen.len() < usize::try_from(EVENTS).unwrap() {
        let poll = Poll::of(name).topics(name).wait(55);
        let answer = token.iter().fold(poll, |poll, token| poll.last_seen(token)).send_on(&mut connection).await;
        if answer.status == 204 {
            continue;
        }
        let batch = answer.batch();
        assert!(batch.events.iter().all(|event| event.topic == name && !event.redelivered), "{batch:?}");
        seen.extend(batch.numbers("n"));
        token = Some(batch.last_seen);
    }
    seen
}

async fn metric(gateway: &Gateway, name: &str) -> String {
    let text = postern_tests::Request::get("/metrics").send(gateway.address()).await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    line.unwrap_or_default()
}
