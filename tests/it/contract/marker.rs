//! **A mailbox that had to be created**, and one that is dropped.

use broker::{Broker, Lease, LeaseRequest, OpenError};

use super::world::{Factory, NEVER, NOTHING, Reader, marker, next, number, numbers, open, refused, take};

pub(super) async fn a_new_client_is_told_nothing<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let mut lease = open(world.broker(), alice.request()).await;
    alice.publish(world.broker(), 0..1).await;
    assert_eq!(number(&next(&mut lease).await), 0);
}

pub(super) async fn a_mailbox_made_for_a_client_that_has_seen_something_starts_with_a_marker<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let mut lease = open(world.broker(), LeaseRequest { seen_before: true, ..alice.request() }).await;
    alice.publish(world.broker(), 0..2).await;
    marker(&next(&mut lease).await);
    assert_eq!(numbers(&take(&mut lease, 2).await), [0, 1]);
}

pub(super) async fn a_mailbox_made_by_a_binding_starts_with_a_marker<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    world.broker().bind(&alice.client, &[alice.pattern(".#")]).await.unwrap();
    alice.publish(world.broker(), 0..2).await;
    world.broker().bind(&alice.client, &[alice.pattern("")]).await.unwrap();
    let mut lease = open(world.broker(), alice.request()).await;
    assert_eq!(lease.backlog(), 3);
    marker(&next(&mut lease).await);
    assert_eq!(numbers(&take(&mut lease, 2).await), [0, 1]);
}

pub(super) async fn a_mailbox_that_is_there_gets_no_marker<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    alice.subscribe(world.broker()).await;
    world.broker().bind(&alice.client, &[alice.pattern("")]).await.unwrap();
    let mut lease = open(world.broker(), LeaseRequest { seen_before: true, ..alice.request() }).await;
    assert_eq!(numbers(&alice.rest(world.broker(), &mut lease, ".x").await), NOTHING);
}

pub(super) async fn a_marker_comes_again_until_it_is_confirmed<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let mut lease = open(world.broker(), LeaseRequest { seen_before: true, ..alice.request() }).await;
    let first = next(&mut lease).await;
    assert!(!first.redelivered);
    lease.release().await;
    let mut lease = open(world.broker(), LeaseRequest { seen_before: true, ..alice.request() }).await;
    let second = next(&mut lease).await;
    assert_eq!((marker(&second), second.redelivered), (marker(&first), true));
    lease.confirm(second.tag).await.unwrap();
    lease.release().await;
    let mut lease = open(world.broker(), LeaseRequest { seen_before: true, ..alice.request() }).await;
    assert_eq!(numbers(&alice.rest(world.broker(), &mut lease, ".x").await), NOTHING);
}

pub(super) async fn without_topics_there_must_be_a_mailbox<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    for seen_before in [false, true] {
        let error = refused(world.broker(), LeaseRequest { seen_before, ..alice.again() }).await;
        assert!(matches!(error, OpenError::NoMailbox), "{error}");
    }
    assert_eq!(world.broker().mailbox(&alice.client).await.unwrap(), None, "and none is made");
}

pub(super) async fn a_deleted_mailbox_is_gone_with_all_that_was_in_it<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    alice.subscribe(world.broker()).await;
    alice.publish(world.broker(), 0..3).await;
    world.broker().delete(&alice.client).await.unwrap();
    assert_eq!(world.broker().mailbox(&alice.client).await.unwrap(), None);
    alice.publish(world.broker(), 3..6).await;
    let error = refused(world.broker(), alice.again()).await;
    assert!(matches!(error, OpenError::NoMailbox), "{error}");
    let mut lease = open(world.broker(), LeaseRequest { seen_before: true, ..alice.request() }).await;
    let mut rest = alice.rest(world.broker(), &mut lease, ".x").await;
    marker(&rest.remove(0));
    assert_eq!(numbers(&rest), NOTHING);
}

pub(super) async fn deleting_nothing_is_no_error<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    world.broker().delete(&alice.client).await.unwrap();
    alice.subscribe(world.broker()).await;
    world.broker().delete(&alice.client).await.unwrap();
    world.broker().delete(&alice.client).await.unwrap();
}
