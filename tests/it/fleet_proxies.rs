//! Several gateways behind one proxy, with the files of `deploy/`: a client stays with one gateway, a gateway that goes is
//! left, and what one gateway promises holds through the proxy.
//!
//! On RabbitMQ alone: gateways that share a broker are what this is about. The programs are those of
//! `tests/install-needs proxies`.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use postern_tests::{
    Balance, Broker, EventStream, Gateway, HttpConnection, Poll, Proxy, ProxyProgram, Request, eventually,
    eventually_eq, unique,
};
use serde_json::json;
use tokio::time::timeout;

/// Below the 15 s between two comments of a stream, which would tell of a hang-up, too.
const SOON: Duration = Duration::from_secs(10);

/// For what a proxy notices by its own checks, on a busy machine.
const LATER: Duration = Duration::from_secs(40);

/// So many that each of two gateways has some.
const CLIENTS: usize = 16;

/// The longest poll, in seconds, which a proxy has to wait for.
const LONGEST_WAIT_S: u32 = 55;

/// A proxy before two gateways.
struct Fleet {
    program: ProxyProgram,
    proxy: Proxy,
    gateways: [Gateway; 2],
    clients: Vec<String>,
    topic: String,
}

impl Fleet {
    async fn new(program: ProxyProgram, balance: Balance) -> Self {
        let gateway = async || {
            let gateway = Broker::RabbitMq.gateway().await.flag("--trusted-proxy", "127.0.0.1").start().await;
            gateway.wait_ready().await;
            gateway
        };
        let gateways = [gateway().await, gateway().await];
        let addresses = [gateways[0].address(), gateways[1].address()];
        let proxy = Proxy::start_fleet(program, addresses, balance).await;
        let clients = (0..CLIENTS).map(|_| unique("reader")).collect();
        Self { program, proxy, gateways, clients, topic: unique("jobs") }
    }

    fn poll(&self, client: &str, wait: u32) -> Poll {
        Poll::of(client).topics(&format!("{}.{client}", self.topic)).wait(wait)
    }

    async fn hold(&self, client: &str, wait: u32) -> HttpConnection {
        let mut connection = HttpConnection::open(self.proxy.address()).await;
        connection.send(&self.poll(client, wait).request().bytes()).await;
        connection
    }

    async fn publish(&self, client: &str, payload: &str) {
        let request = Request::publish(&format!("{}.{client}", self.topic), "text/plain", payload);
        request.send(self.proxy.address()).await.expect_status(202);
    }

    /// Returns a metric of each gateway.
    async fn metric(&self, name: &str) -> [usize; 2] {
        let value = async |gateway: &Gateway| {
            let metrics = Request::get("/metrics").send(gateway.address()).await.text();
            let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")).map(str::to_owned));
            line.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no {name} in {metrics}"))
        };
        [value(&self.gateways[0]).await, value(&self.gateways[1]).await]
    }

    /// Waits until each client has a poll at one of them.
    async fn are_held(&self) -> [usize; 2] {
        eventually(LATER, "all polls to be held", async || {
            let held = self.metric("postern_polls_held").await;
            if held[0] + held[1] == CLIENTS { Ok(held) } else { Err(held) }
        })
        .await
    }

    async fn handed_over(&self) -> usize {
        let [one, other] = self.metric("postern_releases_total{outcome=\"handed_over\"}").await;
        one + other
    }

    /// Each client reads and confirms some events, each poll on a connection of its own.
    async fn clients_read(&self) {
        // Else an event could come before its mailbox is there.
        join_all(self.clients.iter().map(async |client| {
            let first = self.poll(client, 0).request();
            first.send(self.proxy.address()).await.expect_status(204);
        }))
        .await;
        for n in 0..3 {
            let held = join_all(self.clients.iter().map(|client| self.hold(client, LONGEST_WAIT_S))).await;
            let at = self.are_held().await;
            assert!(at.iter().all(|&held| held > 0), "each has some: {at:?}");
            join_all(self.clients.iter().zip(held).map(async |(client, mut held)| {
                self.publish(client, &n.to_string()).await;
                let batch = held.answer().await.expect_status(200).batch();
                held.close().await;
                // Another gateway may have fetched it from the broker before the poll was here.
                assert_eq!((batch.events.len(), &batch.events[0].data), (1, &Some(json!(n.to_string()))));
                let confirm = self.poll(client, 0).last_seen(&batch.last_seen).request();
                confirm.send(self.proxy.address()).await.expect_status(204);
            }))
            .await;
        }
    }

    async fn a_client_stays_with_one_gateway(&self) {
        self.clients_read().await;
        assert_eq!(self.handed_over().await, 0);
    }

    async fn a_hang_up_reaches_the_gateway_and_a_poll_its_whole_wait(&self) {
        let client = unique("gone");
        let is_connected = async |expected: bool| {
            let connected = async || {
                let status = Request::get(&format!("/clients/{client}")).send(self.gateways[0].address()).await;
                (status.status == 200).then(|| status.json()["connected"].clone())
            };
            eventually_eq(SOON, "connected", Some(json!(expected)), connected).await;
        };
        let held = self.hold(&client, LONGEST_WAIT_S).await;
        is_connected(true).await;
        held.close().await;
        is_connected(false).await;
        self.hold(&unique("silent"), 4).await.answer().await.expect_status(204);
        let deployed = self.program.deployed();
        let lines = match self.program {
            ProxyProgram::Haproxy => &["timeout server 75s", "option abortonclose"][..],
            ProxyProgram::Nginx => &["proxy_read_timeout 75s;"],
            // It waits for as long as it takes.
            _ => &[],
        };
        for line in lines {
            assert!(deployed.contains(line), "{line}");
        }
    }

