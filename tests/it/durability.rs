//! What the embedded broker promises of its disk: what was answered 202 is on it, however the process ends, and
//! publishers share its syncs.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use postern_tests::{Batch, Disk, Gateway, HttpConnection, Poll, Request, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::sleep,
};

const PUBLISHERS: usize = 8;

/// Publishes an event; `false` if the connection ends before its whole answer is there.
async fn try_publish(stream: &mut TcpStream, topic: &str, body: &str) -> bool {
    let request = Request::publish(topic, "application/json", body).bytes();
    if stream.write_all(&request).await.is_err() {
        return false;
    }
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        if !matches!(stream.read_buf(&mut answer).await, Ok(1..)) {
            return false;
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 202 "), "{}", String::from_utf8_lossy(&answer));
    true
}

/// Publishes numbers to a topic of its own until the gateway is gone; returns those that were answered.
async fn publish_until_gone(gateway: SocketAddr, publisher: usize, next: Arc<AtomicU64>) -> Vec<u64> {
    let mut answered = Vec::new();
    let Ok(mut stream) = TcpStream::connect(gateway).await else { return answered };
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let body = format!("{{\"publisher\":{publisher},\"n\":{number}}}");
        if !try_publish(&mut stream, &format!("load.{publisher}"), &body).await {
            return answered;
        }
        answered.push(number);
    }
}

/// A client that confirms what it saw with its next poll, whatever happens to the gateway.
#[derive(Default)]
struct Reader {
    token: Option<String>,
    ids: Vec<String>,
    numbers: Vec<Vec<u64>>,
}

impl Reader {
    /// Reads what there is, and confirms all but the last batch.
    async fn read(&mut self, gateway: &Gateway) {
        loop {
            let poll = Poll::of("reader").topics("load.*").wait(1);
            let answer = self.token.iter().fold(poll, |poll, token| poll.last_seen(token)).send(gateway).await;
            if answer.status == 204 {
                return;
            }
            self.take(&answer.batch());
        }
    }

