//! What is handed over, and what a confirm does to it.

use gateway::broker::{Broker, Lease, LeaseRequest};

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
    for _ in 0..3 {
        world.broker().publish(&event).await.unwrap();
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
    assert_eq!(lease.counted(), 0);
    assert_eq!(numbers(&alice.rest(world.broker(), &mut lease, ".x").await), NOTHING);
}

pub(super) async fn who_opens_is_told_how_many_wait<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let lease = open(world.broker(), alice.request()).await;
    assert_eq!(lease.counted(), 0);
    lease.release().await;
    alice.publish(world.broker(), 0..5).await;
    let mut lease = open(world.broker(), alice.again()).await;
    assert_eq!(lease.counted(), 5);
    take(&mut lease, 3).await;
    lease.release().await;
    // Where more wait than the window holds, whoever reads needs to know no more than that.
    let lease = open(world.broker(), LeaseRequest { window: 2, ..alice.again() }).await;
    assert!((2..=5).contains(&lease.counted()), "{}", lease.counted());
}
