//! Which answers a shared cache may keep: each rule of `docs/src/feed-cache.md`, without a cache and behind those of `deploy/`.

use std::{net::SocketAddr, time::Duration};

use postern_tests::{
    Answer, Broker, EventStream, Gateway, GatewayBuilder, HttpConnection, Poll, Proxy, ProxyProgram, Request,
    on_both_brokers, unique,
};
use serde_json::json;

use super::{cached, polls, publish};
use crate::access::World;

const LONG: &str = "public, max-age=0, s-maxage=60";
const SHORT: &str = "public, max-age=0, s-maxage=1";

async fn gateway(broker: Broker, flags: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Gateway {
    let gateway = flags(cached(broker.gateway_with_log().await)).start().await;
    gateway.wait_ready().await;
    gateway
}

fn poll(topic: &str, query: &str) -> Request {
    Request::get(&format!("/topics/{topic}/events?{query}"))
}

async fn get(at: SocketAddr, topic: &str, query: &str) -> Answer {
    poll(topic, query).send(at).await
}

fn place(answer: &Answer) -> String {
    answer.header("last-seen").expect("the answer has the place").to_owned()
}

fn kept(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status, answer.header("cache-control"))
}

/// Publishes one event, and returns the place before it and the one after it, as a reader of all gets them.
pub(super) async fn between(gateway: &Gateway, topic: &str, number: usize) -> (String, String) {
    publish(gateway, topic, number).await;
    let before = place(&get(gateway.address(), topic, "wait=5").await.expect_status(200));
    publish(gateway, topic, number + 1).await;
    (
        before.clone(),
        place(&get(gateway.address(), topic, &format!("wait=5&last_seen={before}")).await.expect_status(200)),
    )
}

on_both_brokers!(an_answer_that_depends_on_its_url_alone_may_be_kept);
async fn an_answer_that_depends_on_its_url_alone_may_be_kept(broker: Broker) {
    let gateway = gateway(broker, |builder| builder).await;
    let (at, topic) = (gateway.address(), unique("kept"));
    let (before, after) = between(&gateway, &topic, 0).await;
    let answer = get(at, &topic, &format!("last_seen={before}")).await;
    assert_eq!(kept(&answer), (200, Some(LONG)));
    assert_eq!(answer.batch().numbers("n"), [1]);
    // A browser that has a tag asks with it again, and a tag is a place, at which its poll would be held.
    assert_eq!((answer.header("etag"), answer.header("vary")), (None, Some("accept, last-event-id")));
    for query in ["", "wait=0", "last_seen=oldest", "last_seen=now&wait=0", "last_seen="] {
        let answer = get(at, &topic, query).await;
        assert_eq!(answer.header("cache-control"), Some(SHORT), "{query}");
        assert_eq!(answer.header("vary"), Some("accept, last-event-id, if-none-match"), "{query}");
    }
    // A poll that is not held asks the same again for news.
    let short = get(at, &topic, &format!("wait=0&last_seen={after}")).await;
    assert_eq!((kept(&short), place(&short)), ((204, Some(SHORT)), after));
}

on_both_brokers!(what_is_for_one_client_is_not_kept);
async fn what_is_for_one_client_is_not_kept(broker: Broker) {
    let gateway = gateway(broker, |builder| builder).await;
    let (at, topic) = (gateway.address(), unique("own"));
    let (before, _) = between(&gateway, &topic, 0).await;
    let place = format!("last_seen={before}");
    for (name, value) in
        [("last-event-id", &*before), ("if-none-match", "\"x\""), ("authorization", "Basic eDp5"), ("cookie", "a=b")]
    {
        for query in ["wait=0", &*place] {
            let answer = poll(&topic, query).header(name, value).send(at).await;
            assert_eq!(kept(&answer), (200, Some("no-store")), "{name}, {query}");
            assert!(answer.header("etag").is_some());
        }
    }
    let folded = get(at, &topic, &format!("{place}&fold=latest")).await;
    assert_eq!(kept(&folded), (200, Some("no-store")));
    let reset = get(at, &topic, "last_seen=of-another-log").await;
    assert_eq!((kept(&reset), reset.batch().reset), ((200, Some("no-store")), true));
    let wrong = get(at, &topic, "last_seen=now&wait=x").await;
    assert_eq!(kept(&wrong), (400, Some("no-store")));
    let mailbox = Poll::of(&unique("alice")).topics(&topic).wait(0).send(&gateway).await;
    assert_eq!(kept(&mailbox), (204, Some("no-store")));
    let streamed = poll(&topic, &place).header("accept", "text/event-stream").bytes();
    let mut stream = HttpConnection::open(at).await;
    stream.send(&streamed).await;
    assert_eq!(stream.head().await.header("cache-control"), Some("no-store, no-transform"));
}

