//! Connections of one address. The test has to come from an address that is not loopback, so it connects to its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use postern_tests::{Broker, Gateway, HttpConnection, Left, Request, eventually, unique};

use super::{SOON, holds, limited};

const MAX: usize = 3;

/// Returns an address of this machine that is not loopback. Nothing is sent: the system only chooses an address.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
    // Of a network that is for documentation alone (RFC 5737).
    let routed = socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9)).and_then(|()| socket.local_addr());
    routed.expect("this test needs an address besides loopback, such as that of a container").ip()
}

/// Starts a gateway, and returns where it is reached from an address that counts.
async fn gateway(flags: &[&str]) -> (Gateway, SocketAddr) {
    let builder = Broker::Embedded.gateway().await.flag("--listen", "0.0.0.0:0").switch("--allow-anonymous");
    let builder = builder.flag("--max-connections-per-peer", MAX.to_string());
    let gateway = flags.iter().fold(builder, |builder, flag| builder.switch(flag)).start().await;
    gateway.wait_ready().await;
    let address = SocketAddr::new(own_address(), gateway.address().port());
    (gateway, address)
}

/// Opens a connection that has a place, once there is one.
async fn served(address: SocketAddr) -> HttpConnection {
    eventually(SOON, "a place for one more connection", async || {
        let mut connection = HttpConnection::open(address).await;
        // One that is hung up on may fail at either.
        let sent = connection.send_unless_left(&Request::get("/live").bytes()).await;
        let answer = if sent.is_ok() { connection.answer_unless_left().await } else { Err(Left::Reset) };
        match answer {
            Ok(answer) if answer.header("connection").is_none() => Ok(connection),
            other => Err(other),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_maximum_one_address_gets_what_is_no_poll_and_others_get_everything() {
    let (gateway, address) = gateway(&[]).await;
    let mut open = Vec::new();
    for _ in 0..MAX {
        open.push(served(address).await);
    }
    let poll = Request::get("/topics/a/events?wait=0");
    let mut surplus = HttpConnection::open(address).await;
    let refused = surplus.request(&poll).await;
    let detail = refused.problem(503);
    assert!(detail.contains("--max-connections-per-peer") && refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(surplus.left().await, Left::Closed);
    let publish = Request::publish(&unique("jobs"), "text/plain", "x").send(address).await.expect_status(202);
    assert_eq!(publish.header("connection"), Some("close"));
    assert!(limited(&gateway, "connections").await >= Some(2));
    // From this machine itself.
    poll.send(gateway.address()).await.expect_status(204);
    // Even for what is no poll, one address gets no more than a few.
    let mut silent = Vec::new();
    eventually(SOON, "a connection that is hung up on", async || {
        silent.push(HttpConnection::open(address).await);
        let mut last = HttpConnection::open(address).await;
        let sent = last.send_unless_left(&Request::get("/live").bytes()).await;
        if sent.is_err() || last.answer_unless_left().await.is_err() { Ok(()) } else { Err("it is served") }
    })
    .await;
    drop((silent, open));
    served(address).await.request(&poll).await.expect_status(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_trusted_has_as_many_connections_as_it_likes() {
    let own = own_address().to_string();
    let (gateway, address) = gateway(&["--trusted-proxy", &own]).await;
    let mut open = Vec::new();
    for _ in 0..4 * MAX {
        open.push(served(address).await);
    }
    assert_eq!(limited(&gateway, "connections").await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_not_named_is_one_client_and_the_log_says_so() {
    let (gateway, address) = gateway(&["--max-polls-per-peer", "1"]).await;
    let poll =
        |wait: u32| Request::get(&format!("/topics/a/events?wait={wait}")).header("x-forwarded-for", "203.0.113.1");
    let mut held = HttpConnection::open(address).await;
    held.send(&poll(55).bytes()).await;
    holds(&gateway, 1).await;
    poll(0).send(address).await.problem(429);
    let warned = gateway
        .wait_logged(
            "a peer that sends X-Forwarded-For reached a limit of one client; if it is a proxy, name it with --trusted-proxy",
            SOON,
        )
        .await;
    assert_eq!(warned["level"], "WARN");
}
