//! **Order.** Messages come in the order in which they were stored, also what comes back.

use broker::{Broker, Delivery, Lease, LeaseRequest};
use uuid::Uuid;

use super::world::{Factory, NEVER, Reader, assert_flags, numbers, open, take};

pub(super) async fn events_come_in_the_order_in_which_they_were_stored<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    alice.subscribe(world.broker()).await;
    for number in 0..100 {
        let topic = if number % 2 == 0 { ".even" } else { ".odd" };
        world.broker().publish(&alice.event(topic, number)).await.unwrap();
    }
    let mut lease = open(world.broker(), LeaseRequest { window: 200, ..alice.again() }).await;
    let all = take(&mut lease, 100).await;
    assert_eq!(numbers(&all), (0..100).collect::<Vec<_>>());
    assert!(all.iter().all(|delivery| !delivery.redelivered));
}

/// Publishes 20, takes 7, confirms 2, gives back by `give_back`, publishes 5 more and checks what comes.
async fn given_back<F: Factory>(give_back: impl AsyncFnOnce(<F::Broker as Broker>::Lease)) {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    let request = LeaseRequest { window: 10, ..alice.again() };
    alice.subscribe(world.broker()).await;
    alice.publish(world.broker(), 0..20).await;
    let mut lease = open(world.broker(), request).await;
    let taken = take(&mut lease, 7).await;
    lease.confirm(taken[1].tag).await.unwrap();
    give_back(lease).await;
    alice.publish(world.broker(), 20..25).await;
    let mut lease = open(world.broker(), alice.again()).await;
    let all = take(&mut lease, 23).await;
    assert_eq!(numbers(&all), (2..25).collect::<Vec<_>>());
    assert_flags(&all, 5, 10);
    let contents = |deliveries: &[Delivery]| -> Vec<String> {
        deliveries.iter().map(|delivery| format!("{:?}", delivery.content)).collect()
    };
    assert_eq!(contents(&all[..5]), contents(&taken[2..]), "a repeat is the same event");
}

pub(super) async fn what_a_release_gives_back_stands_in_its_old_place<F: Factory>() {
    given_back::<F>(async |lease| assert!(lease.release().await)).await;
}

pub(super) async fn what_a_dropped_lease_gives_back_stands_in_its_old_place<F: Factory>() {
    given_back::<F>(async |lease| drop(lease)).await;
}

pub(super) async fn order_holds_over_any_number_of_leases<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    alice.subscribe(world.broker()).await;
    let (mut confirmed, mut published, mut handed_over) = (0, 0, 0);
    for round in 0..30 {
        let [more, window, taken, kept, ..] = Uuid::new_v4().into_bytes();
        let more = usize::from(more % 10);
        alice.publish(world.broker(), published..published + more).await;
        published += more;

        let window = 1 + u16::from(window % 8);
        let mut lease = open(world.broker(), LeaseRequest { window, ..alice.again() }).await;
        let count = usize::from(taken).min(published - confirmed).min(window.into());
        let came = take(&mut lease, count).await;
        assert_eq!(numbers(&came), (confirmed..confirmed + count).collect::<Vec<_>>(), "round {round}");
        for (number, delivery) in (confirmed..).zip(&came) {
            assert!(delivery.redelivered || number >= handed_over, "{number} is not flagged in round {round}");
        }
        handed_over = handed_over.max(confirmed + count);
        if let Some(last) = came.iter().take(usize::from(kept % 8)).last() {
            lease.confirm(last.tag).await.unwrap();
            confirmed += count.min(usize::from(kept % 8));
        }
        if round % 2 == 0 {
            lease.release().await;
        }
    }
}
