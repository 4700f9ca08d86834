//! The `publisher` program: what it reads arrives once, in order, byte for byte, and its exit code tells the truth.
//!
//! Over AMQP it is tested on RabbitMQ; over HTTP on both brokers.

mod http;
mod pipe;
mod tls;
mod watch;

use std::{collections::HashMap, time::Duration};

use postern_tests::{Batch, EventView, Finished, Folder, Gateway, Poll, Publisher, eventually, shared_broker, unique};

const SOON: Duration = Duration::from_mins(1);

/// A gateway, and a client that has subscribed to everything below a topic.
struct World {
    gateway: Gateway,
    url: String,
    client: String,
    topic: String,
}

async fn world() -> World {
    world_on(shared_broker().await.url(), &unique("builds")).await
}

async fn world_on(url: &str, topic: &str) -> World {
    let gateway = Gateway::builder().amqp_url(url).start().await;
    gateway.wait_ready().await;
    let world = World { gateway, url: url.to_owned(), client: unique("alice"), topic: topic.to_owned() };
    world.poll().wait(0).send(&world.gateway).await.expect_status(204);
    world
}

impl World {
    fn poll(&self) -> Poll {
        Poll::of(&self.client).topics(&format!("{}.#", self.topic)).wait(20)
    }

    fn publisher(&self, arguments: &[&str]) -> Publisher {
        Publisher::new(arguments).amqp_url(&self.url)
    }

    /// As [`Self::publisher`], but over HTTP.
    fn http_publisher(&self, arguments: &[&str]) -> Publisher {
        Publisher::new(arguments).gateway(&format!("http://{}", self.gateway.address()))
    }

