//! `publisher watch`: the newest event of a topic is what is in a file, and never a half of it.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use postern_tests::{
    Batch, Broker, EventView, Folder, Publisher, RabbitNode, Reply, RunningPublisher, StubGateway, eventually,
    on_both_brokers, unique,
};
use tokio::time::sleep;

use super::{SOON, World, ended, world, world_on};

const DELETED: &str = "application/vnd.postern.deleted";

/// A reader of what a watcher publishes.
struct Reader {
    world: World,
    came: Vec<EventView>,
    token: Option<String>,
}

impl Reader {
    const fn of(world: World) -> Self {
        Self { world, came: Vec::new(), token: None }
    }

    async fn on(broker: Broker) -> Self {
        let gateway = broker.gateway().await.flag("--max-body", "100000").start().await;
        gateway.wait_ready().await;
        let world = World { gateway, url: String::new(), client: unique("alice"), topic: unique("config") };
        world.poll().wait(0).send(&world.gateway).await.expect_status(204);
        Self::of(world)
    }

    /// Starts a watcher that publishes over HTTP.
    fn watch(&self, file: &Path, more: &[&str]) -> RunningPublisher {
        self.world
            .http_publisher(&[&["watch", file.to_str().unwrap(), self.world.topic.as_str()], more].concat())
            .start()
    }

    /// Returns the next event and confirms those before it.
    async fn next(&mut self) -> EventView {
        while self.came.is_empty() {
            let poll = self.token.iter().fold(self.world.poll(), |poll, token| poll.last_seen(token));
            let answer = poll.send(&self.world.gateway).await;
            // Nothing within one poll is no end yet.
            if answer.status == 200 {
                let Batch { events, last_seen, .. } = answer.batch();
                self.came.extend(events);
                self.token = Some(last_seen);
            }
        }
        self.came.remove(0)
    }

    async fn next_text(&mut self) -> String {
        text(&self.next().await)
    }
}

/// Returns the content that an event says the file has.
fn text(event: &EventView) -> String {
    match (&event.data, event.content_type.as_deref()) {
        (Some(data), None) => data.to_string(),
        (Some(data), Some(_)) => data.as_str().unwrap().to_owned(),
        (None, Some(DELETED)) => "deleted".to_owned(),
        (None, _) => event.data_base64.clone().unwrap(),
    }
}

/// Replaces a file as editors and `mv` do.
fn rename_over(file: &Path, content: impl AsRef<[u8]>) {
    let new = file.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, file).unwrap();
}

async fn says(watcher: &RunningPublisher, words: &str) {
    let said = async || {
        let said = watcher.stderr().tail(30);
        if said.contains(words) { Ok(()) } else { Err(said) }
    };
    eventually(SOON, words, said).await;
}

