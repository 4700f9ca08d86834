//! A broker with several addresses: any of them will do, and what happens at one sends both programs to the next.

mod tls;

use std::{net::SocketAddr, time::Duration};

use postern_tests::{
    Finished, Folder, Gateway, Poll, Publisher, RabbitNode, Relay, Request, eventually, eventually_eq, shared_broker,
    shared_node, unique,
};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_mins(1);

/// What a gateway logs before it pauses.
const PAUSES: &str = "cannot connect to the broker";

/// Ports on which nothing listens. A program that begins at one of ten addresses at random nearly always meets one.
const DEAD: [u16; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];

/// Returns a URL at another port.
fn at(url: &str, port: u16) -> String {
    let (user, place) = url.split_once('@').expect("the URL names a user");
    let (_, vhost) = place.split_once('/').expect("the URL names a virtual host");
    format!("{user}@127.0.0.1:{port}/{vhost}")
}

/// Returns the addresses of no broker, and one of a broker.
fn mostly_dead(url: &str) -> Vec<String> {
    DEAD.map(|port| at(url, port)).into_iter().chain([url.to_owned()]).collect()
}

/// Returns how many connections a gateway has to an address: that publish, for tasks, with Leases.
async fn connections(gateway: &Gateway, address: &str) -> [Option<f64>; 3] {
    let text = Request::get("/metrics").send(gateway.address()).await.expect_status(200).text();
    ["publish", "admin", "consume"].map(|kind| {
        let series = format!("postern_broker_connections{{node=\"{address}\",kind=\"{kind}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
    })
}

/// Waits until a gateway has all of its connections at one address.
async fn wait_at(gateway: &Gateway, address: SocketAddr) {
    let expected = [Some(1.0), Some(1.0), Some(2.0)];
    let found = async || connections(gateway, &address.to_string()).await;
    eventually_eq(PATIENCE, &format!("the connections to {address}"), expected, found).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_without_a_broker_give_way_to_the_next_without_a_pause() {
    let broker = shared_broker().await;
    let urls = mostly_dead(broker.url());
    let folder = Folder::new("addresses");
    let file = folder.write("amqp-url", &format!("{}\n", urls.join("\n")));
    let flags = |urls: &[String]| urls.iter().fold(Gateway::builder(), |builder, url| builder.amqp_url(url));
    let in_file = Gateway::builder().flag("--amqp-url-file", &file).env("POSTERN_FEED_TOPICS", "no.feed");
    for builder in [flags(&urls), Gateway::builder().env("AMQP_URL", urls.join(" \t")), in_file] {
        let gateway = builder.start().await;
        gateway.wait_ready().await;
        // A pause comes after a round over all addresses, and is told.
        assert_eq!(gateway.log().fields(0, PAUSES), None, "{:#?}", gateway.log().lines());
        let (_, place) = broker.url().split_once('@').expect("the URL names a user");
        let live = place.split_once('/').expect("the URL names a virtual host").0;
        eventually_eq(PATIENCE, "its connections", [Some(1.0), Some(1.0), Some(2.0)], async || {
            connections(&gateway, live).await
        })
        .await;
        assert_eq!(connections(&gateway, "127.0.0.1:1").await, [Some(0.0); 3]);
        let told = gateway.wait_logged("connected to the broker", PATIENCE).await["broker"].to_string();
        assert!(told.contains(live) && told.contains("127.0.0.1:9"), "{told}");
    }
    let urls = urls.join(" ");
    let Finished { status, stderr, .. } = Publisher::new(&["emit", "a", "1"]).amqp_url(&urls).run().await;
    assert!(status.success() && !stderr.contains("trying again"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_address_is_named_in_the_reason_when_none_answers() {
    let urls = [at(shared_broker().await.url(), 1), at(shared_broker().await.url(), 2)];
    let gateway = Gateway::builder().amqp_url(&urls[0]).amqp_url(&urls[1]).start().await;
    let told = gateway.wait_logged(PAUSES, PATIENCE).await["error"].to_string();
    assert!(told.contains("127.0.0.1:1: ") && told.contains("127.0.0.1:2: "), "{told}");
    let emit = Publisher::new(&["emit", "a", "1", "--timeout", "1s"]);
    let Finished { status, stderr, .. } = emit.amqp_url(&urls.join(" ")).run().await;
    assert_eq!(status.code(), Some(69), "{stderr}");
    assert!(stderr.contains("127.0.0.1:1: ") && stderr.contains("127.0.0.1:2: "), "{stderr}");
    assert!(stderr.contains("trying again"), "after a whole round there is a pause: {stderr}");
}

/// Publishes an event with a number until it is stored.
async fn store(gateway: &Gateway, topic: &str, number: u64) {
    let id = Uuid::new_v4().to_string();
    let body = format!(r#"{{"n":{number}}}"#);
    let publish = Request::publish(topic, "application/json", body).header("Event-Id", &id);
    eventually(PATIENCE, "the event to be stored", async || {
        let answer = publish.send(gateway.address()).await;
        if answer.status == 202 { Ok(()) } else { Err(answer) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_leaves_an_address_that_closes_its_connections_or_dies_and_loses_nothing() {
    let node = shared_node().await;
    let url = node.vhost("addresses").await;
    let broker = SocketAddr::from(([127, 0, 0, 1], node.port()));
    let mut relays = [Relay::to(broker).await, Relay::to(broker).await];
    let urls = relays.each_ref().map(|relay| at(&url, relay.address().port()));
    let gateway = Gateway::builder().env("AMQP_URL", urls.join(" ")).start().await;
    gateway.wait_ready().await;
    let [first, second] = relays.each_ref().map(Relay::address);
    let is_first = connections(&gateway, &first.to_string()).await[0] == Some(1.0);
    if !is_first {
        relays.reverse();
    }
    let [used, other] = if is_first { [first, second] } else { [second, first] };
    wait_at(&gateway, used).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic);
    poll.clone().wait(0).send(&gateway).await.expect_status(204);
    let mut held = poll.clone().wait(50).hold(&gateway).await;
    store(&gateway, &topic, 1).await;
    let batch = held.answer().await.batch();
    assert_eq!(batch.numbers("n"), [1]);
    store(&gateway, &topic, 2).await;

    // In order: 320 CONNECTION_FORCED, as from a node that is put under maintenance. Both addresses would take it back.
    let vhost = url.rsplit('/').next().expect("the URL names a virtual host");
    node.rabbitmqctl(&["close_all_connections", "--vhost", vhost, "maintenance"]).await;
    wait_at(&gateway, other).await;
    store(&gateway, &topic, 3).await;

    // The node dies: its connections are gone, and nothing listens there.
    let [alive, dies] = relays;
    assert_eq!(dies.address(), other);
    drop(dies);
    wait_at(&gateway, used).await;
    store(&gateway, &topic, 4).await;
    assert_eq!(gateway.log().fields(0, PAUSES), None, "{:#?}", gateway.log().lines());

    let (mut seen, mut token) = (Vec::new(), batch.last_seen);
    eventually(PATIENCE, "the other events", async || {
        let answer = poll.clone().last_seen(&token).wait(5).send(&gateway).await;
        if answer.status == 200 {
            let batch = answer.batch();
            seen.extend(batch.numbers("n"));
            token = batch.last_seen;
        }
        if seen.len() >= 3 { Ok(()) } else { Err(format!("{seen:?} {answer:?}")) }
    })
    .await;
    assert_eq!(seen, [2, 3, 4], "the confirmed one does not come again");
    drop(alive);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_goes_on_at_another_address() {
    let shared = shared_broker().await;
    let gateway = Gateway::builder().amqp_url(shared.url()).start().await;
    gateway.wait_ready().await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic);
    poll.clone().wait(0).send(&gateway).await.expect_status(204);

    let (_, place) = shared.url().split_once('@').expect("the URL names a user");
    let broker: SocketAddr = place.split_once('/').expect("the URL names a virtual host").0.parse().unwrap();
    let relays = [Relay::to(broker).await, Relay::to(broker).await];
    let urls = relays.each_ref().map(|relay| at(shared.url(), relay.address().port()));
    let mut publisher = Publisher::new(&["pipe", &topic]).amqp_url(&urls.join(" ")).start();
    publisher.write_line(r#"{"n":1}"#);
    let batch = poll.clone().wait(50).send(&gateway).await.batch();
    assert_eq!(batch.numbers("n"), [1]);
    let (used, unused): (Vec<Relay>, Vec<Relay>) = relays.into_iter().partition(|relay| !relay.ended_by().is_empty());
    assert_eq!((used.len(), unused.len()), (1, 1), "it stays with one of them");
    drop(used);
    publisher.write_line(r#"{"n":2}"#);
    publisher.end_input();
    assert!(publisher.wait_exit(PATIENCE).await.success(), "{:#?}", publisher.stderr().lines());
    // The first may have been stored without its confirm having come back, and is then here again.
    let first = &batch.events[0].id;
    let rest = poll.last_seen(&batch.last_seen).wait(50).send(&gateway).await.batch();
    let new: Vec<u64> = rest.events.iter().filter(|event| event.id != *first).map(|event| event.number("n")).collect();
    assert_eq!(new, [2], "{rest:?}");
    let told = publisher.stderr().lines();
    assert!(told.iter().any(|line| line.contains("lost amqp://")), "{told:#?}");
    assert!(!told.iter().any(|line| line.contains("trying again")), "{told:#?}");
}

/// A gateway or a publisher that finds its virtual host at one node alone, as while the other one starts.
async fn finds_its_host(refusing: &RabbitNode, url: &str) {
    let refused = at(url, refusing.port());
    for urls in [[refused.as_str(), url], [url, &refused]] {
        let gateway = Gateway::builder().env("AMQP_URL", urls.join(" ")).start().await;
        gateway.wait_ready().await;
        assert_eq!(gateway.log().fields(0, PAUSES), None, "{:#?}", gateway.log().lines());
        let Finished { status, stderr, .. } = Publisher::new(&["emit", "a", "1"]).amqp_url(&urls.join(" ")).run().await;
        assert!(status.success(), "{stderr}");
    }
    // A node that refuses may be one that starts, as long as another one may come.
    let emit = Publisher::new(&["emit", "a", "1", "--timeout", "1s"]).amqp_url(&format!("{refused} {}", at(url, 1)));
    let Finished { status, stderr, .. } = emit.run().await;
    assert!(status.code() == Some(69) && stderr.contains("trying again"), "{stderr}");
    // Where every address refuses, an operator has to do something.
    let refused = Publisher::new(&["emit", "a", "1"]).amqp_url(&format!("{refused} {refused}")).run().await;
    assert_eq!(refused.status.code(), Some(69), "{refused:?}");
    assert!(refused.stderr.contains("check user, password, virtual host") && !refused.stderr.contains("trying again"));
}
