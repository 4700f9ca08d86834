//! The embedded broker, on disk and in memory.

use std::{fs, path::Path, sync::Arc, time::Duration};

use broker::Broker;
use broker_embedded::{EmbeddedBroker, EmbeddedOptions, KeptMailboxes, Retention};
use events::ClientId;
use postern_tests::Folder;

use super::{
    log::world::{Damaged, LogFactory, LogOptions, ROOMY},
    world::{Durable, Factory, NEVER},
};

/// In a folder of its own.
pub(super) struct OnDisk {
    options: EmbeddedOptions,
    // Before the folder, so that it writes there no more when that is removed.
    broker: Option<EmbeddedBroker>,
    folder: Folder,
}

pub(super) struct InMemory(EmbeddedBroker);

/// Describes a broker that keeps nothing on disk.
fn options(mailbox_expiry: Duration, LogOptions { topics, bytes }: LogOptions) -> EmbeddedOptions {
    EmbeddedOptions {
        data_dir: None,
        mailboxes: KeptMailboxes::all_for(mailbox_expiry),
        retention: Retention { age: NEVER, bytes },
        feed_topics: vec![topics.parse().unwrap()],
    }
}

fn start(options: &EmbeddedOptions) -> EmbeddedBroker {
    EmbeddedBroker::start(options, Arc::default()).unwrap()
}

impl OnDisk {
    fn with(options: EmbeddedOptions) -> Self {
        let folder = Folder::new("postern-contract");
        let options = EmbeddedOptions { data_dir: Some(folder.path().to_owned()), ..options };
        Self { broker: Some(start(&options)), options, folder }
    }

    async fn stop(&mut self) {
        self.broker().close().await;
        drop(self.broker.take());
    }

    fn start_again(&mut self) {
        self.broker = Some(start(&self.options));
    }
}

impl Factory for OnDisk {
    type Broker = EmbeddedBroker;

    async fn start(expiry: Duration) -> Self {
        Self::with(options(expiry, ROOMY))
    }

    fn broker(&self) -> &EmbeddedBroker {
        self.broker.as_ref().unwrap()
    }

    async fn has_mailbox(&self, client: &ClientId) -> bool {
        self.broker().mailbox(client).await.unwrap().is_some()
    }
}

impl LogFactory for OnDisk {
    const KNOWS_NEWEST: bool = true;

    async fn with_log(log: LogOptions) -> Self {
        Self::with(options(NEVER, log))
    }
}

impl Durable for OnDisk {
    async fn restart(&mut self) {
        self.stop().await;
        self.start_again();
    }

    /// Goes on with what a process that is killed at this moment would leave.
    async fn crash(&mut self) {
        let left = Folder::new("postern-contract");
        copy(self.folder.path(), left.path());
        self.options.data_dir = Some(left.path().to_owned());
        self.start_again();
        self.folder = left;
    }
}

impl Damaged for OnDisk {
    /// Without the mark of what was synced, the store cannot tell whether all of it is there.
    async fn lose_the_end(&mut self) {
        self.stop().await;
        fs::remove_file(self.folder.path().join("synced")).unwrap();
        self.start_again();
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
        Self(start(&options(expiry, ROOMY)))
    }

    fn broker(&self) -> &EmbeddedBroker {
        &self.0
    }

    async fn has_mailbox(&self, client: &ClientId) -> bool {
        self.0.mailbox(client).await.unwrap().is_some()
    }
}

impl LogFactory for InMemory {
    const KNOWS_NEWEST: bool = true;

    async fn with_log(log: LogOptions) -> Self {
        Self(start(&options(NEVER, log)))
    }
}
