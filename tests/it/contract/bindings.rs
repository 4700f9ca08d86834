//! **Durability**: an event is in every mailbox that was bound when it was published, once, and in no other.

use broker::{Broker, Lease, LeaseRequest};

use super::world::{Factory, NEVER, Reader, numbers, open, take};

pub(super) async fn patterns_select_as_a_topic_exchange_does<F: Factory>() {
    let (world, topics) = (F::start(NEVER).await, Reader::new());
    let published = ["", ".a", ".a.b", ".a.b.c", ".b", ".b.a"];
    let selected: [(&str, &[usize]); 8] = [
        ("", &[0]),
        (".a", &[1]),
        (".*", &[1, 4]),
        (".#", &[0, 1, 2, 3, 4, 5]),
        (".a.#", &[1, 2, 3]),
        (".*.b", &[2]),
        (".#.b", &[2, 4]),
        (".*.*.#", &[2, 3, 5]),
    ];
    let mut readers = Vec::new();
    for (pattern, _) in selected {
        let reader = topics.beside();
        let request = LeaseRequest { topics: vec![topics.pattern(pattern)], ..reader.again() };
        open(world.broker(), request).await.release().await;
        readers.push(reader);
    }
    for (number, words) in published.iter().enumerate() {
        world.broker().publish(&topics.event(words, number)).await.unwrap();
    }
    for ((pattern, expected), reader) in selected.iter().zip(readers) {
        let status = world.broker().mailbox(&reader.client).await.unwrap().unwrap();
        assert_eq!(status.queued as usize, expected.len(), "{pattern}");
        let mut lease = open(world.broker(), reader.again()).await;
        assert_eq!(numbers(&take(&mut lease, expected.len()).await), *expected, "{pattern}");
    }
}

pub(super) async fn two_patterns_give_an_event_once<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let topics = [".#", ".*", ".x", ".#.x"].map(|words| alice.pattern(words)).to_vec();
    let mut lease = open(world.broker(), LeaseRequest { topics, ..alice.again() }).await;
    alice.publish(world.broker(), 0..3).await;
    assert_eq!(numbers(&alice.rest(world.broker(), &mut lease, ".x").await), [0, 1, 2]);
    lease.release().await;
    alice.publish(world.broker(), 3..6).await;
    let mut lease = open(world.broker(), alice.again()).await;
    assert_eq!(numbers(&alice.rest(world.broker(), &mut lease, ".x").await), [3, 4, 5]);
}

pub(super) async fn every_mailbox_that_is_bound_gets_an_event<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let readers = [alice.clone(), alice.beside(), alice.beside()];
    for reader in &readers {
        reader.subscribe(world.broker()).await;
    }
    alice.publish(world.broker(), 0..4).await;
    for reader in &readers {
        let status = world.broker().mailbox(&reader.client).await.unwrap();
        assert_eq!(status.map(|status| status.queued), Some(4), "it is there when the publisher is told so");
    }
    // What one confirms, the others still have.
    for reader in &readers {
        let mut lease = open(world.broker(), reader.again()).await;
        assert_eq!(numbers(&take(&mut lease, 4).await), [0, 1, 2, 3]);
        world.broker().delete(&reader.client).await.unwrap();
    }
}

pub(super) async fn an_event_without_a_mailbox_is_no_error<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    alice.publish(world.broker(), 0..3).await;
}

pub(super) async fn a_mailbox_gets_nothing_from_before_it_was_bound<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    alice.publish(world.broker(), 0..3).await;
    let mut lease = open(world.broker(), alice.request()).await;
    world.broker().publish(&alice.event("", 3)).await.unwrap();
    assert_eq!(numbers(&alice.rest(world.broker(), &mut lease, "").await), [3]);
}

pub(super) async fn opening_adds_bindings_and_takes_none_away<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    for words in [".a", ".b", ".a"] {
        let request = LeaseRequest { topics: vec![alice.pattern(words)], ..alice.again() };
        open(world.broker(), request).await.release().await;
    }
    for (number, words) in [".a", ".b", ".c"].iter().enumerate() {
        world.broker().publish(&alice.event(words, number)).await.unwrap();
    }
    let mut lease = open(world.broker(), alice.again()).await;
    assert_eq!(numbers(&alice.rest(world.broker(), &mut lease, ".a").await), [0, 1]);
}

pub(super) async fn an_open_lease_gets_what_is_bound_meanwhile<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let topics = vec![alice.pattern(".a")];
    let mut lease = open(world.broker(), LeaseRequest { topics, ..alice.again() }).await;
    for number in 0..3 {
        world.broker().publish(&alice.event(".a", 2 * number)).await.unwrap();
        world.broker().publish(&alice.event(".b", 2 * number + 1)).await.unwrap();
        world.broker().bind(&alice.client, &[alice.pattern(".b")]).await.unwrap();
    }
    assert_eq!(numbers(&take(&mut lease, 5).await), [0, 2, 3, 4, 5]);
}

pub(super) async fn unbinding_leaves_what_is_queued<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let topics = vec![alice.pattern(".a"), alice.pattern(".b")];
    open(world.broker(), LeaseRequest { topics, ..alice.again() }).await.release().await;
    world.broker().publish(&alice.event(".a", 0)).await.unwrap();
    world.broker().unbind(&alice.client, &alice.pattern(".a")).await.unwrap();
    world.broker().publish(&alice.event(".a", 1)).await.unwrap();
    world.broker().publish(&alice.event(".b", 2)).await.unwrap();
    world.broker().bind(&alice.client, &[alice.pattern(".a")]).await.unwrap();
    world.broker().publish(&alice.event(".a", 3)).await.unwrap();
    let mut lease = open(world.broker(), alice.again()).await;
    assert_eq!(numbers(&alice.rest(world.broker(), &mut lease, ".b").await), [0, 2, 3]);
}

pub(super) async fn an_open_lease_gets_nothing_new_that_is_unbound_meanwhile<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let topics = vec![alice.pattern(".a"), alice.pattern(".b")];
    let mut lease = open(world.broker(), LeaseRequest { topics, window: 1, ..alice.again() }).await;
    world.broker().publish(&alice.event(".a", 0)).await.unwrap();
    world.broker().publish(&alice.event(".a", 1)).await.unwrap();
    world.broker().unbind(&alice.client, &alice.pattern(".a")).await.unwrap();
    world.broker().publish(&alice.event(".a", 2)).await.unwrap();
    assert_eq!(numbers(&alice.rest(world.broker(), &mut lease, ".b").await), [0, 1]);
}

pub(super) async fn unbinding_nothing_is_no_error<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    world.broker().unbind(&alice.client, &alice.pattern(".a")).await.unwrap();
    assert_eq!(world.broker().mailbox(&alice.client).await.unwrap(), None, "and makes no mailbox");
    alice.subscribe(world.broker()).await;
    world.broker().unbind(&alice.client, &alice.pattern(".a")).await.unwrap();
    alice.publish(world.broker(), 0..1).await;
    let mut lease = open(world.broker(), alice.again()).await;
    assert_eq!(numbers(&take(&mut lease, 1).await), [0]);
}
