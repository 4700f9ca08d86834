//! The embedded broker, on disk and in memory.

use std::{fs, path::Path, sync::Arc, time::Duration};

use events::ClientId;
use gateway::broker::{
    Broker,
    embedded::{EmbeddedBroker, EmbeddedOptions, Retention},
};
use postern_tests::Folder;

use super::world::{Durable, Factory, NEVER};

/// In a folder of its own.
pub(super) struct OnDisk {
    expiry: Duration,
    // Before the folder, so that it writes there no more when that is removed.
    broker: Option<EmbeddedBroker>,
    folder: Folder,
}

pub(super) struct InMemory(EmbeddedBroker);

fn options(folder: Option<&Folder>, mailbox_expiry: Duration) -> EmbeddedOptions {
    EmbeddedOptions {
        data_dir: folder.map(|folder| folder.path().to_owned()),
        mailbox_expiry,
        retention: Retention { age: NEVER, bytes: 1 << 30 },
        feed_topics: Vec::new(),
    }
}

impl Factory for OnDisk {
    type Broker = EmbeddedBroker;

    async fn start(expiry: Duration) -> Self {
        let folder = Folder::new("postern-contract");
        let broker = EmbeddedBroker::start(&options(Some(&folder), expiry), Arc::default()).unwrap();
        Self { expiry, broker: Some(broker), folder }
    }

    fn broker(&self) -> &EmbeddedBroker {
        self.broker.as_ref().unwrap()
    }

    async fn has_mailbox(&self, client: &ClientId) -> bool {
        self.broker().mailbox(client).await.unwrap().is_some()
    }
}

impl Durable for OnDisk {
    async fn restart(&mut self) {
        self.broker().close().await;
        drop(self.broker.take());
        let options = options(Some(&self.folder), self.expiry);
        self.broker = Some(EmbeddedBroker::start(&options, Arc::default()).unwrap());
    }

    /// Goes on with what a process that is killed at this moment would leave.
    async fn crash(&mut self) {
        let left = Folder::new("postern-contract");
        copy(self.folder.path(), left.path());
        self.broker = Some(EmbeddedBroker::start(&options(Some(&left), self.expiry), Arc::default()).unwrap());
        self.folder = left;
    }
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

impl Factory for InMemory {
    type Broker = EmbeddedBroker;

    async fn start(expiry: Duration) -> Self {
        Self(EmbeddedBroker::start(&options(None, expiry), Arc::default()).unwrap())
    }

    fn broker(&self) -> &EmbeddedBroker {
        &self.0
    }

    async fn has_mailbox(&self, client: &ClientId) -> bool {
        self.0.mailbox(client).await.unwrap().is_some()
    }
}