    fn take(&mut self, batch: &Batch) {
        assert!(!batch.reset, "nothing is gone: {batch:?}");
        self.numbers.resize(PUBLISHERS, Vec::new());
        for event in &batch.events {
            let data = event.data.as_ref().unwrap();
            if self.ids.contains(&event.id) {
                assert!(event.redelivered, "an unflagged repeat: {event:?}");
                continue;
            }
            self.ids.push(event.id.clone());
            let publisher = usize::try_from(data["publisher"].as_u64().unwrap()).unwrap();
            self.numbers[publisher].push(data["n"].as_u64().unwrap());
        }
        self.token = Some(batch.last_seen.clone());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_kills_under_load_lose_nothing_that_was_answered() {
    let mut gateway = Gateway::builder().embedded().start().await;
    let mut reader = Reader::default();
    reader.read(&gateway).await;
    let counters: Vec<Arc<AtomicU64>> = (0..PUBLISHERS).map(|_| Arc::default()).collect();
    let mut answered = vec![Vec::new(); PUBLISHERS];
    for round in 0..50_u64 {
        let mut publishing = JoinSet::new();
        for (publisher, counter) in counters.iter().enumerate() {
            let (address, counter) = (gateway.address(), Arc::clone(counter));
            publishing.spawn(async move { (publisher, publish_until_gone(address, publisher, counter).await) });
        }
        // The timing is the point here: anywhere in the life of a batch.
        sleep(Duration::from_micros(2_000 + rand::random_range(0..40_000))).await;
        gateway.kill9();
        for (publisher, numbers) in publishing.join_all().await {
            answered[publisher].extend(numbers);
        }
        gateway.start_again().await;
        if round % 10 == 0 {
            reader.read(&gateway).await;
        }
    }
    reader.read(&gateway).await;
    let total: usize = answered.iter().map(Vec::len).sum();
    assert!(total > 500, "{total} events are too few to show anything");
    for (publisher, (answered, seen)) in answered.iter().zip(&reader.numbers).enumerate() {
        assert!(seen.is_sorted_by(|a, b| a < b), "publisher {publisher}: out of order: {seen:?}");
        let missing: Vec<_> = answered.iter().filter(|number| seen.binary_search(number).is_err()).collect();
        assert!(missing.is_empty(), "publisher {publisher}: answered, but lost: {missing:?}");
    }
}

/// Has 32 publishers publish so many events each.
async fn publish_together(gateway: &Gateway, events: usize) {
    let mut publishing = JoinSet::new();
    for publisher in 0..32 {
        let address = gateway.address();
        publishing.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            for number in 0..events {
                assert!(try_publish(&mut stream, &format!("load.{publisher}"), &number.to_string()).await);
            }
        });
    }
    publishing.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_share_a_sync_whether_it_is_short_or_long() {
    for sync_micros in [0, 3_000] {
        let disk = Disk::new();
        let gateway = disk.under(Gateway::builder().embedded(), sync_micros).start().await;
        publish_together(&gateway, 10).await;
        let before = disk.syncs();
        publish_together(&gateway, 100).await;
        let syncs = disk.syncs() - before;
        assert!(syncs * 4 <= 32 * 100, "{syncs} syncs for 3200 events where a sync takes {sync_micros} µs more");
        assert!(syncs >= 32 * 100 / 64, "only {syncs} syncs: 3200 answers cannot all have waited for one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_waits_for_its_sync() {
    let disk = Disk::new();
    let gateway = disk.under(Gateway::builder().embedded(), 0).start().await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    for number in 0..20 {
        let before = disk.syncs();
        assert!(try_publish(&mut stream, "a", &number.to_string()).await);
        assert!(disk.syncs() > before, "event {number} was answered before any sync");
    }
}

/// Returns the bytes that a process has written so far, to files and sockets (proc(5), `io`).
fn bytes_written(gateway: &Gateway) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{}/io", gateway.process().id())).unwrap();
    io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_to_ten_thousand_mailboxes_writes_its_payload_once() {
    const MAILBOXES: usize = 10_000;
    const PAYLOAD: usize = 500_000;
    let gateway = Gateway::builder().embedded().start().await;
    let mut binding = JoinSet::new();
    for first in 0..64 {
        let address = gateway.address();
        binding.spawn(async move {
            let mut connection = HttpConnection::open(address).await;
            for client in (first..MAILBOXES).step_by(64) {
                let bind = Request::new("PUT", &format!("/clients/client-{client}/topics/news.%23"));
                connection.request(&bind).await.expect_status(204);
            }
        });
    }
    binding.join_all().await;
    let payload: String = (0..PAYLOAD / 2).map(|_| char::from(rand::random_range(b'a'..=b'z'))).collect();
    let body = format!("{{\"n\":1,\"text\":\"{payload}{payload}\"}}");
    let before = bytes_written(&gateway);
    Request::publish("news.today", "application/json", body.clone()).send(gateway.address()).await.expect_status(202);
    let written = usize::try_from(bytes_written(&gateway) - before).unwrap();
    assert!(written >= body.len(), "{written} bytes: the payload was not written");
    assert!(written < body.len() + body.len() / 4, "{written} bytes for a payload of {}", body.len());
    for client in [0, MAILBOXES / 2, MAILBOXES - 1] {
        let poll = Poll::of(&format!("client-{client}")).wait(0);
        assert_eq!(poll.send(&gateway).await.batch().numbers("n"), [1], "client-{client}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_events_serves_readers_and_heals() {
    let disk = Disk::new();
    let mut gateway = disk.under(Gateway::builder().embedded(), 0).start().await;
    let poll = || Poll::of("alice").topics("a.#").wait(0);
    poll().send(&gateway).await.expect_status(204);
    for number in 0..10 {
        let body = format!("{{\"n\":{number}}}");
        Request::publish("a.b", "application/json", body).send(gateway.address()).await.expect_status(202);
    }
    disk.set_full(true);
    let publish = |body: &str| Request::publish("a.b", "application/json", body);
    let refused = publish("{\"n\":-1}").send(gateway.address()).await;
    assert!(
        refused.problem(503).contains("cannot be written") && refused.header("retry-after").is_some(),
        "{refused:?}"
    );
    gateway.wait_answer("/ready", 503, Duration::from_secs(5)).await;
    // Readers go on; what they confirm now is written later.
    let batch = poll().send(&gateway).await.batch();
    assert_eq!(batch.numbers("n"), (0..10).collect::<Vec<_>>());
    poll().last_seen(&batch.last_seen).send(&gateway).await.expect_status(204);

    disk.set_full(false);
    gateway.wait_answer("/ready", 200, Duration::from_secs(20)).await;
    publish("{\"n\":10}").send(gateway.address()).await.expect_status(202);
    gateway.kill9();
    gateway.start_again().await;
    let seen = eventually(Duration::from_mins(1), "the mailbox after the restart", async || {
        let batch = poll().last_seen(&batch.last_seen).send(&gateway).await.batch();
        if batch.events.is_empty() { Err("nothing") } else { Ok(batch.numbers("n")) }
    })
    .await;
    assert_eq!(seen, [10], "what was confirmed on the full disk does not come again, what was refused never came");
}

/// Retention frees the room for what comes; nothing else has to.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_heals_by_retention_alone() {
    const AGE: Duration = Duration::from_secs(15);
    let disk = Disk::new();
    let gateway = disk.holding(Gateway::builder()).flag("--retention-age", "15s").start().await;
    let poll = || Poll::of("alice").topics("a.#").wait(0);
    poll().send(&gateway).await.expect_status(204);
    let mut connection = HttpConnection::open(gateway.address()).await;
    // Tables and journal, in which there is no place left from now on.
    for number in 0..60 {
        let event = format!("{{\"n\":{number},\"pad\":\"{}\"}}", "x".repeat(1_000_000));
        let publish = Request::publish("a.b", "application/json", event);
        connection.request(&publish).await.expect_status(202);
    }
    disk.fill();
    let publish = |number: u64| Request::publish("a.b", "application/json", format!("{{\"n\":{number}}}"));
    let refused = eventually(AGE, "a full disk", async || {
        let event = format!("{{\"n\":60,\"pad\":\"{}\"}}", "x".repeat(1_000_000));
        let answer = Request::publish("a.b", "application/json", event).send(gateway.address()).await;
        if answer.status == 202 { Err("it fits") } else { Ok(answer) }
    })
    .await;
    assert!(refused.problem(503).contains("No space left on device"), "{refused:?}");
    gateway.wait_answer("/ready", 200, AGE + Duration::from_mins(1)).await;
    publish(61).send(gateway.address()).await.expect_status(202);
    let told = poll().last_seen("older").send(&gateway).await.batch();
    assert!(told.reset && told.events.is_empty(), "what retention took is told: {told:?}");
    // On a slow machine the last of the large ones are not old enough to go.
    let mut seen = told;
    while seen.numbers("n").last() != Some(&61) {
        seen = poll().last_seen(&seen.last_seen).send(&gateway).await.batch();
    }
}
