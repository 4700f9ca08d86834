//! One sender of requests cannot take what is there for all: each limit of one client has its answer, and others do not
//! notice.
//!
//! Clients come through a proxy here, which the test is: programs on the gateway's own machine have no limits of their
//! own. Tokens: see `access::limits`.

mod connections;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use http_body_util::BodyExt;
use postern_tests::{
    Answer, Broker, EventStream, Gateway, GatewayBuilder, Http2Connection, HttpConnection, Poll, Request, eventually,
    eventually_eq, on_both_brokers, unique,
};
use tokio::{io::AsyncReadExt, task::JoinSet};

const FORWARDED: &str = "x-forwarded-for";
/// Two clients, and two addresses that one customer of a network has.
const GREEDY: &str = "203.0.113.1";
const HONEST: &str = "203.0.113.2";
const CUSTOMER: [&str; 2] = ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2"];

const SOON: Duration = Duration::from_secs(20);

/// Starts a gateway that takes the test for a proxy.
async fn gateway(broker: Broker, flags: &[&str]) -> Gateway {
    let builder = broker.gateway_with_log().await.flag("--trusted-proxy", "127.0.0.0/8");
    let gateway = flags.iter().fold(builder, |builder, flag| GatewayBuilder::switch(builder, flag)).start().await;
    gateway.wait_ready().await;
    gateway
}

/// A request that a client has sent through the proxy.
fn of(client: &str, request: Request) -> Request {
    // What stands left of its address is its own word.
    request.header(FORWARDED, &format!("198.51.100.9, {client}"))
}

fn publish(topic: &str) -> Request {
    Request::publish(topic, "text/plain", "x")
}

/// Checks that a limit of one sender was told, and returns the seconds to wait.
#[track_caller]
fn is_limited(answer: &Answer, flag: &str) -> u32 {
    let detail = answer.problem(429);
    assert!(detail.contains(flag), "{detail}");
    answer.header("retry-after").unwrap_or_else(|| panic!("no time to wait: {answer:?}")).parse().unwrap()
}

