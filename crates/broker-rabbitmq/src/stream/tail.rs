//! Follows the stream from its end on, on a channel of its own.
//!
//! A consumer that retention overtakes is told nothing: RabbitMQ goes on after what is gone, or hands it nothing ever
//! again (seen on 3.10). So a gap in offsets is looked into before anything after it is handed over, and so is silence.
//!
//! A channel or connection that is lost is replaced after the last message that was handed over, if that is still
//! there: then the stream is the same and nothing was missed. Otherwise the error is the feed's, which begins anew.

use std::time::Duration;

use broker::{
    BrokerError,
    limits::MAX_TAIL_EVENTS,
    log::{LogTail, Logged},
};
use events::EventId;
use futures_util::FutureExt;
use tokio::time::{Instant, sleep, timeout};
use tracing::info;

use super::{
    ON_ITS_WAY, StreamLog,
    reader::{Reader, Start, Stored},
};

/// After so long without a message it is asked whether there is none.
const SILENCE: Duration = Duration::from_secs(5);

/// For how long a lost reader is replaced, before the feed's polls are told that the log cannot be read.
const RESUME: Duration = Duration::from_secs(5);

/// The pause after the first try; it doubles.
const RESUME_PAUSE: Duration = Duration::from_millis(100);

/// How often in a row it is replaced without a message or a moment of silence in between.
const MAX_RESUMED: u32 = 3;

/// Follows the stream from where its end was.
#[derive(Debug)]
pub struct AmqpTail {
    log: StreamLog,
    reader: Reader,
    /// Before this offset nothing is gone that was not handed over.
    whole_to: u64,
    /// The last message that was handed over, or passed over because it is a control message.
    last: Mark,
    /// How often the reader was replaced since it last worked.
    resumed: u32,
}

/// What a message is known by. Ids can be missing, and are then made at each delivery; those of control messages are
/// ours.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    offset: u64,
    check: u32,
    control: Option<EventId>,
}

impl Mark {
    fn of(stored: &Stored) -> Self {
        let Stored { offset, control, ref event, .. } = *stored;
        Self { offset, check: event.check(0), control: control.then(|| event.id.clone()) }
    }
}

/// Why the tail could not be read on.
enum Trouble {
    /// Something was stored that did not come.
    Overtaken,
    Lost(BrokerError),
}

impl From<BrokerError> for Trouble {
    fn from(error: BrokerError) -> Self {
        Self::Lost(error)
    }
}

impl AmqpTail {
    /// Goes on where a reader has found the end, which is this message.
    pub(super) fn new(log: StreamLog, reader: Reader, end: &Stored) -> Self {
        Self { log, reader, whole_to: 0, last: Mark::of(end), resumed: 0 }
    }

    /// Fails if something was stored that does not come.
    async fn look_into_silence(&mut self) -> Result<(), Trouble> {
        self.reader.acknowledge().await?;
        match self.log.newest().await {
            Ok(newest) if newest < self.reader.next_offset() => return Ok(()),
            Ok(_) => {}
            // A slow broker says nothing about this reader. The next silence asks again.
            Err(_) if self.reader.is_open() => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        match timeout(ON_ITS_WAY, self.reader.next()).await {
            Ok(stored) => {
                self.reader.put_back(stored?);
                Ok(())
            }
            Err(_) => Err(Trouble::Overtaken),
        }
    }

    /// Fails if something was in a gap of offsets.
    async fn look_into_gap(&mut self, before: Stored) -> Result<(), Trouble> {
        let Stored { offset, expected, .. } = before;
        self.reader.put_back(before);
        if self.log.oldest().await? > expected {
            return Err(Trouble::Overtaken);
        }
        self.whole_to = offset;
        Ok(())
    }

    async fn read_on(&mut self) -> Result<Vec<Logged>, Trouble> {
        let mut events = Vec::new();
        // Whatever waits here has taken nothing yet that could be lost.
        while events.is_empty() {
            match timeout(SILENCE, self.reader.next()).await {
                Ok(stored) => match stored? {
                    stored if stored.is_after_gap(self.whole_to) => self.look_into_gap(stored).await?,
                    stored => events.extend(self.pass(stored)),
                },
                Err(_) => self.look_into_silence().await?,
            }
            self.resumed = 0;
        }
        while events.len() < MAX_TAIL_EVENTS {
            match self.reader.next().now_or_never() {
                Some(Ok(stored)) if stored.is_after_gap(self.whole_to) => {
                    self.reader.put_back(stored);
                    break;
                }
                Some(Ok(stored)) => events.extend(self.pass(stored)),
                // The reader remembers the error for the next call.
                Some(Err(_)) | None => break,
            }
        }
        Ok(events)
    }

    /// Takes note of a message; returns its event, if it has one.
    fn pass(&mut self, stored: Stored) -> Option<Logged> {
        self.last = Mark::of(&stored);
        (!stored.control).then(|| stored.into())
    }

    /// Replaces the reader, for a while; fails with why it was lost if the stream does not go on where it was.
    async fn resume(&mut self, lost: BrokerError) -> Result<(), BrokerError> {
        let (give_up, mut pause) = (Instant::now() + RESUME, RESUME_PAUSE);
        self.resumed += 1;
        while self.resumed <= MAX_RESUMED && Instant::now() < give_up {
            match Self::reopened(&self.log, &self.last).await {
                Ok(Some(reader)) => {
                    info!(%lost, offset = self.last.offset, "the feed is read on after it was lost");
                    self.reader = reader;
                    return Ok(());
                }
                Ok(None) => break,
                Err(_) => sleep(pause).await,
            }
            pause *= 2;
        }
        Err(lost)
    }

    /// Opens a reader at the last message and reads that; `None` if another one is there, or none.
    async fn reopened(log: &StreamLog, last: &Mark) -> Result<Option<Reader>, BrokerError> {
        let mut reader = log.follow_from(Start::At(last.offset)).await?;
        // RabbitMQ waits without a word for an offset past the end: then this stream is another one.
        let Ok(first) = timeout(ON_ITS_WAY, reader.next()).await else { return Ok(None) };
        if Mark::of(&first?) != *last {
            return Ok(None);
        }
        // The exchange may have been deleted, and declared anew by the connection that publishes.
        log.bind().await?;
        Ok(Some(reader))
    }
}

impl LogTail for AmqpTail {
    async fn next(&mut self) -> Result<Vec<Logged>, BrokerError> {
        loop {
            match self.read_on().await {
                Ok(events) => return Ok(events),
                Err(Trouble::Overtaken) => return Err(overtaken()),
                Err(Trouble::Lost(error)) => self.resume(error).await?,
            }
        }
    }
}

fn overtaken() -> BrokerError {
    BrokerError::Unavailable("the feed was trimmed faster than it was read".to_owned())
}
