//! TLS: HTTP over it is what HTTP in the clear is, and its certificate is replaced while clients are connected.
//!
//! A client speaks to the gateway and not to the broker, so one broker is enough: the embedded one. The linger is a
//! minute here, so whatever comes back sooner did not wait for it.

mod reload;

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use postern_tests::{
    Authority, EventStream, Gateway, GatewayBuilder, HttpConnection, Issued, Left, Poll, Request, TlsClient,
    eventually, eventually_eq, unique,
};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);

/// A gateway that speaks TLS, and a client that trusts it.
struct Secure {
    gateway: Gateway,
    authority: Authority,
    pair: Issued,
    tls: TlsClient,
    client: String,
    topic: String,
}

impl Secure {
    async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    async fn with(flags: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let authority = Authority::new();
        let issued = authority.issue("first");
        let pair = issued.copied("shown");
        let builder = Gateway::builder().embedded().flag("--linger", "60s").flag("--max-body", (16 << 20).to_string());
        let builder = builder.flag("--tls-cert", &pair.cert).flag("--tls-key", &pair.key);
        let gateway = flags(builder).start().await;
        let tls = authority.client();
        Self { gateway, authority, pair, tls, client: unique("alice"), topic: unique("jobs") }
    }

    fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    async fn open(&self) -> HttpConnection {
        self.tls.http1(self.address()).await
    }

    fn poll(&self) -> Poll {
        Poll::of(&self.client).topics(&self.topic).wait(30)
    }

    /// Holds a poll that has no event yet.
    async fn hold(&self, poll: &Poll) -> HttpConnection {
        let mut held = self.open().await;
        held.send(&poll.request().bytes()).await;
        assert!(held.is_silent(Duration::from_millis(200)).await);
        held
    }

    async fn publish(&self, body: &str) {
        let publish = Request::publish(&self.topic, "application/json", body);
        self.open().await.request(&publish).await.expect_status(202);
    }

    /// Returns (events in the mailbox, whether it is read).
    async fn mailbox(&self) -> (Value, Value) {
        let status = Request::get(&format!("/clients/{}", self.client));
        let status = self.open().await.request(&status).await.expect_status(200).json();
        (status["queued"].clone(), status["connected"].clone())
    }

