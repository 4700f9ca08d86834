//! The listener for operators: it has what they ask and nothing else, and a gateway that is full can be looked at.

use std::{fs, fs::Permissions, net::SocketAddr, os::unix::fs::PermissionsExt, time::Duration};

use postern_tests::{
    Authority, Broker, Folder, Gateway, HttpConnection, Poll, Request, eventually_eq, free_port, unique,
};

const SOON: Duration = Duration::from_secs(20);

/// Returns the address of the listener for operators.
async fn admin(gateway: &Gateway) -> SocketAddr {
    let said = gateway.wait_logged("listening", SOON).await;
    said["admin"].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no admin listener in {said}"))
}

fn metric(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_and_clients_have_listeners_of_their_own() {
    let gateway = Broker::Embedded.gateway().await.flag("--admin-listen", "127.0.0.1:0").start().await;
    let (admin, public) = (admin(&gateway).await, gateway.address());
    let answer = async |path: &str, address: SocketAddr| Request::get(path).send(address).await;
    let metrics = answer("/metrics", admin).await.expect_status(200).text();
    assert!(metrics.contains("postern_ready 1"), "{metrics}");
    for path in ["/live", "/ready"] {
        answer(path, admin).await.expect_status(200);
        answer(path, public).await.expect_status(200);
    }
    let detail = answer("/metrics", public).await.problem(404);
    assert!(detail.contains("--admin-listen"), "{detail}");

    let (client, topic) = (unique("alice"), unique("jobs"));
    for request in [
        Request::get("/"),
        Request::get("/client.js"),
        Request::get("/openapi.json"),
        Request::get("/no/such/path"),
        Request::get(&format!("/clients/{client}")),
        Poll::of(&client).topics(&topic).wait(0).request(),
        Request::new("PUT", &format!("/clients/{client}/topics/{topic}")),
        Request::publish(&topic, "application/json", "{}"),
    ] {
        let detail = request.send(admin).await.problem(404);
        assert!(detail.contains("/metrics, /ready and /live alone"), "{request:?}: {detail}");
    }
    Request::get(&format!("/clients/{client}")).send(public).await.problem(404);
    let feed = format!("/topics/{topic}/events?last_seen=oldest&wait=0");
    Request::get(&feed).send(public).await.expect_status(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tokens_are_needed_operators_need_none() {
    let folder = Folder::new("secret");
    let secret = folder.write("secret", &"s".repeat(32));
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let builder = Broker::Embedded.gateway().await.flag("--token-secret-file", &secret);
    let gateway = builder.flag("--admin-listen", "127.0.0.1:0").start().await;
    let admin = admin(&gateway).await;
    for path in ["/metrics", "/ready", "/live"] {
        Request::get(path).send(admin).await.expect_status(200);
    }
    // No token opens anything else here, so none is asked for.
    let poll = Poll::of(&unique("alice")).topics("a").wait(0).request();
    poll.send(admin).await.problem(404);
    poll.send(gateway.address()).await.problem(401);
    Request::get("/metrics").send(gateway.address()).await.problem(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_gateway_can_be_looked_at_and_operators_take_no_place_of_clients() {
    let builder = Broker::Embedded.gateway().await.flag("--max-connections", "1").flag("--admin-listen", "127.0.0.1:0");
    let gateway = builder.start().await;
    let admin = admin(&gateway).await;
    let mut looking = HttpConnection::open(admin).await;
    let metrics = Request::get("/metrics");
    let mut only = HttpConnection::open(gateway.address()).await;
    only.request(&Request::get("/live")).await.expect_status(200);
    let text = looking.request(&metrics).await.expect_status(200).text();
    assert_eq!((metric(&text, "postern_connections"), metric(&text, "postern_connections_refused_total")), (1, 0));

    // More than are served even in a hurry.
    let mut waiting = Vec::new();
    for _ in 0..400 {
        waiting.push(HttpConnection::open(gateway.address()).await);
    }
    let refused = async || {
        let text = looking.request(&metrics).await.expect_status(200).text();
        metric(&text, "postern_connections_refused_total") > 0
    };
    eventually_eq(SOON, "whether clients are refused", true, refused).await;
    Request::get("/ready").send(admin).await.expect_status(200);
    drop(waiting);

    // 63 more, and one too many.
    let mut others = Vec::new();
    for _ in 0..63 {
        let mut other = HttpConnection::open(admin).await;
        other.request(&Request::get("/live")).await.expect_status(200);
        others.push(other);
    }
    let mut surplus = HttpConnection::open(admin).await;
    let _ = surplus.send_unless_left(&Request::get("/live").bytes()).await;
    assert!(surplus.head_unless_left().await.is_err());
    looking.request(&metrics).await.expect_status(200);
    only.request(&Request::get("/live")).await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stays_in_the_clear_beside_tls_and_can_be_a_socket_file() {
    let (authority, folder) = (Authority::new(), Folder::new("admin"));
    let (pair, socket) = (authority.issue("gateway"), folder.path().join("admin.sock"));
    let admin_listen = format!("127.0.0.1:{},unix:{}", free_port(), socket.display());
    let builder = Gateway::builder().embedded().env("POSTERN_ADMIN_LISTEN", admin_listen.clone());
    let mut gateway = builder.flag("--tls-cert", &pair.cert).flag("--tls-key", &pair.key).start().await;
    assert_eq!(gateway.wait_logged("listening", SOON).await["admin"], admin_listen.replace(',', ", ").as_str());
    let admin = admin_listen.split(',').next().unwrap();
    Request::get("/metrics").send(admin.parse().unwrap()).await.expect_status(200);
    HttpConnection::open_unix(&socket).await.request(&Request::get("/metrics")).await.expect_status(200);
    let over_tls = authority.client().http1(gateway.address()).await.request(&Request::get("/metrics")).await;
    assert!(over_tls.problem(404).contains("--admin-listen"));

    let check = async |url: String| Gateway::builder().flag("--check", url).run(SOON).await;
    assert_eq!(check(format!("http://{admin}/ready")).await.status.code(), Some(0));
    let refused = check(format!("https://{}/ready", gateway.address())).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("--admin-listen"), "{refused:?}");

    gateway.terminate();
    assert_eq!(gateway.wait_exit(SOON).await.code(), Some(0));
    assert!(!socket.exists());
}
