//! Publishing over HTTP: what a backend sends is what a client gets, byte for byte, and a 202 is a promise.
//!
//! A broker that does not confirm is a frozen RabbitMQ: an embedded one freezes with its gateway.

mod batch;
mod batch_killed;
mod cloud_events;
pub(crate) mod compressed;
mod half_closed;
mod repeats;

use std::{collections::HashSet, time::Duration};

use events::{EventId, EventTime};
use postern_tests::{
    Answer, Batch, Broker, Gateway, GatewayBuilder, HttpConnection, Poll, RabbitNode, Request, eventually,
    on_both_brokers, unique,
};
use tokio::time::timeout;
use uuid::Uuid;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// A client that has subscribed, and its gateway.
struct Subscriber {
    gateway: Gateway,
    client: String,
    topic: String,
}

async fn subscriber(broker: Broker) -> Subscriber {
    subscriber_behind(broker.gateway().await).await
}

/// A client that has subscribed through this gateway.
async fn subscriber_behind(gateway: GatewayBuilder) -> Subscriber {
    let gateway = gateway.start().await;
    gateway.wait_ready().await;
    let subscriber = Subscriber { gateway, client: unique("alice"), topic: unique("jobs") };
    subscriber.poll().wait(0).send(&subscriber.gateway).await.expect_status(204);
    subscriber
}

impl Subscriber {
    fn poll(&self) -> Poll {
        Poll::of(&self.client).topics(&self.topic).wait(10)
    }

    async fn post(&self, request: Request) -> Answer {
        request.send(self.gateway.address()).await
    }

    /// Reads so many different events, confirming them, and says how many came in all.
    async fn read(&self, count: usize) -> (HashSet<String>, usize) {
        let (mut seen, mut came, mut token) = (HashSet::new(), 0, None::<String>);
        while seen.len() < count {
            let poll = token.iter().fold(self.poll(), |poll, token| poll.last_seen(token));
            let Batch { events, last_seen, .. } = poll.send(&self.gateway).await.batch();
            came += events.len();
            seen.extend(events.into_iter().map(|event| event.id));
            token = Some(last_seen);
        }
        (seen, came)
    }
}

fn id_of(accepted: &Answer) -> String {
    let json = accepted.json();
    assert_eq!((accepted.status, accepted.header("content-type")), (202, Some(JSON)), "{accepted:?}");
    assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
    json["id"].as_str().unwrap().to_owned()
}

