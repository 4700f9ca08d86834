//! Many at once.

use std::sync::atomic::{AtomicBool, Ordering};

use broker::{Broker, Content, Lease, LeaseRequest};
use futures_util::future::join_all;

use super::world::{Factory, NEVER, Reader, next, number, open};

const PUBLISHERS: usize = 16;
const EVENTS: usize = 250;

pub(super) async fn a_slow_reader_among_fast_publishers_loses_nothing<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let mut lease = open(world.broker(), LeaseRequest { window: 8, ..alice.request() }).await;
    let publishers = (0..PUBLISHERS).map(|publisher| {
        let (broker, alice) = (world.broker().clone(), alice.clone());
        tokio::spawn(async move {
            for number in 0..EVENTS {
                broker.publish(&alice.event(&format!(".{publisher}"), number)).await.unwrap();
            }
        })
    });
    let publish = join_all(publishers.collect::<Vec<_>>());
    let read = async {
        let mut seen = [0; PUBLISHERS];
        while seen.iter().sum::<usize>() < PUBLISHERS * EVENTS {
            let delivery = next(&mut lease).await;
            let Content::Event(event) = &delivery.content else { panic!("no marker should come: {delivery:?}") };
            let publisher: usize = event.topic.as_str().rsplit('.').next().unwrap().parse().unwrap();
            assert_eq!(number(&delivery), seen[publisher], "of publisher {publisher}");
            assert!(!delivery.redelivered, "nothing was given back: {delivery:?}");
            seen[publisher] += 1;
            lease.confirm(delivery.tag).await.unwrap();
        }
    };
    let (published, ()) = tokio::join!(publish, read);
    published.into_iter().collect::<Result<(), _>>().unwrap();
    lease.release().await;
    let lease = open(world.broker(), alice.again()).await;
    assert_eq!(lease.backlog(), 0);
}

pub(super) async fn a_mailbox_that_is_bound_while_others_publish_gets_a_run_without_gaps<F: Factory>() {
    let (world, topics) = (F::start(NEVER).await, Reader::new());
    let done = AtomicBool::new(false);
    let publish = async {
        let mut number = 0;
        while !done.load(Ordering::Relaxed) {
            topics.publish(world.broker(), [number]).await;
            number += 1;
        }
    };
    let read = async {
        let readers = (0..8).map(|_| async {
            let mut lease = open(world.broker(), LeaseRequest { window: 4, ..topics.beside().request() }).await;
            let mut last = None;
            for _ in 0..50 {
                let delivery = next(&mut lease).await;
                let number = number(&delivery);
                assert!(last.is_none_or(|last| number == last + 1), "{number} after {last:?}");
                last = Some(number);
                lease.confirm(delivery.tag).await.unwrap();
            }
        });
        join_all(readers).await;
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(publish, read);
}

pub(super) async fn who_reads_through_lease_after_lease_gets_everything<F: Factory>() {
    const LEASES: usize = 100;
    let (world, topics) = (F::start(NEVER).await, Reader::new());
    let done = AtomicBool::new(false);
    let readers: Vec<Reader> = (0..8).map(|_| topics.beside()).collect();
    for reader in &readers {
        reader.subscribe(world.broker()).await;
    }
    let reading = readers.iter().map(|reader| {
        let (broker, reader) = (world.broker().clone(), reader.clone());
        tokio::spawn(async move {
            let mut expected = 0;
            for _ in 0..LEASES {
                // Often just when an event comes, for all that was there is confirmed.
                let mut lease = open(&broker, reader.again()).await;
                for _ in 0..lease.backlog().max(1) {
                    let delivery = next(&mut lease).await;
                    assert_eq!(number(&delivery), expected);
                    expected += 1;
                    lease.confirm(delivery.tag).await.unwrap();
                }
                lease.release().await;
            }
        })
    });
    let read = async {
        let read = join_all(reading.collect::<Vec<_>>()).await;
        done.store(true, Ordering::Relaxed);
        read
    };
    let publish = async {
        let mut number = 0;
        while !done.load(Ordering::Relaxed) {
            topics.publish(world.broker(), [number]).await;
            number += 1;
        }
    };
    let (read, ()) = tokio::join!(read, publish);
    read.into_iter().collect::<Result<(), _>>().unwrap();
}