    async fn a_stream_is_passed_on_at_once(&self) {
        let client = unique("stream");
        self.poll(&client, 0).request().send(self.proxy.address()).await.expect_status(204);
        let path = format!("/clients/{client}/events?topics={}.{client}", self.topic);
        let mut stream = EventStream::open(self.proxy.address(), &path, "").await;
        stream.sign_of_life().await;
        self.publish(&client, "one").await;
        let event = timeout(SOON, stream.next()).await.expect("nothing keeps the event back");
        assert_eq!(event.expect("the stream is open").data["data"], "one");
    }

    async fn the_operators_paths_are_not_passed_on(&self) {
        for path in ["/metrics", "/live", "/ready"] {
            Request::get(path).send(self.proxy.address()).await.expect_status(404);
        }
    }

    /// Clients that poll all the time see no error status while a gateway is started again.
    async fn a_restart_is_seen_by_no_client(&mut self) {
        let (is_over, polls) = (AtomicBool::new(false), AtomicU32::new(0));
        let may_be_refused = self.program == ProxyProgram::Caddy;
        let Self { proxy, gateways, clients, topic, .. } = self;
        let polling = join_all(clients.iter().map(async |client| {
            let poll = Poll::of(client).topics(&format!("{topic}.{client}")).wait(1).request();
            while !is_over.load(Ordering::Relaxed) {
                let answer = poll.send(proxy.address()).await;
                if may_be_refused && answer.status == 503 {
                    assert!(answer.header("retry-after").is_some(), "{answer:?}");
                } else {
                    answer.expect_status(204);
                }
                polls.fetch_add(1, Ordering::Relaxed);
            }
        }));
        let restarting = async {
            for gateway in gateways {
                let before = polls.load(Ordering::Relaxed);
                let more = async || {
                    let more = polls.load(Ordering::Relaxed) - before;
                    if more as usize > 2 * CLIENTS { Ok(()) } else { Err(more) }
                };
                eventually(LATER, "polls of all clients", more).await;
                gateway.restart().await;
                gateway.wait_ready().await;
            }
            is_over.store(true, Ordering::Relaxed);
        };
        tokio::join!(polling, restarting);
    }

    /// Its clients go on at the other one, and lose nothing.
    async fn a_gateway_that_dies_is_left(&mut self) {
        // The proxy may not have noticed yet that the other one is back.
        let held = eventually(LATER, "both gateways to be used", async || {
            let held = join_all(self.clients.iter().map(|client| self.hold(client, LONGEST_WAIT_S))).await;
            let at = self.are_held().await;
            if at.contains(&0) { Err(at) } else { Ok(held) }
        })
        .await;
        self.gateways[0].kill9();
        let clients = self.clients.clone();
        let reading = join_all(clients.iter().zip(held).map(async |(client, held)| {
            let mut held = Some(held);
            let publish = Request::publish(&format!("{}.{client}", self.topic), "text/plain", "after");
            publish.send(self.gateways[1].address()).await.expect_status(202);
            eventually(LATER, &format!("the event of {client}"), async || {
                let mut connection = match held.take() {
                    Some(held) => held,
                    None => self.hold(client, 1).await,
                };
                // A proxy may tell of the death in its own words.
                let answer = connection.answer_unless_left().await.map_err(|left| format!("{left:?}"))?;
                if answer.status == 200 { Ok(answer.batch()) } else { Err(format!("{answer:?}")) }
            })
            .await
        }));
        for batch in reading.await {
            assert_eq!(batch.events[0].data, Some(json!("after")));
        }
    }
}

async fn works_before_two_gateways(program: ProxyProgram) {
    let mut fleet = Fleet::new(program, Balance::Hash).await;
    fleet.a_client_stays_with_one_gateway().await;
    tokio::join!(
        fleet.a_hang_up_reaches_the_gateway_and_a_poll_its_whole_wait(),
        fleet.a_stream_is_passed_on_at_once(),
        fleet.the_operators_paths_are_not_passed_on(),
    );
    fleet.a_restart_is_seen_by_no_client().await;
    fleet.a_gateway_that_dies_is_left().await;
}

/// Each poll comes to another gateway than the one before.
async fn works_by_round_robin(program: ProxyProgram) {
    let fleet = Fleet::new(program, Balance::RoundRobin).await;
    fleet.clients_read().await;
    assert!(fleet.handed_over().await > 0, "mailboxes move");
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy() {
    tokio::join!(works_before_two_gateways(ProxyProgram::Haproxy), works_by_round_robin(ProxyProgram::Haproxy));
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx() {
    tokio::join!(works_before_two_gateways(ProxyProgram::Nginx), works_by_round_robin(ProxyProgram::Nginx));
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy() {
    tokio::join!(works_before_two_gateways(ProxyProgram::Caddy), works_by_round_robin(ProxyProgram::Caddy));
}
