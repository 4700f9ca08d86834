//! The end of a broker, in order and otherwise.

use std::{sync::Arc, time::Duration};

use broker::Broker;
use tokio::time::timeout;

use super::{
    super::{EmbeddedBroker, command::Task},
    world::{EVERYTHING, event, options, start},
};
use crate::testing::Folder;

#[tokio::test]
async fn a_broker_that_is_closed_has_let_go_of_its_folder() {
    let folder = Folder::new();
    let options = options(&folder, EVERYTHING);
    let mut closed = Vec::new();
    for number in 0..5 {
        let broker = start(&options);
        broker.publish(&event("a".parse().unwrap(), number)).await.unwrap();
        broker.close().await;
        // It is still there, and holds nothing of the folder.
        closed.push(broker);
    }
}

#[tokio::test]
async fn a_broker_whose_writer_panicked_says_so() {
    let folder = Folder::new();
    let broker = start(&options(&folder, EVERYTHING));
    assert!(timeout(Duration::from_millis(50), broker.failed()).await.is_err(), "nothing is wrong");
    assert!(broker.handle.submit(Task::Panic).await.is_err());
    assert!(timeout(Duration::from_secs(30), broker.failed()).await.unwrap().contains("panicked"));
    assert!(!broker.is_ready());
}

#[tokio::test]
async fn an_orderly_end_is_no_failure() {
    let folder = Folder::new();
    let broker = EmbeddedBroker::start(&options(&folder, EVERYTHING), Arc::default()).unwrap();
    broker.close().await;
    assert!(timeout(Duration::from_millis(50), broker.failed()).await.is_err());
}