on_both_brokers!(all_who_wait_at_one_place_are_sent_to_the_same_next_slot);
async fn all_who_wait_at_one_place_are_sent_to_the_same_next_slot(broker: Broker) {
    let gateway = gateway(broker, |builder| builder).await;
    let (at, topic) = (gateway.address(), unique("slots"));
    let (_, after) = between(&gateway, &topic, 0).await;
    let hold = async |place: &str| {
        let mut connection = HttpConnection::open(at).await;
        connection.send(&poll(&topic, &format!("wait=3&last_seen={place}")).bytes()).await;
        connection
    };
    // In the same slot from its beginning on.
    let next = place(&hold(&after).await.answer().await);
    // The second one comes as one that a cache asks after it has forgotten the first.
    let (mut first, mut second) = (hold(&next).await, hold(&next).await);
    assert!(first.is_silent(Duration::from_millis(300)).await);
    let mut third = hold(&next).await;
    let answers = [first.answer().await, second.answer().await, third.answer().await];
    let places = answers.each_ref().map(place);
    assert_eq!(answers.each_ref().map(kept), [(204, Some(LONG)); 3]);
    assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
    assert!(
        places[0] != next && next.starts_with(&after) && places[0].starts_with(&after),
        "{after}, {next}, {places:?}"
    );
    // An old slot is not waited for: all who come with one are sent to the same one.
    let old = get(at, &topic, &format!("wait=3&last_seen={after}~1")).await;
    let far = get(at, &topic, &format!("wait=3&last_seen={after}~999999999999999")).await;
    assert_eq!((kept(&old), place(&old)), ((204, Some(LONG)), place(&far)));
    // A slot changes nothing in what comes after its place.
    publish(&gateway, &topic, 2).await;
    for place in [&after, &next, &places[0]] {
        assert_eq!(get(at, &topic, &format!("last_seen={place}")).await.batch().numbers("n"), [2], "{place}");
        let header = poll(&topic, "").header("last-event-id", place).send(at).await;
        assert_eq!(header.batch().numbers("n"), [2], "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_ends_sends_its_clients_on_to_another_url() {
    let gateway = gateway(Broker::Embedded, |builder| builder).await;
    let topic = unique("ends");
    let (_, after) = between(&gateway, &topic, 0).await;
    let mut held = HttpConnection::open(gateway.address()).await;
    held.send(&poll(&topic, &format!("wait=50&last_seen={after}")).bytes()).await;
    assert!(held.is_silent(Duration::from_millis(300)).await);
    gateway.terminate();
    let answer = held.answer().await;
    assert_eq!(kept(&answer), (204, Some(LONG)));
    assert!(place(&answer).starts_with(&format!("{after}~")), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_answer_depends_on_the_origin_only_where_some_are_named() {
    let vary = async |flags: &[&str], origin: Option<&str>| {
        let gateway = gateway(Broker::Embedded, |builder| {
            flags.iter().fold(builder, |builder, origin| builder.flag("--allow-origin", *origin))
        });
        let gateway = gateway.await;
        let request = poll("a", "wait=0&last_seen=oldest");
        let request = origin.map_or(request.clone(), |origin| request.header("origin", origin));
        let answer = request.send(gateway.address()).await;
        let lines = answer.head.headers.iter().filter(|(name, _)| name == "vary").count();
        // nginx heeds only one of several lines before 1.23.
        assert_eq!((kept(&answer), lines), ((204, Some(SHORT)), 1));
        let allowed = answer.header("access-control-allow-origin").map(str::to_owned);
        (answer.header("vary").unwrap().ends_with(", origin"), allowed)
    };
    let (page, star) = ("https://app.example", Some("*".to_owned()));
    assert_eq!(vary(&[], None).await, (false, None));
    assert_eq!(vary(&["*"], None).await, (false, star.clone()));
    assert_eq!(vary(&["*"], Some(page)).await, (false, star));
    assert_eq!(vary(&[page], None).await, (true, None));
    assert_eq!(vary(&[page], Some(page)).await, (true, Some(page.to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tokens_only_what_is_public_may_be_kept() {
    let world = World::with(Broker::Embedded, |builder| cached(builder).flag("--anonymous-read", "public.#")).await;
    world.publish("public.a", "{\"n\":1}").await;
    let at = world.gateway.address();
    assert_eq!(kept(&get(at, "public.a", "").await), (200, Some(SHORT)));
    let bearer = world.bearer(&json!({"sub": "alice", "postern": {"read": ["#"]}}));
    let own = poll("public.a", "").header("authorization", &bearer).send(at).await;
    assert_eq!(kept(&own), (200, Some("no-store")));
    assert_eq!(kept(&get(at, "secret.a", "wait=0").await), (401, Some("no-store")));
}

/// What the cache must not answer from what it keeps, it asks the gateway for.
async fn keeps_apart_what_is_for_one_client(program: ProxyProgram) {
    let gateway = gateway(Broker::Embedded, |builder| builder).await;
    let cache = Proxy::start_cache(program, &[gateway.address()]).await;
    let (at, topic) = (cache.address(), unique("apart"));
    let (before, after) = between(&gateway, &topic, 0).await;
    let url = format!("last_seen={before}");
    let mut asked = polls(&gateway).await;
    let mut polled = async || {
        let now = polls(&gateway).await;
        now - std::mem::replace(&mut asked, now)
    };
    for accept in ["application/json", "*/*", "application/json;q=0.5, text/html"] {
        let answer = poll(&topic, &url).header("accept", accept).send(at).await;
        assert_eq!((kept(&answer), answer.batch().numbers("n")), ((200, Some(LONG)), vec![1]));
    }
    assert_eq!(polled().await, 1, "polls for three clients with one URL");
    for (name, value) in [("cookie", "a=b"), ("authorization", "Basic eDp5")] {
        assert_eq!(kept(&poll(&topic, &url).header(name, value).send(at).await), (200, Some("no-store")), "{name}");
    }
    assert_eq!(kept(&get(at, &topic, &format!("{url}&fold=latest")).await), (200, Some("no-store")));
    assert_eq!(polled().await, 3);

    // The newest event is kept for a moment, under a URL without a place. What comes after a place in a header is another.
    get(at, &topic, "wait=0").await.expect_status(200);
    for (name, value) in [("last-event-id", after.clone()), ("if-none-match", format!("\"{after}\""))] {
        let answer = poll(&topic, "wait=0").header(name, &value).send(at).await;
        let status = if name == "if-none-match" { 304 } else { 204 };
        assert_eq!(kept(&answer), (status, Some("no-store")), "{name}");
    }
    let mut stream = EventStream::open(at, &format!("/topics/{topic}/events?{url}"), "").await;
    assert_eq!(stream.take(1).await[0].number("n"), 1);
    publish(&gateway, &topic, 2).await;
    assert_eq!(stream.take(1).await[0].number("n"), 2);
    assert_eq!(get(at, &topic, &format!("last_seen={after}")).await.batch().numbers("n"), [2]);
    let mailbox = format!("/clients/{}/events?topics={topic}&wait=0", unique("alice"));
    assert_eq!(kept(&Request::get(&mailbox).send(at).await), (204, Some("no-store")));
    Request::publish(&topic, "text/plain", "x").send(at).await.expect_status(202);
    for path in ["/metrics", "/live", "/ready?feeds"] {
        assert_eq!(Request::get(path).send(at).await.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn varnish_keeps_apart_what_is_for_one_client() {
    keeps_apart_what_is_for_one_client(ProxyProgram::Varnish).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_keeps_apart_what_is_for_one_client() {
    keeps_apart_what_is_for_one_client(ProxyProgram::Nginx).await;
}
