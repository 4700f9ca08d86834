//! A RabbitMQ cluster of three nodes, of which each is lost in turn and comes back.
//!
//! Only RabbitMQ has nodes. It is not among the tests that are run on RabbitMQ 4: that rejects what is published while the
//! node of a mailbox is away. One cluster is started for all of it, because that takes longer than the rest.

mod reader;

use std::time::Duration;

use futures_util::future::join_all;
use postern_tests::{
    Answer, EventStream, Follower, Gateway, Poll, RabbitCluster, RabbitNode, Request, eventually, eventually_eq, unique,
};

use self::reader::Reader;

/// What the guide for operators says to put into `rabbitmq.conf`: for 3.x, for 4.x, and for both.
const SETTINGS: [&str; 3] = [
    "queue_master_locator = min-masters",
    "queue_leader_locator = balanced",
    "cluster_partition_handling = pause_minority",
];

/// Longer than the gateway waits for any answer of the broker.
const PATIENCE: Duration = Duration::from_mins(1);

const NODES: usize = 3;

const GUIDE: &str = include_str!("../../docs/src/operations.md");

/// The topic, and how many events were published under it. Their numbers have no gaps.
struct Publisher {
    topic: String,
    published: u64,
}

impl Publisher {
    /// Publishes so many events, and returns their numbers. Each is confirmed.
    async fn publish(&mut self, gateway: &Gateway, count: u64) -> Vec<u64> {
        let numbers: Vec<_> = (self.published..self.published + count).collect();
        for number in &numbers {
            let body = format!(r#"{{"n":{number}}}"#);
            let event = Request::publish(&self.topic, "application/json", body);
            event.send(gateway.address()).await.expect_status(202);
        }
        self.published += count;
        numbers
    }
}

/// The clients whose mailboxes are on one node. Each tries something else while it is lost.
struct Clients {
    holds_a_poll: Reader,
    has_a_stream: Reader,
    asks_again: Reader,
    confirms_late: Reader,
}

impl Clients {
    fn all(&mut self) -> [&mut Reader; 4] {
        [&mut self.holds_a_poll, &mut self.has_a_stream, &mut self.asks_again, &mut self.confirms_late]
    }
}

/// Makes mailboxes through one gateway, until there are enough on each node.
async fn clients(cluster: &RabbitCluster, gateway: &Gateway, topic: &str) -> [Clients; NODES] {
    let mut homes: [Vec<Reader>; NODES] = Default::default();
    for _ in 0..10 {
        let made: Vec<_> = (0..4 * NODES).map(|_| Reader::new(topic)).collect();
        for reader in &made {
            reader.poll().wait(0).send(gateway).await.expect_status(204);
        }
        let places = cluster.homes().await;
        for reader in made {
            let queue = format!("postern.mailbox.{}", reader.client);
            let (_, home) = places
                .iter()
                .find(|(name, _)| *name == queue)
                .unwrap_or_else(|| panic!("{queue} is not among {places:?}"));
            homes[*home].push(reader);
        }
        if homes.iter().all(|readers| readers.len() >= 4) {
            return homes.map(|readers| {
                let mut readers = readers.into_iter();
                let mut next = || readers.next().expect("there are enough");
                Clients { holds_a_poll: next(), has_a_stream: next(), asks_again: next(), confirms_late: next() }
            });
        }
    }
    panic!("the broker does not spread mailboxes: {:?}", homes.map(|readers| readers.len()))
}

/// Checks an answer that says to come back, and that the mailbox is not gone.
#[track_caller]
fn is_away(what: &str, answer: &Answer) {
    assert_eq!(answer.status, 503, "{what}: {answer:?}");
    assert!(answer.header("retry-after").is_some(), "{what}: {answer:?}");
}

/// Asks for everything that can be asked of a mailbox whose node is lost.
async fn ask_for_all(gateway: &Gateway, reader: &Reader) {
    let (client, topic) = (&reader.client, &reader.topic);
    for (what, poll) in [
        ("with topics", Poll::of(client).topics(topic)),
        ("without topics", Poll::of(client)),
        ("with a token", reader.poll()),
    ] {
        is_away(what, &poll.wait(1).send(gateway).await);
    }
    for (method, path) in [
        ("GET", format!("/clients/{client}")),
        ("PUT", format!("/clients/{client}/topics/other")),
        ("DELETE", format!("/clients/{client}/topics/{topic}")),
        ("DELETE", format!("/clients/{client}")),
    ] {
        is_away(&format!("{method} {path}"), &Request::new(method, &path).send(gateway.address()).await);
    }
    // An `EventSource` would give up on an error.
    let mut stream = EventStream::open(gateway.address(), &format!("/clients/{client}/events"), "").await;
    stream.end().await;
    assert!(stream.retry.is_some(), "{stream:?}");
}

/// Waits until no gateway keeps a mailbox for its client any more: one that does may hand out what it has, though the node
/// of the mailbox is lost.
async fn is_free(gateway: &Gateway, reader: &Reader) {
    let path = format!("/clients/{}", reader.client);
    eventually_eq(PATIENCE, "whether the mailbox is read", false, async || {
        Request::get(&path).send(gateway.address()).await.expect_status(200).json()["connected"] == true
    })
    .await;
}

/// Waits until a gateway holds so many polls and streams.
async fn holds(gateway: &Gateway, count: usize) {
    let line = format!("postern_polls_held {count}");
    eventually(PATIENCE, &line, async || {
        let metrics = Request::get("/metrics").send(gateway.address()).await.text();
        if metrics.lines().any(|found| found == line) { Ok(()) } else { Err(metrics) }
    })
    .await;
}

/// Waits until a gateway follows the feed: from then on there is one.
async fn follows(gateway: &Gateway) {
    eventually(PATIENCE, "the feed", async || {
        let answer = Request::get("/topics/any/events?wait=0").send(gateway.address()).await;
        if answer.status == 204 { Ok(()) } else { Err(answer) }
    })
    .await;
}

/// Returns how many nodes keep the feed.
async fn replicas(cluster: &RabbitCluster, vhost: &str) -> usize {
    let arguments = ["list_queues", "--vhost", vhost, "--formatter", "json", "name", "members"];
    let queues: Vec<serde_json::Value> = serde_json::from_str(&cluster[0].rabbitmqctl(&arguments).await).unwrap();
    let feed = queues.iter().find(|queue| queue["name"] == "postern.feed").expect("there is a feed");
    feed["members"].as_array().expect("it has members").len()
}

/// A feed is made on as many nodes as the first gateway says, and others go on with what is there.
async fn start_gateways(cluster: &RabbitCluster) -> [Gateway; NODES] {
    let few = cluster[0].vhost("few").await;
    let gateway = Gateway::builder().amqp_url(&few).with_feed().flag("--feed-replicas", "2").start().await;
    follows(&gateway).await;
    assert_eq!(replicas(cluster, few.rsplit('/').next().unwrap()).await, 2);

    let builder =
        |number: usize| Gateway::builder().amqp_url(&cluster[number].url()).with_feed().flag("--linger", "1s");
    let first = builder(0).flag("--feed-replicas", "3").start().await;
    follows(&first).await;
    assert_eq!(replicas(cluster, "/").await, 3);
    let gateways = [first, builder(1).start().await, builder(2).start().await];
    join_all(gateways.iter().map(follows)).await;
    let warnings = |gateway: &Gateway| {
        let lines = gateway.log().lines();
        lines.iter().filter(|line| line.contains("rabbitmq-streams")).count()
    };
    assert_eq!(gateways.each_ref().map(warnings), [0, 1, 1]);
    gateways
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_promised_holds_while_any_node_is_lost() {
    for line in SETTINGS {
        assert!(GUIDE.lines().any(|said| said == line), "{line} is not in the guide");
    }
    let mut cluster = RabbitCluster::start(NODES, &SETTINGS).await;
    let mut gateways = start_gateways(&cluster).await;
    let mut publisher = Publisher { topic: unique("jobs"), published: 0 };
    let mut homes = clients(&cluster, &gateways[0], &publisher.topic).await;
    let mut followers = gateways.each_ref().map(|at| Follower::new(at.address(), &publisher.topic, "oldest", 0));
    for lost in 0..NODES {
        let (near, far) = ((lost + 1) % NODES, (lost + 2) % NODES);
        is_free(&gateways[near], &homes[lost].asks_again).await;
        let stored = publisher.publish(&gateways[near], 3).await;
        let others = homes.iter_mut().enumerate().filter(|(home, _)| *home != lost).flat_map(|(_, home)| home.all());
        join_all(others.map(|reader| reader.read(&gateways[near]))).await;
        // One has confirmed what it got, two got some and did not confirm it, and one has it in the broker.
        let clients = &mut homes[lost];
        clients.holds_a_poll.read(&gateways[near]).await;
        let mut held = clients.holds_a_poll.poll().wait(50).hold(&gateways[near]).await;
        let (path, place) = clients.has_a_stream.stream();
        let mut stream = EventStream::open(gateways[near].address(), &path, &place).await;
        let streamed = stream.take(stored.len()).await;
        assert!(streamed.iter().map(|event| event.number("n")).eq(stored.iter().copied()), "{streamed:?}");
        holds(&gateways[near], 2).await;
        clients.confirms_late.take(&gateways[near], 1).await;

        cluster.kill9(lost);
        is_away("a held poll", &held.answer().await);
        stream.end().await;
        assert!(stream.retry.is_some(), "{stream:?}");
        ask_for_all(&gateways[near], &clients.asks_again).await;
        is_away("a token", &clients.confirms_late.poll().wait(1).send(&gateways[near]).await);
        if lost == 1 {
            // Two gateways that know of it tell its client once.
            ask_for_all(&gateways[far], &clients.asks_again).await;
        }
        let missed = publisher.publish(&gateways[near], 20).await;
        let others = homes.iter_mut().enumerate().filter(|(home, _)| *home != lost).flat_map(|(_, home)| home.all());
        join_all(others.map(|reader| reader.read(&gateways[far]))).await;
        for follower in [near, far] {
            followers[follower].read_to(publisher.published).await;
        }
        if lost == 2 {
            // The one that knew of it takes nothing with it.
            gateways[near].kill9();
        }

        cluster.start_again(lost).await;
        gateways[lost].wait_ready().await;
        // The gateway that they turn to now has not seen anything of it.
        for reader in homes[lost].all() {
            reader.lost(&missed);
            reader.read_to_reset(&gateways[far]).await;
        }
        publisher.publish(&gateways[far], 1).await;
        for reader in homes.iter_mut().flat_map(Clients::all) {
            reader.read(&gateways[far]).await;
            reader.has_all(publisher.published);
        }
        followers[lost].read_to(publisher.published).await;
    }
    // RabbitMQ 4 has no mirrors.
    if !RabbitNode::is_version_4() {
        mirror(&cluster).await;
        publisher.publish(&gateways[1], 3).await;
        cluster.kill9(0);
        publisher.publish(&gateways[1], 20).await;
        for reader in homes.iter_mut().flat_map(Clients::all) {
            reader.read(&gateways[2]).await;
            reader.has_all_events(publisher.published);
        }
    }
}

/// Has all mailboxes mirrored, as the guide for operators says.
async fn mirror(cluster: &RabbitCluster) {
    let mirrors = r#"{"ha-mode":"exactly","ha-params":2,"ha-sync-mode":"automatic"}"#;
    assert!(GUIDE.contains(mirrors), "{mirrors} is not in the guide");
    let policy = ["set_policy", "postern-mirrors", r"^postern\.mailbox\.", mirrors, "--apply-to", "queues"];
    cluster[0].rabbitmqctl(&policy).await;
    eventually(PATIENCE, "mirrors", async || {
        let arguments = ["list_queues", "--no-table-headers", "name", "synchronised_slave_pids"];
        let rows = cluster[0].rabbitmqctl(&arguments).await;
        let is_mirrored = |row: &str| !row.starts_with("postern.mailbox.") || row.contains('<');
        if rows.lines().all(is_mirrored) { Ok(()) } else { Err(rows) }
    })
    .await;
}