on_both_brokers!(however_a_file_changes_its_content_comes_once);
async fn however_a_file_changes_its_content_comes_once(broker: Broker) {
    let (mut reader, folder) = (Reader::on(broker).await, Folder::new("watch"));
    let file = folder.write("app.json", r#"{ "n": 1.00 }"#);
    let mut watcher = reader.watch(&file, &[]);
    let first = reader.next().await;
    assert_eq!((text(&first).as_str(), first.content_type.as_deref()), (r#"{"n":1.0}"#, None));
    says(&watcher, "13 bytes, sha256 ").await;
    says(&watcher, &format!("published as {}", first.id)).await;

    // Between any two of these the same content is written again, in another way: no event of its own.
    fs::write(&file, "2").unwrap();
    assert_eq!(reader.next_text().await, "2");
    rename_over(&file, "2");
    rename_over(&file, "3");
    assert_eq!(reader.next_text().await, "3");
    fs::remove_file(&file).unwrap();
    let deleted = reader.next().await;
    assert_eq!((deleted.content_type.as_deref(), deleted.data_base64.as_deref()), (Some(DELETED), Some("")));
    fs::write(&file, "4").unwrap();
    assert_eq!(reader.next_text().await, "4");
    fs::write(&file, "4").unwrap();
    File::options().append(true).open(&file).unwrap().write_all(b"2").unwrap();
    assert_eq!(reader.next_text().await, "42");
    fs::write(&file, "{ \"broken\": ").unwrap();
    says(&watcher, "app.json: not published: the payload is not JSON").await;
    fs::write(&file, "5").unwrap();
    assert_eq!(reader.next_text().await, "5");

    watcher.terminate();
    assert_eq!(watcher.wait_exit(SOON).await.code(), Some(1), "one content was not published");
    says(&watcher, "1 not confirmed").await;
}

/// The files of a config map are links through a folder that is a link itself, and only that one is turned.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_turned_on_the_way_leads_to_new_content() {
    let (mut reader, folder) = (Reader::on(Broker::Embedded).await, Folder::new("watch"));
    let at = |name: &str| folder.path().join(name);
    let version = |name: &str, content: &str| {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("app.yaml"), content).unwrap();
    };
    version("..1", "a: 1");
    symlink("..1", at("..data")).unwrap();
    symlink("..data/app.yaml", at("app.yaml")).unwrap();
    // So long that only what is told can be the reason.
    let mut watcher = reader.watch(&at("app.yaml"), &["--recheck", "1h"]);
    let first = reader.next().await;
    assert_eq!((text(&first).as_str(), first.content_type.as_deref()), ("a: 1", Some("text/yaml; charset=utf-8")));
    for (before, next) in [("..1", "..2"), ("..2", "..3")] {
        version(next, &format!("in: {next}"));
        symlink(next, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        fs::remove_dir_all(at(before)).unwrap();
        assert_eq!(reader.next_text().await, format!("in: {next}"));
    }
    // What the last link leads to is watched, too.
    fs::write(at("..3/app.yaml"), "a: 4").unwrap();
    assert_eq!(reader.next_text().await, "a: 4");
    watcher.terminate();
    assert_eq!(watcher.wait_exit(SOON).await.code(), Some(0));
    says(&watcher, "ended by SIGTERM").await;
    says(&watcher, "published 4 events").await;
}

on_both_brokers!(a_slow_writer_never_shows_a_half);
async fn a_slow_writer_never_shows_a_half(broker: Broker) {
    const CHUNKS: usize = 20;
    let (mut reader, folder) = (Reader::on(broker).await, Folder::new("watch"));
    let whole = |round: usize| format!("{round}: {}\n", "0123456789".repeat(10)).repeat(CHUNKS);
    let file = folder.write("app.conf", &whole(0));
    // Shorter than the pauses of the writer, so that holding still is no proof of being whole.
    let watcher = reader.watch(&file, &["--debounce", "20ms"]);
    assert_eq!(reader.next_text().await, whole(0));
    for round in 1..=2 {
        let content = whole(round);
        // In place, from nothing on.
        let mut writer = File::create(&file).unwrap();
        for chunk in content.as_bytes().chunks(content.len() / CHUNKS) {
            writer.write_all(chunk).unwrap();
            // The writer's own pace, and nothing that is waited for.
            sleep(Duration::from_millis(100)).await;
        }
        drop(writer);
        assert!(reader.next_text().await == content, "not the whole: {}", watcher.stderr().tail(9));
    }
}

on_both_brokers!(of_a_burst_of_writes_the_last_comes_last_and_each_is_whole);
async fn of_a_burst_of_writes_the_last_comes_last_and_each_is_whole(broker: Broker) {
    const WRITES: u32 = 300;
    let (mut reader, folder) = (Reader::on(broker).await, Folder::new("watch"));
    let content = |n: u32| format!("{{\"n\":{n},\"fill\":\"{}\"}}", "x".repeat(5000));
    let file = folder.write("app.json", &content(0));
    let _watcher = reader.watch(&file, &["--debounce", "10ms"]);
    assert_eq!(reader.next().await.number("n"), 0);
    let mut last = 0;
    let writing = async {
        for n in 1..=WRITES {
            if n % 2 == 0 {
                rename_over(&file, content(n));
            } else {
                fs::write(&file, content(n)).unwrap();
            }
            sleep(Duration::from_millis(u64::from(n % 4) * 5)).await;
        }
    };
    let reading = async {
        while last < u64::from(WRITES) {
            let event = reader.next().await;
            let n = event.number("n");
            assert!(n > last, "{n} after {last}");
            assert_eq!(text(&event).len(), content(u32::try_from(n).unwrap()).len());
            last = n;
        }
    };
    tokio::join!(writing, reading);
}

on_both_brokers!(while_the_gateway_is_away_only_the_newest_content_waits);
async fn while_the_gateway_is_away_only_the_newest_content_waits(broker: Broker) {
    let (mut reader, folder) = (Reader::on(broker).await, Folder::new("watch"));
    let file = folder.write("app.txt", "first");
    let mut watcher = reader.watch(&file, &[]);
    assert_eq!(reader.next_text().await, "first");
    says(&watcher, "published as").await;
    reader.world.gateway.kill9();
    fs::write(&file, "never sent").unwrap();
    says(&watcher, "1 not confirmed yet, trying again").await;
    rename_over(&file, "newest");
    reader.world.gateway.start_again().await;
    reader.world.gateway.wait_ready().await;
    assert_eq!(reader.next_text().await, "newest");
    watcher.terminate();
    assert_eq!(watcher.wait_exit(SOON).await.code(), Some(0));
    says(&watcher, "published 2 events").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_amqp_a_killed_broker_gets_the_newest_content_when_it_is_back() {
    let mut node = RabbitNode::start().await;
    let mut reader = Reader::of(world_on(&node.url(), &unique("config")).await);
    let folder = Folder::new("watch");
    let file = folder.path().join("app.txt");
    let watch = ["watch", file.to_str().unwrap(), &reader.world.topic];
    let mut watcher = reader.world.publisher(&watch).start();
    // There is none at first, which is said.
    assert_eq!(reader.next_text().await, "deleted");
    fs::write(&file, "first").unwrap();
    assert_eq!(reader.next_text().await, "first");
    says(&watcher, "5 bytes").await;
    node.kill9();
    fs::write(&file, "never sent").unwrap();
    says(&watcher, "cannot reach amqp://").await;
    fs::write(&file, "newest").unwrap();
    node.start_again().await;
    says(&watcher, "6 bytes").await;
    reader.world.gateway.wait_mailboxes().await;
    // What was read and not confirmed before may come again.
    let mut next = reader.next().await;
    while next.redelivered {
        next = reader.next().await;
    }
    assert_eq!(text(&next), "newest");
    watcher.terminate();
    assert_eq!(watcher.wait_exit(SOON).await.code(), Some(0));
    says(&watcher, "published 3 events").await;
}

/// It is not known whether the first try was stored, so nothing newer may go before it is.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_stored_is_sent_again_under_its_id_before_anything_newer() {
    let folder = Folder::new("watch");
    let file = folder.write("app.txt", "older");
    let gateway = StubGateway::start(|number, _| match number {
        0 => Reply::status("503 Service Unavailable\r\nretry-after: 2"),
        _ => Reply::accepted(),
    })
    .await;
    let watcher = Publisher::new(&["watch", file.to_str().unwrap(), "a.b"]).gateway(&gateway.url()).start();
    says(&watcher, "1 not confirmed yet, trying again").await;
    fs::write(&file, "newer").unwrap();
    says(&watcher, "published as").await;
    let seen = async || if gateway.requests().len() == 3 { Ok(gateway.requests()) } else { Err(gateway.requests()) };
    let requests = eventually(SOON, "three requests", seen).await;
    let bodies: Vec<_> = requests.iter().map(|request| request.body.as_str()).collect();
    assert_eq!(bodies, ["older", "older", "newer"]);
    assert_eq!(requests[0].header("event-id"), requests[1].header("event-id"));
    assert_ne!(requests[1].header("event-id"), requests[2].header("event-id"));
    assert_eq!(requests[1].header("postern-resent"), Some("true"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_said_at_once_and_the_watch_goes_on() {
    let (mut reader, folder) = (Reader::on(Broker::Embedded).await, Folder::new("watch"));
    let file: PathBuf = folder.write("app.txt", "small");
    let mut watcher = reader.watch(&file, &[]);
    assert_eq!(reader.next_text().await, "small");
    fs::write(&file, "x".repeat(100_001)).unwrap();
    says(&watcher, "app.txt: not published: 413 Payload Too Large: an event has at most 100000 bytes here").await;
    fs::write(&file, "small again").unwrap();
    assert_eq!(reader.next_text().await, "small again");
    watcher.interrupt();
    assert_eq!(watcher.wait_exit(SOON).await.code(), Some(1));
    says(&watcher, "published 2 events").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_path_is_known_at_once() {
    let world = world().await;
    let folder = Folder::new("watch");
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let watch =
        async |path: &str, more: &[&str]| world.publisher(&[&["watch", path, "a.b"], more].concat()).run().await;
    ended(&watch(&path("no/such.json"), &[]).await, 64, "there is no folder ");
    ended(&watch(&path(""), &[]).await, 64, "it is a folder; name a file in it");
    ended(&watch(&path("a"), &["--debounce", "0s"]).await, 64, "longer than nothing");
    let absent = Publisher::new(&["watch", &path("a"), "a.b", "--timeout", "300ms"]).gateway("http://127.0.0.1:1");
    ended(&absent.run().await, 69, "start a gateway or name it with --gateway");
}