async fn metric(gateway: &Gateway, name: &str) -> Option<u32> {
    let metrics = Request::get("/metrics").send(gateway.address()).await.text();
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

async fn limited(gateway: &Gateway, what: &str) -> Option<u32> {
    metric(gateway, &format!("postern_limited_total{{what=\"{what}\"}}")).await
}

/// Waits until so many polls and streams are held.
async fn holds(gateway: &Gateway, count: u32) {
    eventually_eq(SOON, "polls held", Some(count), async || metric(gateway, "postern_polls_held").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_come_at_a_pace_and_in_bursts() {
    let gateway = gateway(Broker::Embedded, &["--publish-rate", "1", "--publish-burst", "3"]).await;
    let (topic, address) = (unique("burst"), gateway.address());
    for client in [GREEDY, CUSTOMER[0]] {
        let refused = eventually(SOON, "a publish too many", async || {
            let answer = of(client, publish(&topic)).send(address).await;
            if answer.status == 202 { Err(answer) } else { Ok(answer) }
        })
        .await;
        assert!((1..=2).contains(&is_limited(&refused, "--publish-rate")), "{refused:?}");
        // Its body was not read.
        assert_eq!(refused.header("connection"), Some("close"));
    }
    assert!(limited(&gateway, "publishes").await >= Some(2));
    let answer = of(CUSTOMER[1], publish(&topic)).send(address).await;
    assert_eq!(answer.status, 429, "one customer has many addresses: {answer:?}");
    of(HONEST, publish(&topic)).send(address).await.expect_status(202);
    // A program on this machine, and what is no publish.
    for _ in 0..10 {
        publish(&topic).send(address).await.expect_status(202);
        of(GREEDY, Request::get(&format!("/topics/{topic}/events?wait=0"))).send(address).await.expect_status(200);
    }
    // The time is over at some point.
    let answered = async || of(GREEDY, publish(&topic)).send(address).await.status;
    eventually_eq(SOON, "the next publish", 202, answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_says_of_itself_does_not_count() {
    let gateway = gateway(Broker::Embedded, &["--publish-rate", "1", "--publish-burst", "1"]).await;
    let (topic, sent) = (unique("spoofed"), AtomicU32::new(0));
    eventually(SOON, "a publish too many", async || {
        let claimed = format!("198.51.100.{}, {GREEDY}", sent.fetch_add(1, Ordering::Relaxed) % 250);
        let answer = publish(&topic).header(FORWARDED, &claimed).send(gateway.address()).await;
        if answer.status == 429 { Ok(()) } else { Err(answer) }
    })
    .await;
}

on_both_brokers!(polls_and_streams_are_held_for_one_client_up_to_its_maximum);
async fn polls_and_streams_are_held_for_one_client_up_to_its_maximum(broker: Broker) {
    let gateway = gateway(broker, &["--max-polls-per-peer", "2"]).await;
    let (topic, address) = (unique("held"), gateway.address());
    let feed = format!("/topics/{topic}/events");
    let poll = |client: &str| Poll::of(client).topics(&topic).wait(55);
    let mine = unique("mine");
    of(GREEDY, poll(&mine).wait(0).request()).send(address).await.expect_status(204);
    let mut held = HttpConnection::open(address).await;
    held.send(&of(GREEDY, poll(&mine).request()).bytes()).await;
    let streaming = of(GREEDY, Request::get(&feed));
    let stream = EventStream::open_with(address, streaming.clone(), "").await.unwrap();
    holds(&gateway, 2).await;
    let refused = of(GREEDY, Request::get(&format!("{feed}?wait=0"))).send(address).await;
    assert!((1..=5).contains(&is_limited(&refused, "--max-polls-per-peer")), "{refused:?}");
    let other = of(GREEDY, poll(&unique("other")).request());
    is_limited(&other.send(address).await, "--max-polls-per-peer");
    // A stream is told in its own way: an `EventSource` would give up.
    for request in [streaming.clone(), other] {
        let told = request.header("accept", "text/event-stream").send(address).await.expect_status(200);
        assert!(told.text().starts_with("retry: "), "{told:?}");
    }
    assert!(limited(&gateway, "polls").await >= Some(4));
    of(HONEST, poll(&unique("honest")).wait(0).request()).send(address).await.expect_status(204);
    Request::get(&format!("{feed}?wait=0")).send(address).await.expect_status(204);
    // A place is free when one leaves.
    stream.close().await;
    let after = async || of(GREEDY, Request::get(&format!("{feed}?wait=0"))).send(address).await.status;
    eventually_eq(SOON, "a free place", 204, after).await;
    of(HONEST, publish(&topic)).send(address).await.expect_status(202);
    held.answer().await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_2_each_request_counts_for_its_own_client() {
    let gateway = gateway(Broker::Embedded, &["--max-polls-per-peer", "1"]).await;
    let connection = std::sync::Arc::new(Http2Connection::open(gateway.address()).await);
    let feed = format!("/topics/{}/events", unique("held"));
    let mut held = JoinSet::new();
    let (same, path) = (connection.clone(), format!("{feed}?wait=55"));
    held.spawn(async move { same.send("GET", &path, &[(FORWARDED, GREEDY)], "").await });
    let ask = async |client: &str| {
        let answer = connection.send("GET", &format!("{feed}?wait=0"), &[(FORWARDED, client)], "").await;
        answer.status().as_u16()
    };
    holds(&gateway, 1).await;
    assert_eq!((ask(GREEDY).await, ask(HONEST).await), (429, 204));
    let answer = connection.send("POST", &feed, &[("content-type", "text/plain"), (FORWARDED, HONEST)], "x").await;
    assert_eq!(answer.status(), 202);
    drop(answer.into_body().collect().await);
    assert_eq!(held.join_next().await.unwrap().unwrap().status(), 200);
}

on_both_brokers!(mailboxes_are_made_up_to_a_maximum_and_those_that_are_there_are_used_as_before);
async fn mailboxes_are_made_up_to_a_maximum_and_those_that_are_there_are_used_as_before(broker: Broker) {
    let gateway = gateway(broker, &["--mailbox-rate", "1", "--mailbox-burst", "3", "--linger", "0s"]).await;
    let (topic, address) = (unique("made"), gateway.address());
    let poll = |client: &str| Poll::of(client).topics(&topic).wait(0).request();
    let bind = |client: &str| Request::new("PUT", &format!("/clients/{client}/topics/{topic}"));
    let clients: Vec<_> = (0..3).map(|_| unique("mine")).collect();
    of(GREEDY, bind(&clients[0])).send(address).await.expect_status(204);
    of(GREEDY, poll(&clients[1])).send(address).await.expect_status(204);
    let look = |client: &str| Request::get(&format!("/clients/{client}"));
    let stream = EventStream::open_with(address, of(GREEDY, poll(&clients[2])), "").await.unwrap();
    // It has begun before its mailbox is there.
    eventually_eq(SOON, "the mailbox", 200, async || look(&clients[2]).send(address).await.status).await;
    stream.close().await;
    // Those are there, with a Session or without.
    for client in clients.iter().chain(&clients) {
        of(GREEDY, bind(client)).send(address).await.expect_status(204);
        of(GREEDY, poll(client)).send(address).await.expect_status(204);
    }
    let fourth = unique("fourth");
    for request in [poll(&fourth), bind(&fourth)] {
        // One an hour is far off.
        let wait = is_limited(&of(GREEDY, request).send(address).await, "--mailbox-rate");
        assert!((60..=3601).contains(&wait), "{wait}");
    }
    let told = of(GREEDY, poll(&fourth)).header("accept", "text/event-stream").send(address).await.expect_status(200);
    let retry: u32 = told.text().strip_prefix("retry: ").and_then(|rest| rest.trim().parse().ok()).unwrap();
    assert!(retry > 60_000, "{told:?}");
    assert_eq!(look(&fourth).send(address).await.status, 404, "nothing was made");
    assert_eq!(limited(&gateway, "mailboxes").await, Some(3));
    of(HONEST, poll(&unique("honest"))).send(address).await.expect_status(204);
    poll(&unique("here")).send(address).await.expect_status(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_guesses_is_slowed_down() {
    let gateway = gateway(Broker::Embedded, &["--failure-rate", "2", "--allow-origin", "https://app.example"]).await;
    let address = gateway.address();
    let guess = || Request::get(&format!("/clients/{}", unique("guess")));
    // What a page of another origin has a browser send is not the client's fault.
    for _ in 0..10 {
        let foreign = of(GREEDY, guess()).header("origin", "https://evil.example");
        foreign.send(address).await.problem(403);
    }
    let mine = unique("mine");
    let poll = Poll::of(&mine).topics("a").wait(0).request();
    of(GREEDY, poll.clone()).send(address).await.expect_status(204);
    for _ in 0..2 {
        of(GREEDY, guess()).send(address).await.problem(404);
    }
    for request in [guess(), poll.clone(), Request::new("PUT", &format!("/clients/{mine}/topics/b"))] {
        let wait = is_limited(&of(GREEDY, request).send(address).await, "--failure-rate");
        assert!((1..=31).contains(&wait), "{wait}");
    }
    let told = of(GREEDY, poll).header("accept", "text/event-stream").send(address).await.expect_status(200);
    assert!(told.text().starts_with("retry: "), "{told:?}");
    assert_eq!(limited(&gateway, "failures").await, Some(4));
    // What is not for a mailbox goes on, and so do the others.
    let topic = unique("jobs");
    of(GREEDY, publish(&topic)).send(address).await.expect_status(202);
    of(GREEDY, Request::get(&format!("/topics/{topic}/events?wait=0"))).send(address).await.expect_status(200);
    of(HONEST, guess()).send(address).await.problem(404);
    for _ in 0..10 {
        guess().send(address).await.problem(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn zero_is_no_limit() {
    let flags = ["publish-rate", "mailbox-rate", "failure-rate", "max-polls-per-peer", "max-polls-per-token"];
    let flags: Vec<_> = flags.iter().flat_map(|flag| [format!("--{flag}"), "0".to_owned()]).collect();
    let gateway = gateway(Broker::Embedded, &flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (topic, address) = (unique("free"), gateway.address());
    let mut connection = HttpConnection::open(address).await;
    for _ in 0..250 {
        connection.request(&of(GREEDY, publish(&topic))).await.expect_status(202);
        connection.request(&of(GREEDY, Request::get(&format!("/clients/{}", unique("guess"))))).await.problem(404);
    }
    for _ in 0..40 {
        let poll = Poll::of(&unique("mine")).topics(&topic).wait(0).request();
        connection.request(&of(GREEDY, poll)).await.expect_status(204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_http_2_carries_so_many_requests_at_once() {
    for (flags, most) in [(&[][..], Some(100)), (&["--max-streams", "7"], Some(7)), (&["--max-streams", "0"], None)] {
        let gateway = gateway(Broker::Embedded, flags).await;
        let mut connection = HttpConnection::open(gateway.address()).await;
        connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
        let (mut stream, mut bytes) = connection.into_parts();
        // The settings come first (RFC 9113, section 3.4): 9 bytes that begin with their length, then 6 for each.
        while bytes.len() < 9 || bytes.len() < 9 + usize::from(bytes[2]) {
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the gateway left");
        }
        let settings = &bytes[9..9 + usize::from(bytes[2])];
        // SETTINGS_MAX_CONCURRENT_STREAMS (section 6.5.2).
        let found = settings.chunks(6).find(|setting| setting[..2] == [0, 3]);
        let told = found.map(|setting| u32::from_be_bytes(setting[2..].try_into().unwrap()));
        assert_eq!(told, most, "{flags:?}");
    }
}

on_both_brokers!(an_honest_client_beside_one_that_takes_everything_is_never_refused);
async fn an_honest_client_beside_one_that_takes_everything_is_never_refused(broker: Broker) {
    const ROUNDS: u32 = 20;
    let gateway =
        gateway(broker, &["--max-polls-per-peer", "8", "--publish-rate", "20", "--publish-burst", "50"]).await;
    let (topic, address) = (unique("shared"), gateway.address());
    let mut greed = JoinSet::new();
    for _ in 0..2 {
        let topic = topic.clone();
        greed.spawn(async move {
            let mut connection = HttpConnection::open(address).await;
            loop {
                for request in [
                    publish(&topic),
                    Request::get(&format!("/clients/{}", unique("guess"))),
                    Poll::of(&unique("greedy")).topics(&format!("{topic}.#")).wait(0).request(),
                    Request::get(&format!("/topics/{topic}/events?wait=0")),
                ] {
                    let answer = connection.request(&of(GREEDY, request)).await;
                    if answer.header("connection") == Some("close") {
                        connection = HttpConnection::open(address).await;
                    }
                }
                // And polls that it never takes back.
                let mut held = HttpConnection::open(address).await;
                let poll = Poll::of(&unique("greedy")).topics("greedy").wait(55);
                held.send(&of(GREEDY, poll.request()).bytes()).await;
                tokio::spawn(async move { held.answer().await });
            }
        });
    }
    eventually(SOON, "greed to be refused", async || match limited(&gateway, "polls").await {
        Some(1..) => Ok(()),
        other => Err(other),
    })
    .await;
    let own = format!("{topic}.honest");
    let mut poll = Poll::of(&unique("honest")).topics(&own).wait(0);
    let mut connection = HttpConnection::open(address).await;
    connection.request(&of(HONEST, poll.request())).await.expect_status(204);
    for _ in 0..ROUNDS {
        connection.request(&of(HONEST, publish(&own))).await.expect_status(202);
        let batch = connection.request(&of(HONEST, poll.clone().wait(30).request())).await.batch();
        assert_eq!(batch.events.len(), 1);
        poll = poll.last_seen(&batch.last_seen);
    }
    greed.shutdown().await;
}
