//! The log of every event on RabbitMQ: one durable stream queue, bound to the exchange beside the mailboxes.
//!
//! Offsets are those of the stream. RabbitMQ does not tell where a stream ends, and a consumer that is asked to begin
//! beyond the end waits in silence and skips what is stored until then. So the end is found by writing a control
//! message and reading until it returns, and nothing is ever read beyond an end that was found.
//!
//! * `queue` is what the stream is on the broker, and how a control message gets into it.
//! * `reader` is a consumer of it, from some offset on; `prefetch` says how much may be on its way.
//! * `tail` follows the end, and notices when retention overtook it.
//! * `search` decides what of it was asked for, and when that is enough.
//! * `reader_pool` bounds how many search, and keeps a reader for the search that goes on where it stopped.

mod prefetch;
mod queue;
mod reader;
mod reader_pool;
mod search;
mod tail;

use std::{
    ops::{ControlFlow, Range},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use broker::{
    BrokerError,
    limits::CALL_TIMEOUT,
    log::{EventLog, LogEnd, Logged, Searched},
};
use events::{EventId, Selection, Topic, TopicPattern};
use lapin::{Channel, Confirmation};
use tokio::time::timeout;
use tracing::warn;

pub use self::tail::AmqpTail;
use self::{
    prefetch::MessageSize,
    reader::{Reader, Start, Stored},
    reader_pool::{ReaderPool, SearchPermit, Stop},
    search::Search,
};
use super::{
    call::in_time,
    connections::Connections,
    error::is_mismatch,
    options::{AmqpOptions, FeedRetention},
};

/// How long a message that is stored may take to come.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

/// How long a reader that was kept is waited for: its next messages should be here already.
const KEPT_PATIENCE: Duration = Duration::from_secs(2);

/// The log of every event on RabbitMQ. Cloning shares it.
#[derive(Debug, Clone)]
pub struct StreamLog {
    connections: Arc<Connections>,
    kept: Arc<Kept>,
}

/// What is kept between calls.
#[derive(Debug)]
struct Kept {
    topics: Vec<TopicPattern>,
    retention: FeedRetention,
    replicas: Option<u8>,
    readers: ReaderPool,
    sizes: MessageSize,
    warned: AtomicBool,
}

impl StreamLog {
    pub(super) fn new(connections: Arc<Connections>, options: &AmqpOptions) -> Self {
        let kept = Kept {
            topics: options.feed_topics.clone(),
            retention: options.feed_retention,
            replicas: options.feed_replicas,
            readers: ReaderPool::new(options.feed_linger),
            sizes: MessageSize::default(),
            warned: AtomicBool::new(false),
        };
        Self { connections, kept: Arc::new(kept) }
    }

    /// Closes readers for which no search came back, for as long as this is polled.
    pub(super) async fn tidy(&self) {
        self.kept.readers.close_unused().await;
    }

    /// Makes sure that the stream exists.
    async fn ensure_stream(&self) -> Result<(), BrokerError> {
        let other = self
            .connections
            .administer("declare the feed", async |channel: &Channel| {
                match queue::declare(channel, self.kept.retention, self.kept.replicas).await {
                    Err(error) if is_mismatch(&error) => Ok(Ok(Some(error.to_string()))),
                    other => queue::not_found_is_transient(other.map(|()| None)),
                }
            })
            .await??;
        if let Some(reason) = other.filter(|_| !self.kept.warned.swap(true, Ordering::Relaxed)) {
            warn!(
                reason,
                "the feed exists with another retention or number of replicas, and keeps them; a policy changes the first \
                 (max-age, max-length-bytes), rabbitmq-streams the second (add_replica, delete_replica)"
            );
        }
        Ok(())
    }

    /// Binds the stream to the exchange; what is bound already stays. Without topics there is no stream.
    pub(super) async fn bind(&self) -> Result<(), BrokerError> {
        if self.kept.topics.is_empty() {
            return Ok(());
        }
        self.connections
            .administer("bind the feed", async |channel: &Channel| {
                queue::not_found_is_transient(queue::bind(channel, &self.kept.topics).await)
            })
            .await?
    }

    /// Writes the control message that is read as the end, and returns its id.
    async fn mark_end(&self) -> Result<EventId, BrokerError> {
        let (publishing, place) = self.connections.publishing_apart().await?;
        if publishing.is_blocked() {
            return Err(BrokerError::Blocked);
        }
        let id = EventId::new();
        let marking = async {
            let channel = place.open().await?;
            queue::mark_end(&channel, &id).await
        };
        match in_time("mark the end of the feed", marking).await? {
            Confirmation::Ack(None) => Ok(id),
            Confirmation::Ack(Some(_)) => Err(BrokerError::Unavailable("the feed was deleted".to_owned())),
            Confirmation::Nack(_) | Confirmation::NotRequested => {
                Err(BrokerError::Unavailable("the feed takes no messages".to_owned()))
            }
        }
    }

    /// Opens a reader that searches.
    async fn read_from(&self, start: Start, name: &str) -> Result<Reader, BrokerError> {
        Reader::open(self.connections.feeding().await?, start, name, self.kept.sizes.prefetch()).await
    }

    /// Opens the reader that follows the stream.
    async fn follow_from(&self, start: Start) -> Result<Reader, BrokerError> {
        Reader::open(self.connections.feeding().await?, start, "tail", prefetch::TAIL).await
    }

    /// Returns an offset at or shortly before that of the newest message.
    async fn newest(&self) -> Result<u64, BrokerError> {
        let mut reader = self.read_from(Start::Newest, "newest").await?;
        Ok(next_in_time(&mut reader).await?.offset)
    }

    /// Returns the offset of the oldest message that is kept.
    async fn oldest(&self) -> Result<u64, BrokerError> {
        let mut reader = self.read_from(Start::Oldest, "oldest").await?;
        Ok(next_in_time(&mut reader).await?.offset)
    }

    /// Shows a search the messages of a reader until it has enough, and keeps the reader for the search that goes on
    /// there.
    async fn run(
        &self,
        permit: &SearchPermit<'_>,
        mut search: Search<'_>,
        mut reader: Reader,
        patience: Duration,
    ) -> Result<Searched, BrokerError> {
        while !search.is_over() {
            let stored = next_within(patience, &mut reader).await?;
            self.kept.sizes.note(stored.event.payload.len());
            if let ControlFlow::Break(put_back) = search.look_at(stored) {
                if let Some(stored) = put_back {
                    reader.put_back(stored);
                }
                break;
            }
        }
        let (selection, to, gap, mut searched) = (search.selection, search.range.end, search.gap, search.result);
        if let Some(Range { start, end }) = gap {
            // Offsets have gaps: what is missing before the first need not have been there. All from it on was seen.
            let oldest = self.oldest().await?;
            if oldest > start {
                searched.oldest = oldest.min(end);
            }
        }
        if let Some(last) = searched.last.clone().filter(|_| searched.reached < to) {
            permit.keep(selection, Stop { last, reached: searched.reached }, reader);
        }
        Ok(searched)
    }

    /// Runs a search: with a reader that has stopped where it goes on, else with a new one.
    async fn search_from(
        &self,
        from: u64,
        fresh: Search<'_>,
        goes_on: impl Fn(&Stop) -> bool,
    ) -> Result<Searched, BrokerError> {
        let permit = self.kept.readers.permit(self.connections.max_channels()).await?;
        if let Some((reader, stop)) = permit.take(fresh.selection, goes_on) {
            // If it was lost or overtaken while it waited, a new one tells what is the matter.
            if let Ok(searched) = self.run(&permit, fresh.go_on(stop), reader, KEPT_PATIENCE).await {
                return Ok(searched);
            }
        }
        permit.make_room();
        // Whose place it is: the offset of what was seen last.
        let name = format!("{from}@{}", fresh.selection);
        let reader = self.read_from(Start::At(from), &name).await?;
        self.run(&permit, fresh, reader, CALL_TIMEOUT).await
    }
}

impl EventLog for StreamLog {
    type Tail = AmqpTail;

    /// Reads the messages that were stored last. Not cancel-safe only in that a control message may be left; readers skip
    /// those.
    async fn open_tail(&self, mut show: impl FnMut(&Topic, u64) + Send) -> Result<LogEnd<AmqpTail>, BrokerError> {
        // The exchange exists once there is a connection that publishes.
        self.connections.publishing().await?;
        self.kept.readers.close_all();
        self.ensure_stream().await?;
        // Before anything is bound or written: the broker says no if a queue of this name is no stream.
        let mut reader = self.follow_from(Start::Newest).await?;
        self.bind().await?;
        let end = self.mark_end().await?;
        let mut first = None;
        loop {
            let stored = next_in_time(&mut reader).await?;
            let Stored { offset, control, ref event, .. } = stored;
            self.kept.sizes.note(event.payload.len());
            let complete_from = *first.get_or_insert(offset);
            if control && event.id == end {
                let tail = AmqpTail::new(self.clone(), reader, &stored);
                return Ok(LogEnd { next: offset + 1, complete_from, tail });
            }
            if !control {
                show(&event.topic, offset);
            }
        }
    }

    /// Reads the messages that were stored last, because a stream does not tell its end. Ends that gateways have marked
    /// there are no events, so what stands before those may have to be read as well.
    async fn reaches(&self, offset: u64) -> Result<bool, BrokerError> {
        let mut reader = self.read_from(Start::Newest, "newest").await?;
        // There is at least the end that this gateway has marked; a broker that is slow to bring it says nothing.
        let mut stored = next_in_time(&mut reader).await?;
        if stored.control && stored.offset > offset {
            reader = self.read_from(Start::At(offset), "newest").await?;
            stored = next_in_time(&mut reader).await?;
        }
        while stored.control || stored.offset < offset {
            match timeout(ON_ITS_WAY, reader.next()).await {
                Ok(next) => stored = next?,
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    async fn search(&self, selection: &Selection, from: u64, to: u64, limit: usize) -> Result<Searched, BrokerError> {
        let fresh = Search::new(selection, from..to, limit);
        if fresh.is_over() {
            return Ok(fresh.result);
        }
        let goes_on = |stop: &Stop| stop.reached == from;
        self.search_from(from, fresh, goes_on).await
    }

    async fn search_after(
        &self,
        selection: &Selection,
        seen: u64,
        to: u64,
        limit: usize,
    ) -> Result<Searched, BrokerError> {
        let fresh = Search::after(selection, seen, to, limit);
        let goes_on = |stop: &Stop| stop.last.offset == seen;
        self.search_from(seen, fresh, goes_on).await
    }
}

/// Waits for the next message where one has to come soon: one that is known to be stored.
async fn next_in_time(reader: &mut Reader) -> Result<Stored, BrokerError> {
    next_within(CALL_TIMEOUT, reader).await
}

async fn next_within(patience: Duration, reader: &mut Reader) -> Result<Stored, BrokerError> {
    match timeout(patience, reader.next()).await {
        Ok(next) => next,
        // For example because the stream was deleted and made anew, shorter.
        Err(_) => Err(BrokerError::Unavailable("nothing came from the feed where something was stored".to_owned())),
    }
}

impl From<Stored> for Logged {
    fn from(stored: Stored) -> Self {
        Self { offset: stored.offset, event: Arc::new(stored.event) }
    }
}
