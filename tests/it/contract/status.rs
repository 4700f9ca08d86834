//! What is known of a mailbox.

use broker::{Broker, Lease, LeaseRequest, MailboxStatus};
use postern_tests::{PATIENCE, eventually_eq};

use super::world::{Factory, NEVER, Reader, open, take};

async fn is<F: Factory>(world: &F, reader: &Reader, queued: u32, leased: bool) {
    let expected = Some(MailboxStatus { queued, leased });
    let status = async || world.broker().mailbox(&reader.client).await.unwrap();
    eventually_eq(PATIENCE, "the mailbox", expected, status).await;
}

pub(super) async fn a_mailbox_tells_how_many_wait_and_whether_it_is_read<F: Factory>() {
    let (world, alice) = (F::start(NEVER).await, Reader::new());
    assert_eq!(world.broker().mailbox(&alice.client).await.unwrap(), None);
    alice.subscribe(world.broker()).await;
    is(&world, &alice, 0, false).await;
    alice.publish(world.broker(), 0..10).await;
    is(&world, &alice, 10, false).await;
    let mut lease = open(world.broker(), LeaseRequest { window: 4, ..alice.again() }).await;
    let first = take(&mut lease, 4).await;
    is(&world, &alice, 6, true).await;
    lease.confirm(first[2].tag).await.unwrap();
    take(&mut lease, 3).await;
    is(&world, &alice, 3, true).await;
    lease.release().await;
    is(&world, &alice, 7, false).await;
}
