//! Follows the stream from its end on, on a channel of its own.
//!
//! A consumer that retention overtakes is told nothing: RabbitMQ goes on behind what is gone, or hands it nothing ever again
//! (seen on 3.10). So a gap in offsets is looked into before anything behind it is handed over, and so is silence.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::timeout;

use super::{
    super::AmqpBroker,
    reader::{Reader, Stored},
};
use crate::broker::{
    BrokerError,
    log::{LogTail, Logged},
};

/// The most events that the tail hands over at once.
const MOST_AT_ONCE: usize = 256;

/// After so long without a message it is asked whether there is none.
const SILENCE: Duration = Duration::from_secs(5);

/// How long a message that is stored may take to come.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub struct AmqpTail {
    broker: AmqpBroker,
    reader: Reader,
    /// Before this offset nothing is gone that was not handed over.
    whole_to: u64,
}

impl AmqpTail {
    /// Goes on where a reader has found the end.
    pub(super) const fn new(broker: AmqpBroker, reader: Reader) -> Self {
        Self { broker, reader, whole_to: 0 }
    }

    /// Fails if something was stored that does not come.
    async fn look_into_silence(&mut self) -> Result<(), BrokerError> {
        if self.broker.newest().await? < self.reader.next_offset() {
            return Ok(());
        }
        match timeout(ON_ITS_WAY, self.reader.next()).await {
            Ok(stored) => {
                self.reader.put_back(stored?);
                Ok(())
            }
            Err(_) => Err(left_behind()),
        }
    }

    /// Fails if something was in a gap of offsets.
    async fn look_into_gap(&mut self, before: Stored) -> Result<(), BrokerError> {
        let Stored { offset, expected, .. } = before;
        self.reader.put_back(before);
        if self.broker.oldest().await? > expected {
            return Err(left_behind());
        }
        self.whole_to = offset;
        Ok(())
    }
}

impl LogTail for AmqpTail {
    async fn next(&mut self) -> Result<Vec<Logged>, BrokerError> {
        let mut events = Vec::new();
        // Whatever waits here has taken nothing yet that could be lost.
        while events.is_empty() {
            match timeout(SILENCE, self.reader.next()).await {
                Ok(stored) => match stored? {
                    stored if stored.is_behind_gap(self.whole_to) => self.look_into_gap(stored).await?,
                    stored => events.extend(event(stored)),
                },
                Err(_) => self.look_into_silence().await?,
            }
        }
        while events.len() < MOST_AT_ONCE {
            match self.reader.next().now_or_never() {
                Some(Ok(stored)) if stored.is_behind_gap(self.whole_to) => {
                    self.reader.put_back(stored);
                    break;
                }
                Some(Ok(stored)) => events.extend(event(stored)),
                // The reader remembers the error for the next call.
                Some(Err(_)) | None => break,
            }
        }
        Ok(events)
    }
}

fn event(stored: Stored) -> Option<Logged> {
    (!stored.control).then(|| stored.into())
}

fn left_behind() -> BrokerError {
    BrokerError::Unavailable("the feed was trimmed faster than it was read".to_owned())
}
