//! **Exclusiveness** and **tags**: one Lease of a mailbox at a time, and what may be done with it.

use std::{pin::pin, time::Duration};

use broker::{Broker, Lease, LeaseEnded, LeaseRequest, OpenError};
use futures_util::future::join_all;
use postern_tests::{PATIENCE, eventually, give_up};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::world::{Factory, NEVER, Reader, end, next, numbers, open, refused, take};

/// Less than a second Lease is made to wait in vain.
const MOMENT: Duration = Duration::from_millis(200);

pub(super) async fn a_second_lease_is_refused_after_two_seconds<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let mut first = open(world.broker(), alice.request()).await;
    let asked = Instant::now();
    let error = refused(world.broker(), alice.request()).await;
    let waited = asked.elapsed();
    assert!(matches!(error, OpenError::Held), "{error}");
    assert!((Duration::from_millis(1500)..Duration::from_secs(6)).contains(&waited), "{waited:?}");
    // Who was first does not notice.
    alice.publish(world.broker(), 0..1).await;
    assert_eq!(numbers(&take(&mut first, 1).await), [0]);
}

/// Takes a Lease that was waited for until the mailbox was free. On a busy machine that can outlast the patience of the
/// wait, and then is tried again, as a client does.
async fn again_if_held<B: Broker>(opened: Result<B::Lease, OpenError>, broker: &B, reader: &Reader) -> B::Lease {
    match opened {
        Err(OpenError::Held) => eventually(PATIENCE, "the mailbox is free", || broker.open(reader.request())).await,
        opened => opened.expect("the mailbox is free"),
    }
}

pub(super) async fn a_second_lease_opens_as_soon_as_the_first_is_released<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let first = open(world.broker(), alice.request()).await;
    let mut second = pin!(world.broker().open(alice.request()));
    assert!(timeout(MOMENT, &mut second).await.is_err(), "it has to wait");
    let (is_sure, second) = tokio::join!(first.release(), second);
    assert!(is_sure, "the broker has taken every confirm");
    let mut second = again_if_held(second, world.broker(), &alice).await;
    alice.publish(world.broker(), 0..1).await;
    assert_eq!(numbers(&take(&mut second, 1).await), [0]);
}

/// Many at once, because what can go wrong depends on whether the new mailbox is there before the broker has told the
/// reader of the old one: RabbitMQ has that reader read on in the new one, unless it is asked not to.
pub(super) async fn a_second_lease_opens_as_soon_as_the_mailbox_is_deleted<F: Factory>() {
    const CLIENTS: usize = 30;
    let world = F::start(NEVER).await;
    let clients = (0..CLIENTS).map(async |_| {
        let alice = Reader::new();
        let mut first = open(world.broker(), alice.request()).await;
        let mut second = pin!(world.broker().open(alice.request()));
        assert!(timeout(MOMENT, &mut second).await.is_err(), "it has to wait");
        let (deleted, second) = tokio::join!(world.broker().delete(&alice.client), second);
        deleted.unwrap();
        // Whether its mailbox is gone cannot be told from the new one.
        end(&mut first).await;
        let mut second = again_if_held(second, world.broker(), &alice).await;
        alice.publish(world.broker(), 0..1).await;
        assert_eq!(numbers(&take(&mut second, 1).await), [0]);
    });
    join_all(clients).await;
}

/// A consumer that outlives its cancelled call would hold the mailbox: no client could read it.
pub(super) async fn an_opening_that_is_given_up_at_any_step_keeps_nothing<F: Factory>() {
    const EVENTS: usize = 3;
    let world = F::start(NEVER).await;
    for polls in 1.. {
        let alice = Reader::new();
        alice.subscribe(world.broker()).await;
        alice.publish(world.broker(), 0..EVENTS).await;

        let was_through = give_up(world.broker().open(alice.again()), polls).await;
        let opened = world.broker().open(alice.again()).await;
        let mut lease = again_if_held(opened, world.broker(), &alice).await;
        assert_eq!(numbers(&take(&mut lease, EVENTS).await), (0..EVENTS).collect::<Vec<_>>(), "after {polls} steps");
        if was_through {
            return;
        }
    }
}

pub(super) async fn tags_grow_strictly<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let mut lease = open(world.broker(), LeaseRequest { window: 3, ..alice.request() }).await;
    let mut last = 0;
    for round in 0..10 {
        alice.publish(world.broker(), [round, round]).await;
        for delivery in take(&mut lease, 2).await {
            assert!(delivery.tag > last, "{} after {last}", delivery.tag);
            last = delivery.tag;
        }
        lease.confirm(last).await.unwrap();
    }
}

pub(super) async fn a_dropped_next_loses_nothing<F: Factory>() {
    const EVENTS: usize = 500;
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    // Some wait, so that reading starts before what is new comes.
    alice.subscribe(world.broker()).await;
    alice.publish(world.broker(), 0..EVENTS / 2).await;
    let mut lease = open(world.broker(), LeaseRequest { window: 16, ..alice.again() }).await;
    let read = async {
        let mut read = Vec::new();
        while read.len() < EVENTS {
            let [low, high, ..] = Uuid::new_v4().into_bytes();
            let patience = Duration::from_micros(u64::from(u16::from_be_bytes([high % 8, low])));
            if let Ok(next) = timeout(patience, lease.next()).await {
                let delivery = next.unwrap();
                if delivery.tag % 5 == 0 {
                    lease.confirm(delivery.tag).await.unwrap();
                }
                read.push(delivery);
            }
        }
        read
    };
    let (read, ()) = tokio::join!(read, alice.publish(world.broker(), EVENTS / 2..EVENTS));
    assert_eq!(numbers(&read), (0..EVENTS).collect::<Vec<_>>());
}

pub(super) async fn a_lease_ends_with_its_mailbox<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let mut lease = open(world.broker(), LeaseRequest { window: 1, ..alice.request() }).await;
    alice.publish(world.broker(), 0..3).await;
    let last = next(&mut lease).await;
    world.broker().delete(&alice.client).await.unwrap();
    assert_eq!(end(&mut lease).await, LeaseEnded::MailboxGone);
    // The next holder of the mailbox has nothing to do with what is confirmed, and released, too late.
    let mut new = open(world.broker(), alice.request()).await;
    alice.publish(world.broker(), 3..5).await;
    let _ = lease.confirm(last.tag).await;
    lease.release().await;
    assert_eq!(numbers(&take(&mut new, 2).await), [3, 4]);
    assert_eq!(world.broker().mailbox(&alice.client).await.unwrap().map(|status| status.leased), Some(true));
}
