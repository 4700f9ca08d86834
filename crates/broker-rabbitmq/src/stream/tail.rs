//! Follows the stream from its end on, on a channel of its own.
//!
//! A consumer that retention overtakes is told nothing: RabbitMQ goes on after what is gone, or hands it nothing ever
//! again (seen on 3.10). So a gap in offsets is looked into before anything after it is handed over, and so is silence.
//!
//! A channel or connection that is lost is replaced after the last message that was handed over, if that is still
//! there: then the stream is the same and nothing was missed. Otherwise the error is the feed's, which begins anew.
//!
//! A tail that rests has no consumer: the broker sends it nothing. It goes on as after a loss. What it keeps is a
//! channel, by which it notices that its connection or the stream is gone: then the stream may have to be declared and
//! bound anew, or events would be stored nowhere until the next client comes.

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
    super::{call::in_time, connections::OwnChannel},
    ON_ITS_WAY, StreamLog, next_in_time, queue,
    reader::{Reader, Start, Stored},
};

/// After so long without a message it is asked whether there is none.
const SILENCE: Duration = Duration::from_secs(5);

/// For how long a lost reader is replaced, before the feed's polls are told that the log cannot be read.
const REPLACE: Duration = Duration::from_secs(5);

/// The pause after the first try; it doubles.
const REPLACE_PAUSE: Duration = Duration::from_millis(100);

/// How long nothing comes where all that was stored has come.
const SETTLED: Duration = Duration::from_millis(300);

/// How often a tail that rests looks whether its connection is still there, and after how many of these looks it asks
/// for the stream.
const CHECK_EVERY: Duration = Duration::from_secs(1);
const ASK_EVERY: u32 = 5;

/// How often in a row it is replaced without a message or a moment of silence in between.
const MAX_REPLACED: u32 = 3;

/// Follows the stream from where its end was.
#[derive(Debug)]
pub struct AmqpTail {
    log: StreamLog,
    /// `None` while it rests.
    reader: Option<Reader>,
    /// Tells while it rests whether the connection is still there.
    resting: Option<OwnChannel>,
    /// Before this offset nothing is gone that was not handed over.
    whole_to: u64,
    /// The last message that was handed over, or passed over because it is a control message.
    last: Mark,
    /// How often the reader was replaced since it last worked.
    replaced: u32,
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

/// Up to where a tail that has rested is read before it has come to the end.
enum End {
    /// Up to this control message.
    Marked(EventId),
    /// Up to what is stored together with this message: while the broker takes no messages, none can mark the end, and
    /// next to none is stored.
    AtOrAfter(u64),
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
        Self { log, reader: Some(reader), resting: None, whole_to: 0, last: Mark::of(end), replaced: 0 }
    }

    fn reader(&mut self) -> Result<&mut Reader, BrokerError> {
        self.reader.as_mut().ok_or_else(|| BrokerError::Unavailable("the feed was not read for a while".to_owned()))
    }

    /// Fails if something was stored that does not come.
    async fn look_into_silence(&mut self) -> Result<(), Trouble> {
        self.reader()?.acknowledge().await?;
        let newest = self.log.newest().await;
        let reader = self.reader()?;
        match newest {
            Ok(newest) if newest < reader.next_offset() => return Ok(()),
            Ok(_) => {}
            // A slow broker says nothing about this reader. The next silence asks again.
            Err(_) if reader.is_open() => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        match timeout(ON_ITS_WAY, reader.next()).await {
            Ok(stored) => {
                reader.put_back(stored?);
                Ok(())
            }
            Err(_) => Err(Trouble::Overtaken),
        }
    }

    /// Fails if something was in a gap of offsets.
    async fn look_into_gap(&mut self, before: Stored) -> Result<(), Trouble> {
        let Stored { offset, expected, .. } = before;
        self.reader()?.put_back(before);
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
            match timeout(SILENCE, self.reader()?.next()).await {
                Ok(stored) => match stored? {
                    stored if stored.is_after_gap(self.whole_to) => self.look_into_gap(stored).await?,
                    stored => events.extend(self.pass(stored)),
                },
                Err(_) => self.look_into_silence().await?,
            }
            self.replaced = 0;
        }
        while events.len() < MAX_TAIL_EVENTS {
            match self.reader()?.next().now_or_never() {
                Some(Ok(stored)) if stored.is_after_gap(self.whole_to) => {
                    self.reader()?.put_back(stored);
                    break;
                }
                Some(Ok(stored)) => events.extend(self.pass(stored)),
                // The reader remembers the error for the next call.
                Some(Err(_)) | None => break,
            }
        }
        Ok(events)
    }

