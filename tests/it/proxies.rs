//! Behind each proxy of `docs/src/proxies.md`, with the block of that page, polls and streams work as they do without
//! it.
//!
//! On the embedded broker alone: a proxy sees HTTP, which is the same for both.
//! What they need is installed by `tests/install-needs proxies`.

use std::{net::SocketAddr, time::Duration};

use postern_tests::{
    Broker, EventStream, GatewayBuilder, HttpConnection, Poll, Proxy, ProxyProgram, Relay, Request, Side, World,
    eventually, eventually_eq, unique,
};
use serde_json::{Value, json};
use tokio::time::timeout;

/// Below the 15 s between two comments of a stream, which would tell of a hang-up, too.
const SOON: Duration = Duration::from_secs(10);
const MIB: usize = 1024 * 1024;

/// A poll of 55 s and an idle connection of 75 s take too long for a test: both are this much shorter, as are all times
/// of the page's blocks.
const FASTER: u32 = 5;
const LONGEST_WAIT_S: u32 = 55;
const IDLE_TIMEOUT_S: u32 = 75;

/// By which pages know the proxy, and the gateway with it.
const NAME: &str = "push.example";

/// Longer than either side keeps an idle connection, so that the first to end it is known.
const IDLE_END: Duration = Duration::from_secs(30);

/// A world with a proxy before its gateway.
struct Front {
    proxy: Proxy,
    /// Between the proxy and the gateway.
    relay: Relay,
    world: World,
}

impl Front {
    /// With the page's block, all times of which are divided, as is the gateway's own for idle connections.
    async fn new(program: ProxyProgram, divisor: u32) -> Self {
        let idle = format!("{}s", IDLE_TIMEOUT_S / divisor);
        let flags = |gateway: GatewayBuilder| {
            gateway
                .flag("--idle-timeout", idle)
                .flag("--log", "info,postern::access=info")
                .flag("--host", NAME)
                .flag("--trusted-proxy", "127.0.0.1")
                .flag("--failure-rate", "2")
        };
        let world = World::with(Broker::Embedded, flags).await;
        let relay = Relay::to(world.gateway.address()).await;
        let proxy = Proxy::start(program, relay.address(), divisor).await;
        Self { proxy, relay, world }
    }

    fn gateway(&self) -> SocketAddr {
        self.world.gateway.address()
    }

    /// Waits until the gateway, asked without the proxy, says so of a client.
    async fn is_connected(&self, client: &str, expected: bool) {
        let path = format!("/clients/{client}");
        let connected = async || {
            let answer = Request::get(&path).send(self.gateway()).await;
            (answer.status == 200).then(|| answer.json()["connected"].clone())
        };
        eventually_eq(SOON, &format!("connected, of {client}"), Some(json!(expected)), connected).await;
    }

    async fn hold(&self, poll: &Poll) -> HttpConnection {
        let mut connection = HttpConnection::open(self.proxy.address()).await;
        connection.send(&poll.request().bytes()).await;
        connection
    }

    async fn publish(&self, topic: &str, payload: &str) {
        let request = Request::publish(topic, "text/plain", payload);
        request.send(self.proxy.address()).await.expect_status(202);
    }

    /// Waits for the access log's line of a request.
    async fn logged(&self, request_id: &str) -> Value {
        eventually(SOON, &format!("the line of {request_id}"), async || {
            let lines = self.world.gateway.log().all_fields(0, "request");
            lines.into_iter().find(|line| line["request_id"] == request_id).ok_or("not logged")
        })
        .await
    }

    async fn a_held_poll_gets_the_event(&self) {
        let (client, topic) = (unique("held"), unique("held"));
        let mut held = self.hold(&Poll::of(&client).topics(&topic).wait(55)).await;
        self.is_connected(&client, true).await;
        self.publish(&topic, "one").await;
        let batch = held.answer().await.expect_status(200).batch();
        assert_eq!(batch.events[0].data, Some(json!("one")));
    }

    async fn a_stream_gets_events_at_once_and_outlives_silence(&self) {
        let topic = unique("stream");
        let mut stream = EventStream::open(self.proxy.address(), &format!("/topics/{topic}/events"), "").await;
        self.publish(&topic, "one").await;
        Self::streams(&mut stream, "one").await;
        stream.sign_of_life().await;
        self.publish(&topic, "two").await;
        Self::streams(&mut stream, "two").await;
    }

    async fn streams(stream: &mut EventStream, payload: &str) {
        let event = timeout(SOON, stream.next()).await.expect("nothing keeps the event back");
        assert_eq!(event.expect("the stream is open").data["data"], payload);
    }

