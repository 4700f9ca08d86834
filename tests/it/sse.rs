//! Server-Sent Events: what a plain `EventSource` gets from both rows of `/events`.

use std::{net::SocketAddr, time::Duration};

use postern_tests::{
    Broker, Browser, EventStream, Gateway, GatewayBuilder, HttpConnection, PATIENCE, RabbitNode, Request, StreamEvent,
    World, eventually_eq, on_both_brokers, unique,
};
use rand::random_range;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

fn numbers(events: &[StreamEvent]) -> Vec<u64> {
    events.iter().map(|event| event.number("n")).collect()
}

/// The stream of a world's client, as its page opens it for ever.
fn mailbox(world: &World) -> String {
    format!("/clients/{}/events?topics={}.%23", world.client, world.topic)
}

async fn open(world: &World, last_id: &str) -> EventStream {
    EventStream::open(world.gateway.address(), &mailbox(world), last_id).await
}

on_both_brokers!(a_stream_brings_events_as_they_come_and_confirms_by_coming_back);
async fn a_stream_brings_events_as_they_come_and_confirms_by_coming_back(broker: Broker) {
    let world = World::with(broker, |builder| builder.flag("--window", "4")).await;
    let mut stream = open(&world, "").await;
    for number in 0..3 {
        world.backend.publish_numbered(&world.topic, number..number + 1).await;
        let event = stream.next().await.unwrap();
        assert_eq!((event.number("n"), event.kind.as_str(), event.redelivered()), (number, "message", false));
    }
    // The fourth fills the window: nothing more can come before something is confirmed.
    world.backend.publish_numbered(&world.topic, 3..6).await;
    assert_eq!(numbers(&stream.take(1).await), [3]);
    stream.end().await;
    assert_eq!(stream.retry, Some(Duration::from_millis(100)));

    let mut again = open(&world, &stream.last_id).await;
    let rest = again.take(2).await;
    assert_eq!((numbers(&rest), rest.iter().any(StreamEvent::redelivered)), (vec![4, 5], false));
    // An id in the middle confirms up to it.
    let after_four = rest[0].id.clone();
    again.close().await;
    world.is_back(2).await;
    let mut once_more = open(&world, &after_four).await;
    let five = once_more.next().await.unwrap();
    assert_eq!((five.number("n"), five.redelivered()), (5, true));
}

on_both_brokers!(a_stream_ends_to_be_confirmed_before_long);
async fn a_stream_ends_to_be_confirmed_before_long(broker: Broker) {
    let world = World::new(broker).await;
    let mut stream = open(&world, "").await;
    world.backend.publish_numbered(&world.topic, 0..1).await;
    assert_eq!(numbers(&stream.take(1).await), [0]);
    timeout(Duration::from_secs(40), stream.end()).await.expect("20 s after the event");
    assert_eq!(stream.retry, Some(Duration::from_millis(100)));
    let mut again = open(&world, &stream.last_id).await;
    world.backend.publish_numbered(&world.topic, 1..2).await;
    assert_eq!(numbers(&again.take(1).await), [1]);
}

on_both_brokers!(a_stream_that_is_hung_up_on_gives_everything_back_at_once);
async fn a_stream_that_is_hung_up_on_gives_everything_back_at_once(broker: Broker) {
    let world = World::with(broker, |builder| builder.flag("--linger", "60s")).await;
    let mut stream = open(&world, "").await;
    world.backend.publish_numbered(&world.topic, 0..3).await;
    assert_eq!(numbers(&stream.take(3).await), [0, 1, 2]);
    stream.close().await;
    world.is_back(3).await;
    let batch = world.poll().send(&world.gateway).await.batch();
    assert_eq!(batch.numbers("n"), [0, 1, 2]);
    assert!(batch.events.iter().all(|event| event.redelivered));
}

