//! Feeds that a shared cache carries (`--feed-cache`), with the files of `deploy/` and the programs of
//! `tests/install-needs proxies`: what clients get through it, and what it asks the gateway for.
//!
//! `POSTERN_TEST_CLIENTS` and `POSTERN_TEST_EVENTS` set the size. The size that is promised, with the faults of 2,000 events (50
//! times the cache forgets all, 20 gateways are killed, and 5 times RabbitMQ):
//!
//! ```sh
//! POSTERN_TEST_CLIENTS=1000 POSTERN_TEST_EVENTS=2000 cargo test -p postern-tests --test it -- feed_cache
//! ```

mod crowd;
mod gate;
mod rules;

use std::time::Duration;

use postern_tests::{
    Broker, Gateway, GatewayBuilder, HttpConnection, LeanHttp, Proxy, ProxyProgram, RabbitNode, Request, eventually,
    note, on_both_brokers, shared_node, unique,
};
use tokio::time::sleep;

use self::{crowd::Crowd, gate::Gate};

const PATIENCE: Duration = Duration::from_mins(2);

/// How long clients wait, in seconds: short, so that deadlines can be waited for.
const WAIT_S: u32 = 2;

/// Deadlines that the clients wait for without an event.
const QUIET: usize = 2;

#[expect(clippy::disallowed_methods, reason = "sizes of tests, which only a person changes")]
fn number(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().map_or(usual, |text| text.parse().expect("a number"))
}

fn cached(builder: GatewayBuilder) -> GatewayBuilder {
    builder.flag("--feed-cache", "60s")
}

/// Returns how many polls a gateway has answered, however.
async fn polls(gateway: &Gateway) -> usize {
    let metrics = Request::get("/metrics").send(gateway.address()).await.expect_status(200).text();
    let of = |line: &str| line.strip_prefix("postern_polls_total{")?.split_once("} ")?.1.parse::<usize>().ok();
    metrics.lines().filter_map(of).sum()
}