    async fn a_hang_up_is_passed_on_and_loses_nothing(&self) {
        let (client, topic) = (unique("gone"), unique("gone"));
        let poll = Poll::of(&client).topics(&topic).wait(55);
        let held = self.hold(&poll).await;
        self.is_connected(&client, true).await;
        held.close().await;
        self.is_connected(&client, false).await;
        self.publish(&topic, "one").await;
        let batch = self.hold(&poll).await.answer().await.expect_status(200).batch();
        assert_eq!((&batch.events[0].data, batch.events[0].redelivered), (&Some(json!("one")), false));

        // The event comes while the hang-up is on its way.
        let poll = poll.last_seen(&batch.last_seen);
        let held = self.hold(&poll).await;
        self.is_connected(&client, true).await;
        held.close().await;
        self.publish(&topic, "two").await;
        let batch = self.hold(&poll).await.answer().await.expect_status(200).batch();
        assert_eq!(batch.events[0].data, Some(json!("two")));

        let path = format!("/clients/{client}/events?last_seen={}", batch.last_seen);
        let stream = EventStream::open(self.proxy.address(), &path, "").await;
        self.is_connected(&client, true).await;
        stream.close().await;
        self.is_connected(&client, false).await;
    }

    async fn bodies_pass_up_to_the_maximum(&self) {
        let (topic, address) = (unique("large"), self.proxy.address());
        let request = |length| Request::publish(&topic, "text/plain", vec![b'x'; length]);
        request(MIB).send(address).await.expect_status(202);
        request(MIB + 1).send(address).await.problem(413);
    }

    async fn tags_are_left_as_they_are(&self) {
        let topic = unique("tagged");
        self.publish(&topic, "one").await;
        for path in [format!("/topics/{topic}/events?wait=0"), "/client.js".to_owned()] {
            let request = Request::get(&path).header("accept-encoding", "gzip, br");
            let answer = request.clone().send(self.proxy.address()).await.expect_status(200);
            assert_eq!(answer.header("content-encoding"), None, "{answer:?}");
            let tag = answer.header("etag").expect("a tag");
            assert!(tag.starts_with('"'), "{answer:?}");
            request.header("if-none-match", tag).send(self.proxy.address()).await.expect_status(304);
        }
    }

    async fn the_request_id_is_the_proxys_and_the_address_too(&self) {
        let request = Request::get("/client.js").header("x-request-id", "mine").header("host", NAME);
        let request = request.header("x-forwarded-for", "203.0.113.9").header("forwarded", "for=203.0.113.9");
        let answer = request.send(self.gateway()).await.expect_status(200);
        assert_eq!(answer.header("x-request-id"), Some("mine"), "without the proxy");
        let answer = request.send(self.proxy.address()).await.expect_status(200);
        let id = answer.header("x-request-id").expect("an id");
        assert_ne!(id, "mine", "{answer:?}");
        let remote = self.logged(id).await["remote"].clone();
        assert!(remote.as_str().is_some_and(|remote| remote.starts_with("127.0.0.1:")), "{remote}");
    }

    /// The gateway has to know the name by which it was asked, or it takes its own pages for those of others.
    async fn pages_of_its_name_may_use_it_and_no_others(&self) {
        let publish = |host: &str, origin: &str| {
            Request::publish(&unique("page"), "text/plain", "page").header("host", host).header("origin", origin)
        };
        for (host, origin, status) in [
            (NAME, "https://push.example", 202),
            ("push.example:8443", "https://push.example:8443", 202),
            (NAME, "https://evil.example", 403),
            (NAME, "null", 403),
            ("evil.example", "https://evil.example", 421),
        ] {
            publish(host, origin).send(self.proxy.address()).await.expect_status(status);
        }
        let image = Request::get(&format!("/clients/{}/events?topics=a", unique("image"))).header("host", NAME);
        image.header("sec-fetch-site", "same-site").send(self.proxy.address()).await.problem(403);
    }

    /// The proxy is trusted, so the client before it counts, also one that came through another such proxy.
    /// Caddy alone keeps nothing of what the client says.
    async fn limits_are_those_of_the_client(&self, keeps_forwarded: bool) {
        let guess = |client: &str| {
            let request = Request::get(&format!("/clients/{}", unique("guess")));
            request.header("x-forwarded-for", client)
        };
        for status in [404, 404, if keeps_forwarded { 429 } else { 404 }] {
            guess("198.51.100.1, 203.0.113.1").send(self.proxy.address()).await.problem(status);
        }
        guess("203.0.113.2").send(self.proxy.address()).await.problem(404);
    }

    /// What the page says to a proxy that checks paths.
    async fn a_fixed_word_has_one_spelling(&self) {
        let client = unique("spelled");
        Poll::of(&client).topics(&unique("spelled")).wait(0).send(&self.world.gateway).await.expect_status(204);
        for path in ["//clients/", "/%63lients/", "/topics/../clients/", "/clients/./", "/clients//"] {
            let path = format!("{path}{client}");
            for address in [self.gateway(), self.proxy.address()] {
                let status = Request::get(&path).send(address).await.status;
                assert!([400, 404].contains(&status), "{path} is {status}");
            }
        }
        // The client id in it is decoded.
        let path = format!("/clients/%{:x}{}", client.as_bytes()[0], &client[1..]);
        Request::get(&path).send(self.proxy.address()).await.expect_status(200);
    }