on_both_brokers!(the_newest_stream_wins_and_the_other_does_not_fight);
async fn the_newest_stream_wins_and_the_other_does_not_fight(broker: Broker) {
    let world = World::new(broker).await;
    let mut first = open(&world, "").await;
    world.backend.publish_numbered(&world.topic, 0..1).await;
    assert_eq!(numbers(&first.take(1).await), [0]);
    let mut second = open(&world, "").await;
    let replaced = first.next().await.unwrap();
    assert_eq!((replaced.kind.as_str(), first.retry), ("replaced", Some(Duration::from_hours(24))), "{replaced:?}");
    first.end().await;
    let again = second.next().await.unwrap();
    assert_eq!((again.number("n"), again.redelivered()), (0, true));
    world.backend.publish_numbered(&world.topic, 1..2).await;
    assert_eq!(numbers(&second.take(1).await), [1]);
    // A long-poll takes part in the same order of precedence.
    let batch = world.poll().last_seen(&second.last_id).wait(1).send(&world.gateway).await;
    batch.expect_status(204);
    assert_eq!(second.next().await.unwrap().kind, "replaced");
}

on_both_brokers!(a_deleted_mailbox_is_told_with_a_reset);
async fn a_deleted_mailbox_is_told_with_a_reset(broker: Broker) {
    let world = World::new(broker).await;
    let mut stream = open(&world, "").await;
    world.backend.publish_numbered(&world.topic, 0..1).await;
    assert_eq!(numbers(&stream.take(1).await), [0]);
    let delete = Request::new("DELETE", &format!("/clients/{}", world.client));
    delete.send(world.gateway.address()).await.expect_status(204);
    stream.end().await;
    assert!(stream.retry >= Some(Duration::from_secs(1)), "{:?}", stream.retry);

    let mut again = open(&world, &stream.last_id).await;
    let reset = again.next().await.unwrap();
    assert_eq!((reset.kind.as_str(), &reset.data["reset"]), ("reset", &true.into()));
    world.backend.publish_numbered(&world.topic, 1..2).await;
    assert_eq!(numbers(&again.take(1).await), [1]);
    again.close().await;
    // Its id confirms the telling alone.
    world.is_back(2).await;
    let mut told = open(&world, &reset.id).await;
    assert_eq!(numbers(&told.take(1).await), [1]);
}

