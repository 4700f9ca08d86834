//! What is handed over, and what a confirm does to it.

use std::sync::atomic::{AtomicUsize, Ordering};

use broker::{Broker, Delivery, Lease, LeaseRequest};
use events::Event;
use futures_util::FutureExt;

use super::world::{Factory, NEVER, NOTHING, Reader, is_silent, numbers, open, take};

pub(super) async fn no_more_is_handed_over_than_the_window_holds<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let mut lease = open(world.broker(), LeaseRequest { window: 3, ..alice.request() }).await;
    assert!((1..=3).contains(&lease.window()));
    alice.publish(world.broker(), 0..8).await;
    assert_eq!(numbers(&take(&mut lease, 3).await), [0, 1, 2]);
    is_silent(&mut lease).await;
}

pub(super) async fn a_confirm_makes_room<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let mut lease = open(world.broker(), LeaseRequest { window: 3, ..alice.request() }).await;
    alice.publish(world.broker(), 0..8).await;
    let first = take(&mut lease, 3).await;
    lease.confirm(first[1].tag).await.unwrap();
    assert_eq!(numbers(&take(&mut lease, 2).await), [3, 4]);
    is_silent(&mut lease).await;
    lease.confirm(first[2].tag).await.unwrap();
    let [fifth] = &take(&mut lease, 1).await[..] else { unreachable!() };
    is_silent(&mut lease).await;
    lease.confirm(fifth.tag).await.unwrap();
    assert_eq!(numbers(&take(&mut lease, 2).await), [6, 7]);
}

pub(super) async fn a_confirm_goes_by_place_and_not_by_id<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let mut lease = open(world.broker(), alice.request()).await;
    let event = alice.event(".x", 7);
    // A broker may leave it at the first of one id and one topic.
    for words in [".x", ".y", ".z"] {
        world.broker().publish(&Event { topic: alice.topic(words), ..event.clone() }).await.unwrap();
    }
    let same = take(&mut lease, 3).await;
    lease.confirm(same[0].tag).await.unwrap();
    lease.release().await;
    let mut lease = open(world.broker(), alice.again()).await;
    assert_eq!(numbers(&alice.rest(world.broker(), &mut lease, ".x").await), [7, 7]);
}

pub(super) async fn what_is_confirmed_does_not_come_again<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let mut lease = open(world.broker(), alice.request()).await;
    alice.publish(world.broker(), 0..10).await;
    let all = take(&mut lease, 10).await;
    lease.confirm(all[3].tag).await.unwrap();
    lease.confirm(all[8].tag).await.unwrap();
    lease.release().await;
    let mut lease = open(world.broker(), alice.again()).await;
    assert_eq!(numbers(&alice.rest(world.broker(), &mut lease, ".x").await), [9]);
    lease.release().await;
    let mut lease = open(world.broker(), alice.again()).await;
    assert_eq!(lease.backlog(), 0);
    assert_eq!(numbers(&alice.rest(world.broker(), &mut lease, ".x").await), NOTHING);
}

pub(super) async fn who_opens_is_told_how_many_wait<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let lease = open(world.broker(), alice.request()).await;
    assert_eq!(lease.backlog(), 0);
    lease.release().await;
    alice.publish(world.broker(), 0..5).await;
    let mut lease = open(world.broker(), alice.again()).await;
    assert_eq!(lease.backlog(), 5);
    take(&mut lease, 3).await;
    lease.release().await;
    // Where more wait than the window holds, the reader needs to know no more than that.
    let lease = open(world.broker(), LeaseRequest { window: 2, ..alice.again() }).await;
    assert!((2..=5).contains(&lease.backlog()), "{}", lease.backlog());
}

/// Takes what a Lease gives without waiting.
fn take_at_once(lease: &mut impl Lease) -> Vec<Delivery> {
    std::iter::from_fn(|| lease.next().now_or_never()).map(Result::unwrap).collect()
}

pub(super) async fn a_mailbox_that_is_drained_has_given_all_that_was_stored<F: Factory>() {
    const EVENTS: usize = 300;
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let mut lease = open(world.broker(), LeaseRequest { window: 7, ..alice.request() }).await;
    let stored = AtomicUsize::new(0);
    let publish = async {
        for number in 0..EVENTS {
            alice.publish(world.broker(), [number]).await;
            stored.store(number + 1, Ordering::Relaxed);
        }
    };
    let read = async {
        let mut given = Vec::new();
        while given.len() < EVENTS {
            let before = stored.load(Ordering::Relaxed);
            let is_drained = lease.is_drained().await.unwrap();
            let taken = if is_drained { take_at_once(&mut lease) } else { take(&mut lease, 1).await };
            if let Some(last) = taken.last() {
                lease.confirm(last.tag).await.unwrap();
            }
            given.extend(numbers(&taken));
            assert!(!is_drained || given.len() >= before, "{} of {before} were given", given.len());
            tokio::task::yield_now().await;
        }
        given
    };
    let (given, ()) = tokio::join!(read, publish);
    assert_eq!(given, (0..EVENTS).collect::<Vec<_>>());
    assert!(lease.is_drained().await.unwrap(), "nothing is left");
}

pub(super) async fn a_mailbox_whose_rest_is_on_its_way_is_not_drained<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    alice.subscribe(world.broker()).await;
    for round in 0..50 {
        alice.publish(world.broker(), 0..16).await;
        let mut lease = open(world.broker(), LeaseRequest { window: 8, ..alice.again() }).await;
        let mut taken = take(&mut lease, 8).await;
        assert!(!lease.is_drained().await.unwrap(), "the window is full");
        // This makes room for all that is left.
        lease.confirm(taken[7].tag).await.unwrap();
        while !lease.is_drained().await.unwrap() {
            taken.append(&mut take(&mut lease, 1).await);
        }
        taken.append(&mut take_at_once(&mut lease));
        assert_eq!(numbers(&taken), (0..16).collect::<Vec<_>>(), "round {round}");
        lease.confirm(taken[15].tag).await.unwrap();
        lease.release().await;
    }
}