    /// Waits until so many events are back in the mailbox and it is free: at once, not after a timeout.
    async fn is_back(&self, events: u32) {
        let expected = (Value::from(events), Value::from(false));
        eventually_eq(Duration::from_secs(5), "(queued, connected)", expected, async || self.mailbox().await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_chooses_the_version_of_http_and_of_tls() {
    let secure = Secure::new().await;
    let live = Request::get("/live");
    for tls in [secure.tls.clone(), secure.tls.clone().only_tls_1_2()] {
        for offered in [&[][..], &["http/1.1"], &["http/1.1", "h3"]] {
            let mut connection = tls.clone().offering(offered).http1(secure.address()).await;
            assert_eq!(connection.certificate(), secure.pair.certificate());
            connection.request(&live).await.expect_status(200);
            connection.request(&live).await.expect_status(200);
            connection.close().await;
        }
        for offered in [&["h2"][..], &["http/1.1", "h2"]] {
            let connection = tls.clone().offering(offered).http2(secure.address()).await;
            assert_eq!(connection.get("/live").await.0, 200, "{offered:?}");
        }
        let refused = tls.offering(&["spdy/3"]).try_connect(secure.address()).await;
        assert!(refused.is_err_and(|error| error.kind() != ErrorKind::ConnectionRefused));
    }
    let stranger = Authority::new().client().try_connect(secure.address()).await;
    assert_eq!(stranger.unwrap_err().kind(), ErrorKind::InvalidData, "the test would see a certificate that is wrong");
}

/// The gateway's own pages are of https there, and those of http are of another origin.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_to_come_over_tls_as_well() {
    let secure = Secure::new().await;
    let host = format!("localhost:{}", secure.address().port());
    for (origin, status) in [(format!("https://{host}"), 204), (format!("http://{host}"), 403)] {
        let poll = secure.poll().wait(0).header("host", &host).header("origin", &origin);
        let answer = secure.open().await.request(&poll.request()).await;
        assert_eq!(answer.status, status, "{origin}: {answer:?}");
    }
}

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Leaving {
    /// With `close_notify`, then FIN.
    InOrder,
    /// With FIN alone, as many clients do and every one that dies with nothing unread.
    WithoutNotice,
    WithReset,
}

const WAYS: [Leaving; 3] = [Leaving::InOrder, Leaving::WithoutNotice, Leaving::WithReset];

async fn leave(mut connection: HttpConnection, way: Leaving) {
    match way {
        Leaving::InOrder => connection.close().await,
        Leaving::WithoutNotice => {
            connection.finish_sending_without_notice();
            // As in the clear, the gateway ends its side without a word if it was asked for something.
            connection.left().await;
        }
        Leaving::WithReset => connection.reset(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_whose_client_leaves_in_any_way_frees_its_mailbox_at_once_and_loses_nothing() {
    for way in WAYS {
        let secure = Secure::new().await;
        let held = secure.hold(&secure.poll()).await;
        leave(held, way).await;
        secure.is_back(0).await;
        secure.publish(r#"{"n":0}"#).await;
        secure.is_back(1).await;
        let batch = secure.open().await.request(&secure.poll().request()).await.batch();
        assert_eq!(batch.numbers("n"), [0], "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_read_is_no_loss_and_one_that_was_not_comes_again() {
    for way in WAYS {
        let secure = Secure::new().await;
        let mut connection = secure.hold(&secure.poll()).await;
        secure.publish(r#"{"n":0}"#).await;
        let batch = connection.answer().await.batch();
        assert_eq!(batch.numbers("n"), [0]);
        leave(connection, way).await;
        if way == Leaving::WithReset {
            secure.is_back(1).await;
        } else {
            // The session lingers for the next poll.
            assert_eq!(secure.mailbox().await.1, true, "{way:?}");
        }
        let again = secure.open().await.request(&secure.poll().request()).await.batch();
        assert_eq!((again.numbers("n"), again.events[0].redelivered), (vec![0], true), "{way:?}");
        let confirm = secure.poll().last_seen(&again.last_seen).wait(0).request();
        secure.open().await.request(&confirm).await.expect_status(204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_written_out_is_back_at_once() {
    let secure = Secure::new().await;
    let mut held = secure.hold(&secure.poll()).await;
    // Larger than all buffers between the two, those of TLS included.
    secure.publish(&format!(r#"{{"n":0,"pad":"{}"}}"#, "x".repeat(12 << 20))).await;
    assert_eq!(held.head().await.status, 200);
    held.reset();
    secure.is_back(1).await;
    let batch = secure.open().await.request(&secure.poll().request()).await.batch();
    assert_eq!((batch.numbers("n"), batch.events[0].redelivered), (vec![0], true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_ends_its_side_after_an_event_gets_its_answer() {
    let secure = Secure::new().await;
    let publish = Request::publish(&secure.topic, "application/json", "{\"n\":1}").bytes();
    for is_in_order in [true, false] {
        let mut connection = secure.open().await;
        connection.send(&publish).await;
        if is_in_order {
            connection.finish_sending().await;
        } else {
            connection.finish_sending_without_notice();
        }
        connection.answer().await.expect_status(202);
        assert_eq!(connection.left().await, Left::Closed);
    }
    // The end in the middle of a body is no whole event.
    let mut half = secure.open().await;
    half.send(&publish[..publish.len() - 1]).await;
    half.finish_sending().await;
    if let Ok(answer) = half.answer_unless_left().await {
        answer.problem(400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_many_requests_at_once_come_over_tls() {
    let secure = Secure::new().await;
    let path = format!("/clients/{}/events?topics={}", secure.client, secure.topic);
    let mut stream = EventStream::over(secure.open().await, &path).await;
    secure.publish("{\"n\":1}").await;
    secure.publish("{\"n\":2}").await;
    assert_eq!(stream.take(2).await.iter().map(|event| event.number("n")).collect::<Vec<_>>(), [1, 2]);
    stream.close().await;
    secure.is_back(2).await;

    let shared = secure.tls.clone().offering(&["h2"]).http2(secure.address()).await;
    let feed = format!("/topics/{}/events?last_seen=now&wait=30", secure.topic);
    let polls = (0..20).map(|_| shared.get(&feed));
    let publishing = async {
        let held = async || {
            let metrics = secure.open().await.request(&Request::get("/metrics")).await.text();
            if metrics.contains("\npostern_polls_held 20\n") { Ok(()) } else { Err("not all are held") }
        };
        eventually(SOON, "all polls to be held", held).await;
        secure.publish("{\"n\":3}").await;
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(polls), publishing);
    assert!(answers.iter().all(|(status, body)| *status == 200 && body.contains("{\"n\":3}")), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_speak_tls_is_hung_up_on() {
    let secure = Secure::with(|builder| builder.flag("--log", "debug")).await;
    let mut plain = HttpConnection::open(secure.address()).await;
    plain.send(&Request::get("/live").bytes()).await;
    // An alert of TLS may come first, which such a client does not understand.
    let (mut stream, _) = plain.into_parts();
    let mut said = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut said).await;
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
    let line = secure.gateway.wait_logged("a TLS handshake failed", SOON).await;
    assert_eq!(
        (&line["level"], &line["error"]),
        (&"DEBUG".into(), &"what the client sent is no TLS; https:// is spoken here".into())
    );
    secure.open().await.request(&Request::get("/live")).await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_has_a_place_and_a_deadline() {
    let secure = Secure::with(|builder| builder.flag("--max-connections", "1").flag("--header-timeout", "8s")).await;
    let mut silent = HttpConnection::open(secure.address()).await;
    // A client that has no place is served over TLS as well: what is no poll, once.
    let taken = async || {
        let answer = secure.open().await.request(&secure.poll().wait(0).request()).await;
        if answer.status == 503 { Ok(answer.problem(503)) } else { Err(answer) }
    };
    assert!(eventually(SOON, "no place to be left", taken).await.contains("--max-connections"));
    let both = secure.tls.clone().offering(&["h2", "http/1.1"]);
    let mut surplus = both.http1(secure.address()).await;
    assert_eq!(surplus.protocol(), Some(&b"http/1.1"[..]), "one request needs no more");
    let live = surplus.request(&Request::get("/live")).await.expect_status(200);
    assert_eq!(live.header("connection"), Some("close"));
    assert_eq!(silent.left().await, Left::Closed);
    let free = async || {
        let answer = secure.open().await.request(&secure.poll().wait(0).request()).await;
        if answer.status == 204 { Ok(()) } else { Err(answer) }
    };
    eventually(SOON, "the place to be free", free).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_gateway_is_as_orderly_as_in_the_clear() {
    let mut secure = Secure::with(|builder| builder.flag("--shutdown-grace", "1m")).await;
    let (mut held, mut idle, mut silent) =
        (secure.hold(&secure.poll()).await, secure.open().await, secure.open().await);
    let mut mute = HttpConnection::open(secure.address()).await;
    idle.request(&Request::get("/live")).await.expect_status(200);
    secure.gateway.terminate();
    let answer = held.answer().await.expect_status(204);
    assert_eq!(answer.header("connection"), Some("close"));
    for connection in [&mut held, &mut idle] {
        assert_eq!(connection.left().await, Left::Closed);
    }
    held.close().await;
    // One that asked nothing, and one that did not even begin to shake hands.
    let _ = (silent.left().await, mute.left().await);
    assert_eq!(secure.gateway.wait_exit(SOON).await.code(), Some(0), "well within the grace period");
}

/// Runs a gateway with these flags, which are wrong, and returns what it says.
async fn refused(cert: Option<&str>, key: Option<&str>) -> String {
    let mut builder = Gateway::builder().switch("--memory").flag("--listen", "127.0.0.1:0");
    for (name, value) in [("--tls-cert", cert), ("--tls-key", key)] {
        builder = value.iter().fold(builder, |builder, value| builder.flag(name, *value));
    }
    let finished = builder.run(SOON).await;
    assert_eq!(finished.status.code(), Some(64), "{finished:?}");
    assert!(!finished.stderr.contains("\"listening\""), "{finished:?}");
    finished.stderr
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_used_end_the_start_and_are_named() {
    let (authority, folder) = (Authority::new(), postern_tests::Folder::new("tls"));
    let [one, other] = ["one", "other"].map(|name| authority.issue(name));
    let [cert, key] = [&one.cert, &one.key].map(|path| path.display().to_string());
    let write = |name: &str, text: &str| folder.write(name, text).display().to_string();
    let pem = std::fs::read_to_string(&one.key).unwrap();
    let (cut, secret) = (write("cut", &pem[..pem.len() - 10]), write("garbage", &pem.replace('M', "!")));
    let locked = write("locked", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let strange = write("strange", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let odd = write("odd", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for (cert, key, words) in [
        (Some(cert.as_str()), None, &["--tls-cert needs --tls-key"][..]),
        (None, Some(key.as_str()), &["--tls-key needs --tls-cert"]),
        (Some("/no/such/file"), Some(&key), &["--tls-cert /no/such/file cannot be read", "No such file"]),
        (Some(&cert), Some("/no/such/file"), &["--tls-key /no/such/file cannot be read"]),
        (Some(&key), Some(&cert), &["--tls-cert ", "one.key holds no certificate"]),
        (Some(&cert), Some(&cert), &["--tls-key ", "one.pem holds no private key"]),
        (Some(&cert), Some(&cut), &["--tls-key ", "cut is damaged: it ends in the middle"]),
        (Some(&cert), Some(&secret), &["garbage is damaged: a section is no base64"]),
        (Some(&cert), Some(&locked), &["locked holds a private key with a passphrase", "openssl pkey"]),
        (Some(&cert), Some(&strange), &["--tls-key ", "strange cannot be used"]),
        (Some(&odd), Some(&key), &["--tls-cert ", "odd cannot be used"]),
        (Some(&cert), other.key.to_str(), &["other.key is not the key of the first certificate in", "one.pem"]),
    ] {
        let said = refused(cert, key).await;
        for word in words {
            assert!(said.contains(word), "{word:?} is not in {said}");
        }
        assert!(!said.contains(pem.lines().nth(1).unwrap()), "no part of a key is shown: {said}");
    }
}
