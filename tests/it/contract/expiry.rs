//! How long a mailbox is kept without a reader.

use std::time::Duration;

use broker::{Broker, Lease, LeaseRequest, OpenError};
use postern_tests::eventually;

use super::world::{Factory, Reader, marker, next, numbers, open, refused, take};

/// Long enough for what is done in one breath, with a slow machine under it; spread by ±10 %.
const EXPIRY: Duration = Duration::from_secs(2);

async fn is_gone<F: Factory>(world: &F, reader: &Reader) {
    eventually(Duration::from_mins(1), "the mailbox expires", async || {
        if world.has_mailbox(&reader.client).await { Err("it is still there") } else { Ok(()) }
    })
    .await;
}

pub(super) async fn a_mailbox_that_is_not_read_expires<F: Factory>() {
    let (world, alice) = (F::start(EXPIRY).await, Reader::new());
    alice.subscribe(world.broker()).await;
    alice.publish(world.broker(), 0..3).await;
    let mut lease = open(world.broker(), alice.again()).await;
    take(&mut lease, 2).await;
    drop(lease);
    is_gone(&world, &alice).await;
    let error = refused(world.broker(), alice.again()).await;
    assert!(matches!(error, OpenError::NoMailbox), "{error}");
    assert_eq!(world.broker().mailbox(&alice.client).await.unwrap(), None);
    let mut lease = open(world.broker(), LeaseRequest { seen_before: true, ..alice.request() }).await;
    alice.publish(world.broker(), 3..4).await;
    marker(&next(&mut lease).await);
    assert_eq!(numbers(&take(&mut lease, 1).await), [3]);
}

pub(super) async fn a_mailbox_stays_while_it_is_read<F: Factory>() {
    let (world, alice) = (F::start(EXPIRY).await, Reader::new());
    let mut lease = open(world.broker(), alice.request()).await;
    // Two others come later, one after the other, and go.
    for bob in [alice.beside(), alice.beside()] {
        bob.subscribe(world.broker()).await;
        is_gone(&world, &bob).await;
    }
    assert!(world.has_mailbox(&alice.client).await);
    alice.publish(world.broker(), 0..1).await;
    assert_eq!(numbers(&take(&mut lease, 1).await), [0]);
    lease.release().await;
    let mut lease = open(world.broker(), alice.again()).await;
    assert_eq!(numbers(&take(&mut lease, 1).await), [0]);
}
