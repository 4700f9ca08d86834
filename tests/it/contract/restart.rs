//! What outlives the broker's process.

use broker::{Broker, Lease, LeaseRequest, MailboxStatus};

use super::world::{Durable, NEVER, Reader, assert_flags, marker, next, number, numbers, open, take};

pub(super) async fn a_restart_changes_nothing<F: Durable>() {
    let (mut world, alice) = (F::start(NEVER).await, Reader::new());
    let (bob, carol) = (alice.beside(), alice.beside());
    alice.subscribe(world.broker()).await;
    world.broker().bind(&bob.client, &[bob.pattern(".x")]).await.unwrap();
    carol.subscribe(world.broker()).await;
    alice.publish(world.broker(), 0..10).await;
    world.broker().unbind(&carol.client, &carol.pattern(".#")).await.unwrap();
    let mut lease = open(world.broker(), LeaseRequest { window: 5, ..alice.again() }).await;
    let taken = take(&mut lease, 5).await;
    lease.confirm(taken[1].tag).await.unwrap();
    lease.release().await;

    world.restart().await;
    let status = async |reader: &Reader| world.broker().mailbox(&reader.client).await.unwrap();
    let queued = |queued| Some(MailboxStatus { queued, leased: false });
    assert_eq!([status(&alice).await, status(&bob).await, status(&carol).await], [8, 11, 10].map(queued));
    alice.publish(world.broker(), 10..15).await;

    let mut lease = open(world.broker(), alice.again()).await;
    let all = take(&mut lease, 13).await;
    assert_eq!(numbers(&all), (2..15).collect::<Vec<_>>());
    assert!(all[..3].iter().all(|delivery| delivery.redelivered), "{all:?}");
    assert!(all[8..].iter().all(|delivery| !delivery.redelivered), "{all:?}");
    let mut lease = open(world.broker(), bob.again()).await;
    marker(&next(&mut lease).await);
    assert_eq!(numbers(&take(&mut lease, 15).await), (0..15).collect::<Vec<_>>());
    let mut lease = open(world.broker(), carol.again()).await;
    assert_eq!(numbers(&take(&mut lease, 10).await), (0..10).collect::<Vec<_>>());
    assert_eq!(status(&carol).await.map(|status| status.queued), Some(0));
}

pub(super) async fn a_crash_loses_nothing_that_was_stored<F: Durable>() {
    let (mut world, alice) = (F::start(NEVER).await, Reader::new());
    let bob = alice.beside();
    alice.subscribe(world.broker()).await;
    alice.publish(world.broker(), 0..10).await;
    world.broker().bind(&bob.client, &[bob.pattern(".x")]).await.unwrap();

    let mut lease = open(world.broker(), LeaseRequest { window: 5, ..alice.again() }).await;
    let taken = take(&mut lease, 5).await;
    lease.confirm(taken[1].tag).await.unwrap();
    let mut other = open(world.broker(), bob.again()).await;
    let told = marker(&next(&mut other).await);
    world.crash().await;
    drop((lease, other));

    alice.publish(world.broker(), 10..12).await;
    let mut lease = open(world.broker(), alice.again()).await;
    let first = next(&mut lease).await;
    // What was confirmed in the last moments may come again.
    let from = number(&first);
    assert!(from <= 2, "{from} should not be gone");
    let rest = take(&mut lease, 11 - from).await;
    assert_eq!(numbers(&rest), (from + 1..12).collect::<Vec<_>>());
    let all = [vec![first], rest].concat();
    assert_flags(&all, 5 - from, 10);
    let mut other = open(world.broker(), bob.again()).await;
    let again = next(&mut other).await;
    assert_eq!((marker(&again), again.redelivered), (told, true));
    assert_eq!(numbers(&take(&mut other, 2).await), [10, 11]);
}

pub(super) async fn a_crash_soon_after_a_start_is_no_secret<F: Durable>() {
    let (mut world, alice) = (F::start(NEVER).await, Reader::new());
    alice.subscribe(world.broker()).await;
    alice.publish(world.broker(), 0..3).await;
    world.restart().await;
    // Nothing was written down between the start and the crash.
    let mut lease = open(world.broker(), LeaseRequest { window: 2, ..alice.again() }).await;
    take(&mut lease, 2).await;
    world.crash().await;
    drop(lease);
    let mut lease = open(world.broker(), alice.again()).await;
    let all = take(&mut lease, 3).await;
    assert_eq!(numbers(&all), [0, 1, 2]);
    assert_flags(&all, 2, 3);
}