/// Publishes an event until it is confirmed. The broker knows the id of an event that it has, and RabbitMQ may have it twice.
async fn publish(gateway: &Gateway, topic: &str, number: usize) {
    let event = Request::publish(topic, "application/json", format!("{{\"n\":{number}}}"));
    let event = event.header("event-id", &unique(&format!("event-{number}")));
    eventually(PATIENCE, "a confirm", async || {
        let mut connection = HttpConnection::try_open(gateway.address()).await.map_err(|error| error.to_string())?;
        let answer = connection.request_unless_left(&event).await.map_err(|left| format!("{left:?}"))?;
        if answer.status == 202 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
}

async fn pause(most: Duration) {
    sleep(most.mul_f64(rand::random())).await;
}

async fn carries_a_crowd(program: ProxyProgram) {
    let (clients, events) = (number("POSTERN_TEST_CLIENTS", 300), number("POSTERN_TEST_EVENTS", 40));
    let gateway = cached(Broker::Embedded.gateway_with_log().await).start().await;
    gateway.wait_ready().await;
    let cache = Proxy::start_cache(program, &[gateway.address()]).await;
    let topic = unique("crowd");
    let crowd = Crowd::come(clients, cache.address(), &topic, WAIT_S).await;

    let before = polls(&gateway).await;
    for number in 0..events {
        publish(&gateway, &topic, number).await;
        pause(Duration::from_millis(100)).await;
    }
    crowd.wait("all events", |seen| seen.numbers.len() >= events).await;
    let asked = polls(&gateway).await - before;
    assert!(asked <= 2 * events, "{asked} polls for {events} events");

    // Each client has seen the last event, and waits.
    let deadlines = crowd.deadlines();
    crowd.wait("a quiet deadline", |seen| seen.empty > deadlines).await;
    let (polled, requested, passed) = (polls(&gateway).await, cache.requests().await, crowd.deadlines());
    crowd.wait("quiet deadlines", |seen| seen.empty >= passed + QUIET).await;
    let (asked, requests) = (polls(&gateway).await - polled, cache.requests().await - requested);
    // A client that was sent on late is still on its way to the same slot as all others.
    let quiet = crowd.deadlines() - passed;
    assert!(asked <= 2 * quiet, "{asked} polls for {quiet} deadlines");
    let bound = (clients * quiet * 13 / 10) as u64;
    assert!(requests <= bound, "{requests} requests of {clients} clients for {quiet} deadlines");

    let expected: Vec<u64> = (0..events as u64).collect();
    for seen in crowd.seen() {
        assert_eq!((seen.numbers, seen.resets), (expected.clone(), 0));
    }
    note(&format!(
        "{program:?}: {requests} requests of {clients} clients and {asked} polls of the gateway for {quiet} deadlines"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn varnish_asks_once_for_a_crowd() {
    carries_a_crowd(ProxyProgram::Varnish).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_asks_once_for_a_crowd() {
    carries_a_crowd(ProxyProgram::Nginx).await;
}

on_both_brokers!(nothing_is_lost_while_the_cache_forgets_and_gateways_are_killed);
async fn nothing_is_lost_while_the_cache_forgets_and_gateways_are_killed(broker: Broker) {
    loses_nothing_while_the_cache_forgets_and_gateways_are_killed(ProxyProgram::Varnish, broker).await;
}

on_both_brokers!(nothing_is_lost_behind_nginx_while_it_forgets_and_gateways_are_killed);
async fn nothing_is_lost_behind_nginx_while_it_forgets_and_gateways_are_killed(broker: Broker) {
    loses_nothing_while_the_cache_forgets_and_gateways_are_killed(ProxyProgram::Nginx, broker).await;
}

async fn loses_nothing_while_the_cache_forgets_and_gateways_are_killed(program: ProxyProgram, broker: Broker) {
    let (clients, events) = (number("POSTERN_TEST_CLIENTS", 100), number("POSTERN_TEST_EVENTS", 50));
    // Every so many events; RabbitMQ only in a long run, because its start takes some ten seconds.
    let (forgets, kills, broker_kills) = (events.min(80) / 2, events.min(200) / 2, 400);
    let (mut forgotten, mut killed, mut broker_killed) = (0, 0, 0);
    let mut node = None;
    let mut gateways = Vec::new();
    match broker {
        Broker::Embedded => gateways.push(cached(broker.gateway_with_log().await).start().await),
        Broker::RabbitMq => {
            let url = if events >= broker_kills {
                let own = node.insert(RabbitNode::start().await);
                own.vhost("log").await
            } else {
                shared_node().await.vhost("log").await
            };
            for _ in 0..2 {
                gateways.push(cached(Gateway::builder().amqp_url(&url).with_feed()).start().await);
            }
        }
    }
    for gateway in &gateways {
        gateway.wait_ready().await;
    }
    let addresses: Vec<_> = gateways.iter().map(Gateway::address).collect();
    let cache = Proxy::start_cache(program, &addresses).await;
    let topic = unique("faults");
    let crowd = Crowd::come(clients, cache.address(), &topic, WAIT_S).await;
    for number in 0..events {
        let count = gateways.len();
        publish(&gateways[number % count], &topic, number).await;
        pause(Duration::from_millis(40)).await;
        // Each at another event than the others.
        let is_time = |every: usize, part: usize| number % every == every / part;
        if is_time(forgets, 2) {
            cache.forget_all();
            forgotten += 1;
        }
        if is_time(kills, 3) {
            let gateway = &mut gateways[(number / kills) % count];
            gateway.kill9();
            gateway.start_again().await;
            killed += 1;
        }
        if let Some(node) = node.as_mut().filter(|_| is_time(broker_kills, 4)) {
            node.kill9();
            node.start_again().await;
            broker_killed += 1;
        }
    }
    let last = events as u64 - 1;
    crowd.wait("the last event", |seen| seen.numbers.last() == Some(&last)).await;
    let expected: Vec<u64> = (0..=last).collect();
    for mut seen in crowd.seen() {
        if broker == Broker::RabbitMq {
            // An event that was not confirmed is published again at once.
            seen.numbers.dedup();
        }
        assert_eq!((seen.numbers, seen.resets), (expected.clone(), 0), "nothing is gone");
    }
    note(&format!(
        "{program:?}, {broker:?}: {clients} clients had {events} events, while the cache forgot all {forgotten} times, and {killed} gateways \
         and {broker_killed} times RabbitMQ were killed"
    ));
}

/// nginx counts the uses of what it keeps in ten bits, and takes what has no use for new unless `proxy_cache_min_uses` is 0.
#[tokio::test(flavor = "multi_thread")]
async fn nginx_asks_once_for_more_clients_than_it_counts() {
    let gateway = cached(Broker::Embedded.gateway_with_log().await).start().await;
    gateway.wait_ready().await;
    let cache = Proxy::start_cache(ProxyProgram::Nginx, &[gateway.address()]).await;
    let topic = unique("many");
    let (_, place) = rules::between(&gateway, &topic, 0).await;
    let before = polls(&gateway).await;
    let mut clients = Vec::new();
    for _ in 0..3_100 {
        let mut client = LeanHttp::open(cache.address()).await.unwrap();
        client.send("GET", &format!("/topics/{topic}/events?last_seen={place}&wait=55")).await.unwrap();
        clients.push(client);
    }
    let came = clients.len() as u64;
    eventually(PATIENCE, "the requests of all clients", async || {
        let requests = cache.requests().await;
        if requests > came { Ok(()) } else { Err(requests) }
    })
    .await;
    publish(&gateway, &topic, 2).await;
    for client in &mut clients {
        // It is a 204 where the slot of their polls has just ended.
        let status = client.answer().await.unwrap().status;
        assert!(matches!(status, 200 | 204), "{status}");
    }
    assert_eq!(polls(&gateway).await - before, 1, "polls of {came} clients");
}

#[tokio::test(flavor = "multi_thread")]
async fn varnish_asks_once_for_a_crowd_also_after_an_error() {
    let clients = number("POSTERN_TEST_CLIENTS", 100);
    let gateway = cached(Broker::Embedded.gateway_with_log().await).start().await;
    gateway.wait_ready().await;
    let gate = Gate::before(gateway.address()).await;
    let cache = Proxy::start_cache(ProxyProgram::Varnish, &[gate.address()]).await;
    let topic = unique("errors");
    let crowd = Crowd::come(clients, cache.address(), &topic, WAIT_S).await;
    gate.shut(true);
    crowd.wait("a failure", |seen| seen.failed > 0).await;
    let before = polls(&gateway).await;
    gate.shut(false);
    let empty = crowd.deadlines();
    crowd.wait("a deadline", |seen| seen.empty > empty).await;
    publish(&gateway, &topic, 0).await;
    crowd.wait("the event", |seen| seen.numbers.len() == 1).await;
    let asked = polls(&gateway).await - before;
    assert!(asked <= clients / 4, "{asked} polls of {clients} clients");
}
