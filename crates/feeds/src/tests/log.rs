//! The embedded broker's log, which can be told to know as little as that of another broker.

use std::sync::Arc;

use broker::{
    Broker, BrokerError,
    log::{EventLog, LogEnd, LogTail, Logged, NewestBefore, Searched},
};
use broker_embedded::{EmbeddedBroker, EmbeddedTail};
use events::{Topic, TopicPattern};
use tokio::sync::Notify;

/// See the module.
pub(super) struct TestLog {
    pub(super) broker: EmbeddedBroker,
    /// It tells where the newest events are; else they have to be searched for.
    pub(super) knows_newest: bool,
    /// Told, its tail is lost.
    pub(super) lost: Arc<Notify>,
}

/// See [`TestLog::lost`].
pub(super) struct TestTail(EmbeddedTail, Arc<Notify>);

impl LogTail for TestTail {
    async fn next(&mut self) -> Result<Vec<Logged>, BrokerError> {
        tokio::select! {
            events = self.0.next() => events,
            () = self.1.notified() => Err(BrokerError::Unavailable("a test".to_owned())),
        }
    }
}

impl EventLog for TestLog {
    type Tail = TestTail;

    async fn open_tail(&self, show: impl FnMut(&Topic, u64) + Send) -> Result<LogEnd<TestTail>, BrokerError> {
        let LogEnd { next, complete_from, tail } = self.broker.log().open_tail(show).await?;
        Ok(LogEnd { next, complete_from, tail: TestTail(tail, Arc::clone(&self.lost)) })
    }

    fn id(&self) -> u32 {
        self.broker.log().id()
    }

    fn known_oldest(&self) -> u64 {
        self.broker.log().known_oldest()
    }

    async fn newest_before(&self, pattern: &TopicPattern, before: u64, most: usize) -> Option<NewestBefore> {
        if self.knows_newest { self.broker.log().newest_before(pattern, before, most).await } else { None }
    }

    async fn reaches(&self, offset: u64) -> Result<bool, BrokerError> {
        self.broker.log().reaches(offset).await
    }

    async fn search(&self, pattern: &TopicPattern, from: u64, to: u64, limit: usize) -> Result<Searched, BrokerError> {
        self.broker.log().search(pattern, from, to, limit).await
    }

    async fn search_after(
        &self,
        pattern: &TopicPattern,
        seen: u64,
        to: u64,
        limit: usize,
    ) -> Result<Searched, BrokerError> {
        self.broker.log().search_after(pattern, seen, to, limit).await
    }
}