    /// Reads so many events, confirming them, and checks that each answer is these payloads as they are, in order.
    async fn reads_json(&self, payloads: &[&str]) -> Vec<EventView> {
        let (mut seen, mut token) = (Vec::<EventView>::new(), None::<String>);
        while seen.len() < payloads.len() {
            let poll = token.iter().fold(self.poll(), |poll, token| poll.last_seen(token));
            let answer = poll.send(&self.gateway).await;
            let Batch { events, last_seen, .. } = answer.batch();
            assert!(seen.len() + events.len() <= payloads.len(), "more came than was published: {answer:?}");
            let exactly: Vec<String> = events
                .iter()
                .zip(&payloads[seen.len()..])
                .map(|(event, payload)| {
                    let EventView { id, topic, time, .. } = event;
                    format!(r#"{{"id":"{id}","topic":"{topic}","time":"{time}","data":{payload}}}"#)
                })
                .collect();
            let exactly = format!(r#"{{"events":[{}],"last_seen":"{last_seen}"}}"#, exactly.join(","));
            assert!(answer.text() == exactly, "after {}:\n{}\nis not\n{exactly}", seen.len(), answer.text());
            seen.extend(events);
            token = Some(last_seen);
        }
        let rest = token.iter().fold(self.poll().wait(0), |poll, token| poll.last_seen(token));
        rest.send(&self.gateway).await.expect_status(204);
        seen
    }

    /// Reads, confirming, until so many different numbers have come, in order; whatever comes again says so.
    async fn reads_through_repeats(&self, count: usize) {
        let (mut first_ids, mut order, mut token) = (HashMap::new(), Vec::new(), None::<String>);
        while order.len() < count {
            let poll = token.iter().fold(self.poll(), |poll, token| poll.last_seen(token));
            let Batch { events, last_seen, .. } = poll.send(&self.gateway).await.batch();
            for event in events {
                let n = event.number("n");
                match first_ids.get(&n) {
                    None => order.push(n),
                    Some(id) => assert!(event.redelivered && *id == event.id, "{n} came again: {event:?}"),
                }
                first_ids.entry(n).or_insert(event.id);
            }
            token = Some(last_seen);
        }
        assert!(order.is_sorted(), "{order:?}");
    }

    /// Waits until so many events, not more than a window, come at once; confirms none.
    async fn reads(&self, count: usize) -> Vec<EventView> {
        eventually(SOON, "all events at once", async || {
            let batch = self.poll().send(&self.gateway).await.batch();
            if batch.events.len() == count { Ok(batch.events) } else { Err(batch.events.len()) }
        })
        .await
    }
}

#[track_caller]
fn ended(finished: &Finished, code: i32, words: &str) {
    assert_eq!(finished.status.code(), Some(code), "{finished:?}");
    assert!(finished.stderr.contains(words), "{words:?} is not in {finished:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn emit_prints_the_id_under_which_the_event_arrives() {
    let folder = Folder::new("emit");
    let file = folder.write("payload", "{ \"from\": \"a file\" }");
    let json = Some("{ \"n\": 1.00 }");
    for (arguments, input, content_type, data) in [
        (&["{ \"n\": 1.00 }"][..], None, None, json),
        (&["hello"], None, Some("text/plain; charset=utf-8"), None),
        (&["-"], json, None, json),
        (&[], json, None, json),
        (&["--file", file.to_str().unwrap()], None, None, Some("{ \"from\": \"a file\" }")),
        (&["<p>", "--content-type", "text/html"], None, Some("text/html"), None),
        (&[], Some(""), Some("text/plain; charset=utf-8"), None),
    ] {
        let world = world().await;
        let topic = format!("{}.one", world.topic);
        let publisher = world.publisher(&[&["emit", topic.as_str()], arguments].concat());
        let finished = input.iter().fold(publisher, |publisher, input| publisher.stdin(*input)).run().await;
        ended(&finished, 0, "published 1 event in ");
        let event = match data {
            Some(json) => world.reads_json(&[json]).await.remove(0),
            None => world.reads(1).await.remove(0),
        };
        assert_eq!((format!("{}\n", event.id), event.content_type.as_deref()), (finished.stdout, content_type));
        assert_eq!((event.topic, event.redelivered), (topic, false));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_emit_is_the_same_event_and_says_so() {
    let world = world().await;
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let finished = world.publisher(&["emit", &world.topic, "1", "--repeat-of", id, "--quiet"]).run().await;
    assert_eq!((finished.stdout.trim_end(), finished.stderr.as_str()), (id, ""));
    let event = world.reads(1).await.remove(0);
    assert_eq!((event.id.as_str(), event.redelivered), (id, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_what_happened() {
    let url = shared_broker().await.url();
    let unbound = unique("unbound");
    let emit = |more: &[&str]| Publisher::new(&[&["emit", unbound.as_str()], more].concat()).amqp_url(url);
    ended(&emit(&["1"]).run().await, 0, "0 resent, 0 not confirmed");
    ended(&emit(&["{", "--content-type", "application/json"]).run().await, 1, "not JSON");
    ended(&emit(&["--file", "/no/such/file"]).run().await, 64, "/no/such/file");
    ended(&emit(&["1", "--repeat-of", "a b"]).run().await, 64, "--repeat-of");
    ended(&Publisher::new(&["emit", "a..b", "1"]).run().await, 64, "a..b");
    ended(&Publisher::new(&["pipe"]).run().await, 64, "--topic-from");
    ended(&Publisher::new(&[]).run().await, 64, "Usage");
    let wrong = Publisher::new(&["emit", "a", "1"]).amqp_url("amqp://alice:hunter2@broker:port/").run().await;
    ended(&wrong, 64, "amqp://user:password@host");
    assert!(!wrong.stderr.contains("hunter2"), "{wrong:?}");
    let lines = Publisher::new(&["pipe", "a", "--timeout", "300ms"]).amqp_url("amqp://alice:hunter2@127.0.0.1:1/");
    let unreachable = lines.stdin("1\n").run().await;
    ended(&unreachable, 69, "start the broker or name it with --amqp-url");
    assert!(unreachable.stdout.is_empty() && !unreachable.stderr.contains("hunter2"), "{unreachable:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn simulated_jobs_go_from_queued_over_running_to_their_end() {
    let world = world().await;
    let simulate = ["simulate", "--count", "30", "--rate", "500", "--jobs", "3", "--prefix", &world.topic];
    ended(&world.publisher(&simulate).run().await, 0, "published 30 events");
    let mut jobs = HashMap::<u64, String>::new();
    for event in world.reads(30).await {
        let (job, data) = (event.number("job"), event.data.unwrap());
        assert_eq!(event.topic, format!("{}.{job}.status", world.topic));
        let state = data["state"].as_str().unwrap().to_owned();
        let before = jobs.insert(job, state.clone());
        let legal = match before.as_deref() {
            None => state == "queued",
            Some("queued") => state == "running",
            Some("running") => matches!(state.as_str(), "running" | "passed" | "failed"),
            Some(_) => false,
        };
        assert!(legal, "job {job}: {before:?} → {state}");
        assert!(data["progress"].as_u64().is_some_and(|percent| percent <= 100), "{data}");
    }
    assert!(jobs.len() >= 3, "{jobs:?}");
}