    async fn the_operators_paths_are_not_passed_on(&self) {
        for word in ["metrics", "live", "ready"] {
            Request::get(&format!("/{word}")).send(self.gateway()).await.expect_status(200);
            for path in ["/W", "/W?a=b", "//W", "/./W", "/W/", "/clients/../W", "/%57", "http://postern.test/W"] {
                let encoded = format!("%{:x}{}", word.as_bytes()[0], &word[1..]);
                let path = path.replace("%57", &encoded).replace('W', word);
                let status = Request::get(&path).send(self.proxy.address()).await.status;
                assert!([400, 404].contains(&status), "{path} is {status}");
            }
        }
        // Also not after a request that is passed on, on the same connection and without waiting for its answer.
        let poll = Poll::of(&unique("first")).topics(&unique("first")).wait(0).request();
        let mut connection = HttpConnection::open(self.proxy.address()).await;
        connection.send(&[poll.bytes(), Request::get("/metrics").bytes()].concat()).await;
        connection.answer().await.expect_status(204);
        // Varnish ends the connection in its place.
        if let Ok(answer) = connection.answer_unless_left().await {
            assert_eq!(answer.status, 404, "{answer:?}");
        }
    }

    async fn holds_everything(&self, program: ProxyProgram) {
        tokio::join!(
            self.a_held_poll_gets_the_event(),
            self.a_stream_gets_events_at_once_and_outlives_silence(),
            self.a_hang_up_is_passed_on_and_loses_nothing(),
            self.bodies_pass_up_to_the_maximum(),
            self.tags_are_left_as_they_are(),
            self.the_request_id_is_the_proxys_and_the_address_too(),
            self.pages_of_its_name_may_use_it_and_no_others(),
            self.limits_are_those_of_the_client(program != ProxyProgram::Caddy),
            self.a_fixed_word_has_one_spelling(),
            self.the_operators_paths_are_not_passed_on(),
        );
    }

    /// The gateway must not close one: the proxy could send a request in that moment, and that is a 502.
    async fn idle_connections_are_kept_and_ended_by_the_proxy(&self) {
        const REQUESTS: usize = 10;
        let mut stays = HttpConnection::open(self.proxy.address()).await;
        let mut leaves = HttpConnection::open(self.proxy.address()).await;
        for connection in [&mut stays, &mut leaves] {
            let before = self.relay.ended_by().len();
            for _ in 0..REQUESTS {
                // Not a GET, which a proxy could send again after a connection was closed.
                let publish = Request::publish(&self.world.topic, "text/plain", "again");
                connection.request(&publish).await.expect_status(202);
            }
            // Not one: a proxy may need a moment before it uses a connection again.
            let added = self.relay.ended_by().len() - before;
            assert!(added < REQUESTS, "{added} connections for {REQUESTS} requests");
        }
        leaves.close().await;
        let connections = self.relay.ended_by().len();
        let ended = async || {
            let ended = self.relay.ended_by()[..connections].to_vec();
            if ended.contains(&None) { Err(ended) } else { Ok(ended) }
        };
        let ended = eventually(IDLE_END, "the end of idle connections", ended).await;
        assert_eq!(ended, vec![Some(Side::Near); connections], "the gateway was the first");
        drop(stays);
    }

    async fn the_longest_poll_lasts_its_whole_wait(&self) {
        let poll = Poll::of(&unique("silent")).topics(&unique("silent")).wait(LONGEST_WAIT_S / FASTER);
        self.hold(&poll).await.answer().await.expect_status(204);
    }
}

async fn works_behind(program: ProxyProgram) {
    // HAProxy looks for idle connections every 5 s, which is no time of its block.
    let idle_divisor = if program == ProxyProgram::Haproxy { 1 } else { FASTER };
    let [as_it_stands, polled, idle] = [1, FASTER, idle_divisor].map(|divisor| Front::new(program, divisor));
    // Side by side, because each of them waits most of the time.
    tokio::join!(
        Box::pin(async { as_it_stands.await.holds_everything(program).await }),
        Box::pin(async { polled.await.the_longest_poll_lasts_its_whole_wait().await }),
        Box::pin(async { idle.await.idle_connections_are_kept_and_ended_by_the_proxy().await }),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx() {
    works_behind(ProxyProgram::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy() {
    works_behind(ProxyProgram::Haproxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy() {
    works_behind(ProxyProgram::Caddy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn varnish() {
    works_behind(ProxyProgram::Varnish).await;
}