on_both_brokers!(what_does_not_pass_by_itself_is_an_error);
async fn what_does_not_pass_by_itself_is_an_error(broker: Broker) {
    let gateway = broker.gateway().await.start().await;
    gateway.wait_ready().await;
    for (path, status) in [
        ("/clients/never-polled/events", 404),
        ("/clients/alice/events?topics=a..b", 400),
        ("/topics/a/events?last_seen=a%20b", 400),
    ] {
        let answer = Request::get(path).header("accept", "text/event-stream").send(gateway.address()).await;
        answer.problem(status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_1_0_knows_that_the_end_of_a_stream_is_that_of_its_connection() {
    let world = World::new(Broker::Embedded).await;
    let keep_alive = "HTTP/1.0\r\nhost: localhost\r\nconnection: keep-alive\r\n";
    for path in [mailbox(&world), format!("/topics/{}/events", world.topic)] {
        let mut stream = HttpConnection::open(world.gateway.address()).await;
        stream.send(format!("GET {path} {keep_alive}accept: text/event-stream\r\n\r\n").as_bytes()).await;
        let head = stream.head().await;
        assert_eq!((head.status, head.header("connection"), head.header("keep-alive")), (200, Some("close"), None));
        assert_eq!((head.header("transfer-encoding"), head.header("content-length")), (None, None));
    }
    // So does one that refuses a request whose body it does not read.
    let mut refused = HttpConnection::open(world.gateway.address()).await;
    refused.send(format!("GET /live {keep_alive}content-length: 1\r\n\r\n").as_bytes()).await;
    assert_eq!(refused.answer().await.expect_status(400).header("connection"), Some("close"));
    // An answer that tells its length leaves the connection as it is.
    let mut connection = HttpConnection::open(world.gateway.address()).await;
    for _ in 0..2 {
        connection.send(format!("GET /live {keep_alive}\r\n").as_bytes()).await;
        let answer = connection.answer().await.expect_status(200);
        assert_eq!(
            (answer.header("connection"), answer.header("keep-alive")),
            (Some("keep-alive"), Some("timeout=75"))
        );
    }
}

/// A stream that says nothing but when to come back.
async fn comes_back_later(gateway: &Gateway, path: &str) {
    let mut stream = EventStream::open(gateway.address(), path, "").await;
    stream.end().await;
    assert!(stream.retry >= Some(Duration::from_secs(1)), "{:?}", stream.retry);
}

on_both_brokers!(too_many_connections_are_told_to_come_back);
async fn too_many_connections_are_told_to_come_back(broker: Broker) {
    let gateway = feed_gateway(broker, |builder| builder.flag("--max-connections", "3")).await;
    let mut served = Vec::new();
    loop {
        let mut stream = EventStream::open(gateway.address(), "/topics/a/events", "").await;
        match timeout(Duration::from_secs(1), stream.next()).await {
            Ok(None) => {
                assert!(stream.retry >= Some(Duration::from_secs(1)), "{:?}", stream.retry);
                break;
            }
            Ok(event) => panic!("{event:?}"),
            Err(_) => served.push(stream),
        }
        assert!(served.len() <= 3, "more than three are served");
    }
}

on_both_brokers!(a_gateway_that_ends_tells_its_streams_to_come_back);
async fn a_gateway_that_ends_tells_its_streams_to_come_back(broker: Broker) {
    let mut gateway = feed_gateway(broker, |builder| builder).await;
    // A stream has begun before its mailbox is there for certain.
    Request::get("/clients/alice/events?topics=a&wait=0").send(gateway.address()).await.expect_status(204);
    let mut feed = EventStream::open(gateway.address(), "/topics/a/events", "").await;
    let mut mailbox = EventStream::open(gateway.address(), "/clients/alice/events?topics=a", "").await;
    publish(&gateway, "a", 0..1).await;
    assert_eq!((numbers(&feed.take(1).await), numbers(&mailbox.take(1).await)), (vec![0], vec![0]));
    gateway.terminate();
    for stream in [&mut feed, &mut mailbox] {
        stream.end().await;
        assert!(stream.retry >= Some(Duration::from_secs(1)), "{:?}", stream.retry);
    }
    assert!(gateway.wait_exit(Duration::from_secs(20)).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_its_broker_tells_streams_to_come_back() {
    let mut node = RabbitNode::start().await;
    let gateway = Gateway::builder().amqp_url(&node.url()).with_feed().start().await;
    gateway.wait_ready().await;
    let mut open = EventStream::open(gateway.address(), "/clients/alice/events?topics=a", "").await;
    node.kill9();
    open.end().await;
    assert!(open.retry >= Some(Duration::from_secs(1)), "{:?}", open.retry);
    gateway.wait_answer("/ready", 503, Duration::from_secs(30)).await;
    comes_back_later(&gateway, "/clients/alice/events?topics=a").await;
    comes_back_later(&gateway, "/topics/a/events").await;
}

/// A gateway with a log of its own.
async fn feed_gateway(broker: Broker, flags: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Gateway {
    let builder = broker.gateway_with_log().await;
    let gateway = flags(builder).start().await;
    gateway.wait_ready().await;
    gateway
}

async fn publish(gateway: &Gateway, topic: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let publish = Request::publish(topic, "application/json", format!("{{\"n\":{number}}}"));
        publish.send(gateway.address()).await.expect_status(202);
    }
}

/// Waits until the feed of a topic begins with this number: a gateway reads RabbitMQ's stream at its own pace.
async fn is_newest(gateway: &Gateway, topic: &str, number: u64) {
    let newest = async || {
        let mut stream = EventStream::open(gateway.address(), &format!("/topics/{topic}/events"), "").await;
        stream.take(1).await[0].number("n")
    };
    eventually_eq(Duration::from_mins(1), "the newest event", number, newest).await;
}

on_both_brokers!(a_feed_streams_its_newest_event_and_then_all_that_come);
async fn a_feed_streams_its_newest_event_and_then_all_that_come(broker: Broker) {
    let gateway = feed_gateway(broker, |builder| builder).await;
    publish(&gateway, "stock.1", 0..3).await;
    is_newest(&gateway, "stock.1", 2).await;
    let mut stream = EventStream::open(gateway.address(), "/topics/stock.*/events", "").await;
    assert_eq!(numbers(&stream.take(1).await), [2]);
    publish(&gateway, "stock.2", 3..6).await;
    let seen = stream.take(3).await;
    assert_eq!(numbers(&seen), [3, 4, 5]);
    stream.close().await;
    // Every id is a place, also one in the middle.
    let mut again = EventStream::open(gateway.address(), "/topics/stock.*/events", &seen[0].id).await;
    assert_eq!(numbers(&again.take(2).await), [4, 5]);
    let mut elsewhere = EventStream::open(gateway.address(), "/topics/stock.*/events?last_seen=elsewhere", "").await;
    assert_eq!(elsewhere.next().await.unwrap().kind, "reset");
    assert_eq!(numbers(&elsewhere.take(2).await), [2, 5]);
}

/// What an `EventSource` still has of the system that was here before.
const FOREIGN_IDS: [&str; 5] = ["urn:uuid:7c4e", "2026-11-27T12:00:00+00:00", "a b", "\u{e4}", "1700000000:0"];

on_both_brokers!(an_id_of_another_system_begins_with_a_reset);
async fn an_id_of_another_system_begins_with_a_reset(broker: Broker) {
    let gateway = feed_gateway(broker, |builder| builder).await;
    publish(&gateway, "a", 0..3).await;
    is_newest(&gateway, "a", 2).await;
    for id in FOREIGN_IDS.into_iter().chain([&*"x".repeat(129)]) {
        let mut feed = EventStream::open(gateway.address(), "/topics/a/events", id).await;
        assert_eq!(feed.next().await.unwrap().kind, "reset", "{id:?}");
        assert_eq!(numbers(&feed.take(1).await), [2], "{id:?}");
        // The mailbox is new, which its client is to know: it has seen something.
        let path = format!("/clients/{}/events?topics=b", unique("moved"));
        let mut mailbox = EventStream::open(gateway.address(), &path, id).await;
        assert_eq!(mailbox.next().await.unwrap().kind, "reset", "{id:?}");
    }
    // A polyfill that cannot send a header sends a parameter.
    let mut feed = EventStream::open(gateway.address(), "/topics/a/events?lastEventId=urn:uuid:7c4e", "").await;
    assert_eq!(feed.next().await.unwrap().kind, "reset");
    let place = feed.take(1).await[0].id.clone();
    publish(&gateway, "a", 3..4).await;
    let mut again = EventStream::open(gateway.address(), &format!("/topics/a/events?lastEventId={place}"), "").await;
    assert_eq!(numbers(&again.take(1).await), [3]);
}

on_both_brokers!(a_quiet_stream_moves_with_the_log);
async fn a_quiet_stream_moves_with_the_log(broker: Broker) {
    let gateway = feed_gateway(broker, |builder| builder).await;
    let mut quiet = EventStream::open(gateway.address(), "/topics/quiet/events?last_seen=now", "").await;
    publish(&gateway, "busy", 0..10).await;
    // No event, but the place: the next look at the clock tells it.
    let waited = timeout(Duration::from_secs(20), quiet.next()).await;
    assert!(waited.is_err(), "{waited:?}");
    assert!(!quiet.last_id.is_empty());
    publish(&gateway, "quiet", 10..11).await;
    assert_eq!(numbers(&quiet.take(1).await), [10]);
}

on_both_brokers!(a_stream_from_now_on_tells_at_once_when_that_is);
async fn a_stream_from_now_on_tells_at_once_when_that_is(broker: Broker) {
    let gateway = feed_gateway(broker, |builder| builder).await;
    let path = "/topics/a/events?last_seen=now";
    let mut lost = EventStream::open(gateway.address(), path, "").await;
    let waited = timeout(Duration::from_secs(5), lost.next()).await;
    assert!(waited.is_err(), "{waited:?}");
    let place = lost.last_id.clone();
    lost.close().await;
    publish(&gateway, "a", 0..3).await;
    let mut again = EventStream::open(gateway.address(), path, &place).await;
    assert_eq!(numbers(&again.take(3).await), [0, 1, 2]);
}

/// Comes back as an `EventSource` does, for ever: `kills` times it dies at random, then only the gateway does.
async fn follow(gateway: SocketAddr, path: &str, until: u64, kills: usize) -> Vec<StreamEvent> {
    let (mut seen, mut last_id, mut kills) = (Vec::new(), String::new(), kills);
    let is_last = |event: &StreamEvent| event.number("n") == until;
    while !seen.last().is_some_and(is_last) || kills > 0 {
        let Ok(mut stream) = EventStream::open_unless_left(gateway, path, &last_id).await else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let lifetime = if kills > 0 { Duration::from_millis(random_range(0..80)) } else { PATIENCE };
        kills = kills.saturating_sub(1);
        let living = async {
            while let Ok(Some(event)) = stream.next_unless_left().await {
                seen.push(event);
                if kills == 0 && seen.last().is_some_and(is_last) {
                    break;
                }
            }
        };
        let _ = timeout(lifetime, living).await;
        last_id.clone_from(&stream.last_id);
    }
    seen
}

/// What [`publish_over_ten_kills`] publishes.
const EVENTS: u64 = 300;

/// Publishes at random moments, and kills and restarts the gateway ten times meanwhile.
async fn publish_over_ten_kills(gateway: &mut Gateway) {
    for number in 0..EVENTS {
        publish(gateway, "a", number..number + 1).await;
        sleep(Duration::from_millis(random_range(0..40))).await;
        if (number + 1) % (EVENTS / 10) == 0 {
            gateway.kill9();
            gateway.start_again().await;
            gateway.wait_ready().await;
        }
    }
}

on_both_brokers!(a_plain_event_source_loses_nothing_over_two_hundred_losses_and_ten_restarts);
async fn a_plain_event_source_loses_nothing_over_two_hundred_losses_and_ten_restarts(broker: Broker) {
    let mut gateway = feed_gateway(broker, |builder| builder).await;
    let poll = Request::get("/clients/alice/events?topics=a&wait=0");
    poll.send(gateway.address()).await.expect_status(204);
    let mailbox = tokio::spawn(follow(gateway.address(), "/clients/alice/events?topics=a", EVENTS - 1, 200));
    let feed = tokio::spawn(follow(gateway.address(), "/topics/a/events?last_seen=oldest", EVENTS - 1, 200));
    publish_over_ten_kills(&mut gateway).await;
    let all: Vec<u64> = (0..EVENTS).collect();
    assert_eq!(numbers(&feed.await.unwrap()), all, "a feed repeats nothing");
    let mut first_seen = Vec::new();
    for event in mailbox.await.unwrap() {
        let number = event.number("n");
        if first_seen.contains(&number) {
            assert!(event.redelivered(), "a repeat says so: {event:?}");
        } else {
            first_seen.push(number);
        }
    }
    assert_eq!(first_seen, all);
}

/// What a page has come to: by reader, what it saw, what was repeated without a mark, and what else it was told.
async fn read_by(browser: &Browser) -> Vec<(Vec<u64>, Value)> {
    let script = "return readers.map(({ seen, unmarked, others, deaths }) => [seen, { unmarked, others, deaths }]);";
    serde_json::from_value(browser.run(script).await).expect("the page's readers")
}

on_both_brokers!(a_page_with_nothing_but_event_source_loses_nothing);
async fn a_page_with_nothing_but_event_source_loses_nothing(broker: Broker) {
    let mut gateway = feed_gateway(broker, |builder| builder).await;
    let poll = Request::get("/clients/alice/events?topics=a&wait=0");
    poll.send(gateway.address()).await.expect_status(204);
    let browser = Browser::start().await;
    browser.open(&format!("http://{}/live", gateway.address())).await;
    browser.run(include_str!("sse/event_source.js")).await;
    publish_over_ten_kills(&mut gateway).await;
    let quiet = json!({ "unmarked": [], "others": [], "deaths": 200 });
    let all: Vec<u64> = (0..EVENTS).collect();
    let expected = vec![(all.clone(), quiet.clone()), (all, quiet)];
    eventually_eq(Duration::from_mins(2), "what the page saw", expected, async || read_by(&browser).await).await;
}