on_both_brokers!(a_payload_arrives_byte_for_byte_as_what_its_type_says);
async fn a_payload_arrives_byte_for_byte_as_what_its_type_says(broker: Broker) {
    let subscriber = subscriber(broker).await;
    let text = r#""content_type":"text/plain; charset=utf-8","data":"#;
    let plain = r#""content_type":"text/plain","data":"#;
    let binary = r#""content_type":"application/octet-stream","data_base64":"#;
    let object = "{ \"n\" : 1.00,\t\"e\":\"\\u00e4\\/\",\n \"big\":12345678901234567890.10, \"n\":-0.0E+1 }";
    let as_is = |payload: &str| format!(r#""data":{payload}"#);
    let table: Vec<(Option<&str>, &[u8], String)> = vec![
        // Declared JSON is not encoded again.
        (Some(JSON), object.as_bytes(), as_is(object)),
        (Some(JSON), b" [1, 2 ]\r\n", as_is(" [1, 2 ]\r\n")),
        (Some("application/vnd.build+json; charset=utf-8"), b"null", as_is("null")),
        (Some("TEXT/JSON"), "\"ä ☃ 🦀\"".as_bytes(), as_is("\"ä ☃ 🦀\"")),
        // What `curl -d` sends: JSON if it parses, else text, else bytes.
        (Some(FORM), br#"{"state":"passed"}"#, as_is(r#"{"state":"passed"}"#)),
        (Some(FORM), b"state=passed&n=1", format!(r#"{text}"state=passed&n=1""#)),
        (Some(FORM), b"\xff\x00", format!(r#"{binary}"/wA=""#)),
        (None, b"42", as_is("42")),
        (None, "grüß\n\"dich\"\u{0}".as_bytes(), format!(r#"{text}"grüß\n\"dich\"\u0000""#)),
        (None, b"\xfe", format!(r#"{binary}"/g==""#)),
        (None, b"", format!(r#"{text}"""#)),
        (Some(FORM), b"", format!(r#"{text}"""#)),
        // Nothing is guessed over a publisher's own word.
        (Some("text/plain"), b"{\"n\":1}", format!(r#"{plain}"{{\"n\":1}}""#)),
        (Some("text/plain"), b"", format!(r#"{plain}"""#)),
        (Some("text/plain"), b"\xe4", r#""content_type":"text/plain","data_base64":"5A==""#.to_owned()),
        (Some("application/octet-stream"), b"{}", format!(r#"{binary}"e30=""#)),
        (Some("image/png"), b"\x89PNG", r#""content_type":"image/png","data_base64":"iVBORw==""#.to_owned()),
    ];
    let mut connection = HttpConnection::open(subscriber.gateway.address()).await;
    let mut token = None::<String>;
    for (content_type, payload, expected) in &table {
        let request = Request::new("POST", &format!("/topics/{}/events", subscriber.topic)).body(*payload);
        let request = content_type.iter().fold(request, |request, each| request.header("Content-Type", each));
        let id = id_of(&connection.request(&request).await);
        let poll = token.iter().fold(subscriber.poll(), |poll, token| poll.last_seen(token));
        let answer = poll.send_on(&mut connection).await;
        let Batch { events, last_seen, .. } = answer.batch();
        let (topic, time) = (&subscriber.topic, &events[0].time);
        let whole = format!(
            r#"{{"events":[{{"id":"{id}","topic":"{topic}","time":"{time}",{expected}}}],"last_seen":"{last_seen}"}}"#
        );
        assert_eq!(answer.text(), whole, "{content_type:?} {payload:?}");
        token = Some(last_seen);
    }
}

on_both_brokers!(ids_and_times_tell_when_an_event_was_published);
async fn ids_and_times_tell_when_an_event_was_published(broker: Broker) {
    let subscriber = subscriber(broker).await;
    let before = EventTime::now();
    let id = id_of(&subscriber.post(Request::publish(&subscriber.topic, JSON, "1")).await);
    let after = EventTime::now();
    let batch = subscriber.poll().send(&subscriber.gateway).await.batch();
    assert_eq!(batch.ids(), [&id]);
    // RFC 3339 in UTC and of one length, so its order is that of time.
    let between = before.to_string()..=after.to_string();
    let in_id = EventTime::from_unix_millis(id.parse::<EventId>().unwrap().unix_millis().unwrap()).unwrap();
    for time in [&batch.events[0].time, &in_id.to_string()] {
        assert!(time.len() == "2026-01-02T03:04:05.678Z".len() && between.contains(time), "{time} {between:?}");
    }
}

on_both_brokers!(a_retry_with_the_same_event_id_is_the_same_event);
async fn a_retry_with_the_same_event_id_is_the_same_event(broker: Broker) {
    let subscriber = subscriber(broker).await;
    let id = Uuid::now_v7().to_string();
    for shown in [id.clone(), id.to_ascii_uppercase(), id.replace('-', "")] {
        let request = Request::publish(&subscriber.topic, JSON, "1").header("Event-Id", &shown);
        assert_eq!(id_of(&subscriber.post(request).await), id);
    }
    let batch = subscriber.poll().send(&subscriber.gateway).await.batch();
    assert!(batch.ids().iter().all(|each| *each == id), "{batch:?}");
    let has_many = batch.events.len() > 1;
    assert!(broker == Broker::RabbitMq || !has_many, "{batch:?}");
}

on_both_brokers!(an_event_that_no_pattern_selects_is_accepted);
async fn an_event_that_no_pattern_selects_is_accepted(broker: Broker) {
    let subscriber = subscriber(broker).await;
    let unbound = Request::publish(&unique("unbound"), JSON, "1");
    id_of(&subscriber.post(unbound).await);
    assert_eq!(subscriber.poll().wait(0).send(&subscriber.gateway).await.status, 204);
}

on_both_brokers!(two_hundred_at_once_all_arrive_once);
async fn two_hundred_at_once_all_arrive_once(broker: Broker) {
    let subscriber = subscriber(broker).await;
    let posts = (0..200).map(|n| {
        let (request, address) =
            (Request::publish(&subscriber.topic, JSON, n.to_string()), subscriber.gateway.address());
        tokio::spawn(async move { id_of(&request.send(address).await) })
    });
    let mut ids = HashSet::new();
    for post in posts.collect::<Vec<_>>() {
        ids.insert(post.await.unwrap());
    }
    assert_eq!(ids.len(), 200);
    assert_eq!(subscriber.read(200).await, (ids, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_confirm_the_answer_says_how_to_retry_and_the_retry_works() {
    let node = RabbitNode::start().await;
    let subscriber = subscriber_behind(Gateway::builder().amqp_url(&node.url())).await;
    node.freeze();
    // One whose id the gateway makes, and one whose client made it.
    let own = Uuid::now_v7().to_string();
    let first = Request::publish(&subscriber.topic, JSON, "1");
    let second = Request::publish(&subscriber.topic, JSON, "2").header("Event-Id", &own);
    let refused = async || tokio::join!(subscriber.post(first), subscriber.post(second));
    let (first, second) = timeout(Duration::from_secs(15), refused()).await.expect("an answer within about 10 s");
    let ids = [first, second].map(|refused| {
        let detail = refused.problem(503);
        assert!(
            detail.contains("may have been stored; retry with Postern-Resent: true and the same Event-Id: "),
            "{detail}"
        );
        let retry_after: u32 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&retry_after), "{retry_after}");
        detail.rsplit_once("Event-Id: ").unwrap().1.to_owned()
    });
    assert_eq!(ids[1], own);

    node.thaw();
    subscriber.gateway.wait_ready().await;
    for (id, payload) in ids.iter().zip(["1", "2"]) {
        let again = Request::publish(&subscriber.topic, JSON, payload).header("Event-Id", id);
        let accepted = eventually(Duration::from_mins(1), "a retry to be accepted", async || {
            let answer = subscriber.post(again.clone()).await;
            if answer.status == 202 { Ok(answer) } else { Err(answer) }
        });
        assert_eq!(id_of(&accepted.await), *id);
    }
    // The reading side has to come back too; until it has, polls are told to try again.
    let ids = HashSet::from(ids);
    eventually(Duration::from_mins(1), "both events", async || {
        let answer = subscriber.poll().send(&subscriber.gateway).await;
        if answer.status != 200 {
            return Err(answer);
        }
        let came: HashSet<_> = answer.batch().events.into_iter().map(|event| event.id).collect();
        if came == ids { Ok(()) } else { Err(answer) }
    })
    .await;
}

on_both_brokers!(the_deepest_payload_that_is_taken_does_not_spoil_the_answer_it_is_in);
/// A payload is part of an answer, so an answer is a few levels deeper than its deepest payload.
async fn the_deepest_payload_that_is_taken_does_not_spoil_the_answer_it_is_in(broker: Broker) {
    let subscriber = subscriber(broker).await;
    for levels in (50..=130).rev() {
        let nested = "[".repeat(levels) + &"]".repeat(levels);
        let answer = subscriber.post(Request::publish(&subscriber.topic, JSON, nested)).await;
        if answer.status == 202 {
            // The parser that reads here is the one that looked at the payload there.
            assert_eq!(
                subscriber.poll().send(&subscriber.gateway).await.batch().ids(),
                [id_of(&answer)],
                "{levels} levels"
            );
            return;
        }
        answer.problem(400);
    }
    panic!("50 levels are refused");
}

on_both_brokers!(what_its_publisher_marks_as_resent_is_shown_as_a_repeat);
async fn what_its_publisher_marks_as_resent_is_shown_as_a_repeat(broker: Broker) {
    let subscriber = postern_tests::World::new(broker).await;
    let post = |mark: &str| Request::publish(&subscriber.topic, "application/json", "1").header("Postern-Resent", mark);
    for mark in ["false", "true"] {
        post(mark).send(subscriber.gateway.address()).await.expect_status(202);
        let batch = subscriber.poll().send(&subscriber.gateway).await.batch();
        assert_eq!(batch.events.last().map(|event| event.redelivered), Some(mark == "true"), "{mark}: {batch:?}");
        subscriber.poll().last_seen(&batch.last_seen).wait(0).send(&subscriber.gateway).await.expect_status(204);
    }
    let detail = post("yes").send(subscriber.gateway.address()).await.problem(400);
    assert!(detail.starts_with("Postern-Resent: "), "{detail}");
}