    /// Reads up to an end, which it looks for if it is not known yet; shows what comes but for the last `events`.
    async fn read_to_end(
        &mut self,
        end: &mut Option<End>,
        events: &mut Vec<Logged>,
        show: &mut (impl FnMut(Vec<Logged>) + Send),
    ) -> Result<(), Trouble> {
        // As long as there is a reader, the stream is the same.
        self.reader()?;
        let end = match end {
            Some(end) => end,
            None => end.insert(Self::end(&self.log).await?),
        };
        loop {
            let reader = self.reader()?;
            let stored = match *end {
                End::AtOrAfter(newest) if reader.next_offset() > newest => {
                    match timeout(SETTLED, reader.next()).await {
                        Ok(stored) => stored?,
                        Err(_) => return Ok(()),
                    }
                }
                _ => next_in_time(reader).await?,
            };
            if stored.is_after_gap(self.whole_to) {
                self.look_into_gap(stored).await?;
                continue;
            }
            let is_end = matches!(end, End::Marked(end) if stored.control && stored.event.id == *end);
            events.extend(self.pass(stored));
            self.replaced = 0;
            if is_end {
                return Ok(());
            }
            if events.len() >= MAX_TAIL_EVENTS {
                show(std::mem::take(events));
            }
        }
    }

    async fn end(log: &StreamLog) -> Result<End, BrokerError> {
        match log.mark_end().await {
            Ok(id) => Ok(End::Marked(id)),
            Err(BrokerError::Blocked) => Ok(End::AtOrAfter(log.newest().await?)),
            Err(error) => Err(error),
        }
    }

    /// Takes note of a message; returns its event, if it has one.
    fn pass(&mut self, stored: Stored) -> Option<Logged> {
        self.last = Mark::of(&stored);
        (!stored.control).then(|| stored.into())
    }

    /// Replaces the reader, for a while; fails with why it was lost if the stream does not go on where it was.
    async fn replace(&mut self, lost: BrokerError) -> Result<(), BrokerError> {
        let (give_up, mut pause) = (Instant::now() + REPLACE, REPLACE_PAUSE);
        let has_rested = self.reader.is_none();
        self.replaced += 1;
        while self.replaced <= MAX_REPLACED && Instant::now() < give_up {
            match Self::reopened(&self.log, &self.last).await {
                Ok(Some(reader)) => {
                    if !has_rested {
                        info!(%lost, offset = self.last.offset, "the feed is read on after it was lost");
                    }
                    self.reader = Some(reader);
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
                Err(Trouble::Lost(error)) => self.replace(error).await?,
            }
        }
    }

    async fn rest(&mut self) {
        if let Some(reader) = &mut self.reader {
            let opened = async {
                let slot = self.log.connections.feeding().await?;
                in_time("watch the connection of the feed", slot.open()).await
            };
            // A reader that is open now is one of the same connection.
            self.resting = opened.await.ok().filter(|_| reader.is_open());
            if self.resting.is_some() {
                reader.cancel().await;
                self.reader = None;
            }
        }
        let Some(channel) = &self.resting else { return };
        for look in (1..=ASK_EVERY).cycle() {
            sleep(CHECK_EVERY).await;
            if !channel.status().connected() {
                return;
            }
            if look == ASK_EVERY && in_time("ask for the feed", queue::find(channel)).await.is_err() {
                return;
            }
        }
    }

    async fn resume(&mut self, mut show: impl FnMut(Vec<Logged>) + Send) -> Result<(), BrokerError> {
        self.resting = None;
        self.replaced = 0;
        let mut end = None;
        loop {
            let mut events = Vec::new();
            let read = self.read_to_end(&mut end, &mut events, &mut show).await;
            // Also what came before an error counts as handed over.
            show(events);
            match read {
                Ok(()) => return Ok(()),
                Err(Trouble::Overtaken) => return Err(overtaken()),
                Err(Trouble::Lost(error)) => self.replace(error).await?,
            }
        }
    }
}

fn overtaken() -> BrokerError {
    BrokerError::Unavailable("the feed was trimmed faster than it was read".to_owned())
}
