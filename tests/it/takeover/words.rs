//! What must not depend on whether, and when, the word of one gateway reaches another.

use amqp::names;
use lapin::BasicProperties;
use postern_tests::{Amqp, DirectPublisher, PATIENCE, Poll, Request, eventually, eventually_eq, unique};
use tokio::task::JoinSet;

use super::Fleet;

/// How often a client that unbinds through one gateway names the topic again at the other one.
const UNBOUND: u64 = 40;

/// How many clients take turns, and how many equal messages each of them gets.
const CLIENTS: usize = 12;
const EQUAL: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_unbound_through_one_gateway_is_bound_by_the_next_poll_that_names_it_at_another() {
    let fleet = Fleet::new(2).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let mut poll = Poll::of(&client).topics(&topic).wait(0);
    poll.send(&fleet.gateways[0]).await.expect_status(204);
    let unbind = Request::new("DELETE", &format!("/clients/{client}/topics/{topic}"));
    let amqp = DirectPublisher::connect(&fleet.url).await;
    for number in 0..UNBOUND {
        unbind.send(fleet.gateways[1].address()).await.expect_status(204);
        // It is answered once the topic is bound.
        poll.send(&fleet.gateways[0]).await.expect_status(204);
        amqp.publish_numbered(&topic, number..number + 1).await;
        let batch = poll.clone().wait(5).send(&fleet.gateways[0]).await.expect_status(200).batch();
        assert_eq!(batch.numbers("n"), [number]);
        poll = poll.last_seen(&batch.last_seen);
    }
}

/// Each of them is told apart, and a client may have up to 64 topics.
#[tokio::test(flavor = "multi_thread")]
async fn many_topics_are_unbound_at_once_through_another_gateway() {
    const TOPICS: usize = 64;
    let fleet = Fleet::new(2).await;
    let client = unique("alice");
    let topics: Vec<_> = (0..TOPICS).map(|_| unique("jobs")).collect();
    let _held = Poll::of(&client).topics(&topics.join(",")).wait(50).hold(&fleet.gateways[0]).await;
    let amqp = Amqp::connect(&fleet.url).await;
    eventually_eq(PATIENCE, "readers", Some(1), async || amqp.consumer_count(&client).await).await;
    let (address, mut unbinding) = (fleet.gateways[1].address(), JoinSet::new());
    for topic in topics {
        let unbind = Request::new("DELETE", &format!("/clients/{client}/topics/{topic}"));
        unbinding.spawn(async move { unbind.send(address).await.status });
    }
    let answers = unbinding.join_all().await;
    assert!(answers.iter().all(|status| *status == 204), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_equal_messages_each_is_handed_out_wherever_its_client_polls() {
    let fleet = Fleet::new(2).await;
    let amqp = Amqp::connect(&fleet.url).await;
    let clients: Vec<_> = (0..CLIENTS).map(|_| (unique("alice"), unique("jobs"))).collect();
    for (client, topic) in &clients {
        Poll::of(client).topics(topic).wait(0).send(&fleet.gateways[0]).await.expect_status(204);
        for _ in 0..EQUAL {
            let properties = BasicProperties::default().with_message_id("same".into());
            amqp.publish_foreign(topic, properties, br#"{"n":7}"#).await;
        }
    }
    let addresses: Vec<_> = fleet.gateways.iter().map(postern_tests::Gateway::address).collect();
    let mut reading = JoinSet::new();
    for (client, topic) in clients {
        let addresses = addresses.clone();
        reading.spawn(async move {
            let (mut got, mut poll) = (0, Poll::of(&client).topics(&topic).wait(0).query("limit", "2"));
            for turn in 0.. {
                let answer = poll.request().send(addresses[turn % 2]).await;
                if answer.status == 204 {
                    return got;
                }
                let batch = answer.expect_status(200).batch();
                got += batch.events.len();
                poll = poll.last_seen(&batch.last_seen);
            }
            got
        });
    }
    let got = reading.join_all().await;
    assert!(got.iter().all(|got| *got >= EQUAL), "of {EQUAL} each: {got:?}");
}

/// Only the gateway that sends next misses the exchange.
#[tokio::test(flavor = "multi_thread")]
async fn gateways_hear_each_other_again_after_their_exchange_was_deleted() {
    let fleet = Fleet::new(2).await;
    let (client, topic) = (unique("alice"), unique("jobs"));
    let poll = Poll::of(&client).topics(&topic).wait(0);
    poll.send(&fleet.gateways[0]).await.expect_status(204);
    Amqp::connect(&fleet.url).await.delete_exchange(names::CONTROL_EXCHANGE).await;
    for (turn, gateway) in [1, 0, 1, 0].into_iter().enumerate() {
        let poll = poll.clone().query("poll", &format!("tab.{turn}"));
        eventually(PATIENCE, "the mailbox to be handed over", async || {
            let answer = poll.send(&fleet.gateways[gateway]).await;
            if answer.status == 204 { Ok(()) } else { Err(answer.status) }
        })
        .await;
    }
}

/// None of them has a token that would name a gateway.
#[tokio::test(flavor = "multi_thread")]
async fn many_clients_without_events_that_move_at_once_are_all_served() {
    const MANY: usize = 300;
    let fleet = Fleet::new(2).await;
    let polls: Vec<_> = (0..MANY).map(|_| Poll::of(&unique("alice")).topics("none").wait(0)).collect();
    for poll in &polls {
        poll.clone().query("poll", "tab.1").send(&fleet.gateways[0]).await.expect_status(204);
    }
    let (address, mut moving) = (fleet.gateways[1].address(), JoinSet::new());
    for poll in polls {
        moving.spawn(async move { poll.query("poll", "tab.2").request().send(address).await.status });
    }
    let answers = moving.join_all().await;
    let refused = answers.iter().filter(|status| **status != 204).count();
    assert_eq!(refused, 0, "of {MANY}");
}
