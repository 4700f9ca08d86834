//! Threads that cannot be had, and a thread that ends: the gateway goes on, or ends so that a supervisor starts it
//! again.

use std::time::Duration;

use postern_tests::{Disk, Gateway, HttpConnection, Poll, Request};

const SOON: Duration = Duration::from_mins(1);

/// The system has no thread to give when retention gives back space.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_goes_on_storing_when_no_thread_can_be_started() {
    let disk = Disk::new();
    let gateway = disk.under(Gateway::builder().embedded(), 0).flag("--retention-bytes", "20000").start().await;
    disk.refuse_threads(true);
    let mut connection = HttpConnection::open(gateway.address()).await;
    for _ in 0..200 {
        let publish = Request::publish("a.b", "text/plain", "x".repeat(400));
        connection.request(&publish).await.expect_status(202);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_are_served_from_disk_when_no_thread_can_be_started() {
    let disk = Disk::new();
    let mut gateway = disk.under(Gateway::builder().embedded(), 0).start().await;
    let poll = || Poll::of("alice").topics("a.#").wait(5);
    poll().wait(0).send(&gateway).await.expect_status(204);
    for number in 0..3 {
        let publish = Request::publish("a.b", "application/json", format!("{{\"n\":{number}}}"));
        publish.send(gateway.address()).await.expect_status(202);
    }
    // After a start nothing is in memory.
    gateway.restart().await;
    // Longer than a runtime keeps threads that have nothing to do, unless it is told.
    Poll::of("bob").topics("nothing").wait(13).send(&gateway).await.expect_status(204);
    disk.refuse_threads(true);
    assert_eq!(poll().send(&gateway).await.batch().numbers("n"), [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_writer_ends_by_a_panic_ends_with_an_error_in_its_log() {
    let disk = Disk::new();
    let mut gateway = disk.holding(Gateway::builder()).start().await;
    let publish = || Request::publish("a.b", "application/json", "1");
    publish().send(gateway.address()).await.expect_status(202);
    disk.set_full(true);
    publish().send(gateway.address()).await.expect_status(503);
    // The engine is opened anew when there is room, and panics over a folder that is not its own.
    let stray = disk.data().join("engine/keyspaces/stray");
    std::fs::create_dir(&stray).unwrap();
    std::fs::write(stray.join("current"), "").unwrap();
    disk.set_full(false);
    let status = gateway.wait_exit(SOON).await;
    // The engine panics once more while it is dropped, and that aborts.
    assert!(!status.success(), "a supervisor starts it again");
    let panic = "a thread panicked: should be valid integer: ParseIntError { kind: InvalidDigit }";
    assert_eq!(gateway.wait_logged(panic, SOON).await["level"], "ERROR");

    std::fs::remove_dir_all(stray).unwrap();
    gateway.start_again().await;
    publish().send(gateway.address()).await.expect_status(202);
}
