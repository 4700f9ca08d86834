//! The embedded broker's log, which can be told to know as little as that of another broker.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use broker::{
    Broker, BrokerError,
    log::{EventLog, LogEnd, LogTail, Logged, NewestBefore, Searched},
};
use broker_embedded::{EmbeddedBroker, EmbeddedTail};
use events::{Selection, Topic};
use tokio::sync::{Mutex, Notify};

/// See the module.
pub(super) struct TestLog {
    pub(super) broker: EmbeddedBroker,
    /// It tells where the newest events are; else they have to be searched for.
    pub(super) knows_newest: bool,
    /// It shows no more than so many of its last events when its end is looked for.
    pub(super) shows: u64,
    /// Told, its tail is lost.
    pub(super) lost: Arc<Notify>,
    /// Held, a tail that has read on after a rest does not return yet.
    pub(super) slow: Arc<Mutex<()>>,
    /// How often the end was looked for.
    pub(super) starts: AtomicUsize,
}

impl TestLog {
    pub(super) fn new(broker: EmbeddedBroker) -> Self {
        Self {
            broker,
            knows_newest: true,
            shows: u64::MAX,
            lost: Arc::default(),
            slow: Arc::default(),
            starts: AtomicUsize::new(0),
        }
    }
}

pub(super) struct TestTail {
    tail: EmbeddedTail,
    lost: Arc<Notify>,
    slow: Arc<Mutex<()>>,
}

impl LogTail for TestTail {
    async fn next(&mut self) -> Result<Vec<Logged>, BrokerError> {
        tokio::select! {
            events = self.tail.next() => events,
            () = self.lost.notified() => Err(BrokerError::Unavailable("a test".to_owned())),
        }
    }

    async fn rest(&mut self) {
        tokio::select! {
            () = self.tail.rest() => {}
            () = self.lost.notified() => {}
        }
    }

    async fn resume(&mut self, show: impl FnMut(Vec<Logged>) + Send) -> Result<(), BrokerError> {
        self.tail.resume(show).await?;
        drop(self.slow.lock().await);
        Ok(())
    }
}

impl EventLog for TestLog {
    type Tail = TestTail;

    async fn open_tail(&self, mut show: impl FnMut(&Topic, u64) + Send) -> Result<LogEnd<TestTail>, BrokerError> {
        self.starts.fetch_add(1, Ordering::Relaxed);
        let mut newest = Vec::new();
        let note = |topic: &Topic, offset| newest.push((topic.clone(), offset));
        let LogEnd { next, complete_from, tail } = self.broker.log().open_tail(note).await?;
        let first = next.saturating_sub(self.shows);
        newest.iter().filter(|(_, offset)| *offset >= first).for_each(|(topic, offset)| show(topic, *offset));
        Ok(LogEnd {
            next,
            complete_from: complete_from.max(first),
            tail: TestTail { tail, lost: Arc::clone(&self.lost), slow: Arc::clone(&self.slow) },
        })
    }

    fn id(&self) -> u32 {
        self.broker.log().id()
    }

    fn known_oldest(&self) -> u64 {
        self.broker.log().known_oldest()
    }

    async fn newest_before(&self, selection: &Selection, before: u64, most: usize) -> Option<NewestBefore> {
        if self.knows_newest { self.broker.log().newest_before(selection, before, most).await } else { None }
    }

    async fn reaches(&self, offset: u64) -> Result<bool, BrokerError> {
        self.broker.log().reaches(offset).await
    }

    async fn search(&self, selection: &Selection, from: u64, to: u64, limit: usize) -> Result<Searched, BrokerError> {
        self.broker.log().search(selection, from, to, limit).await
    }

    async fn search_after(
        &self,
        selection: &Selection,
        seen: u64,
        to: u64,
        limit: usize,
    ) -> Result<Searched, BrokerError> {
        self.broker.log().search_after(selection, seen, to, limit).await
    }
}
