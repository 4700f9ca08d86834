//! `emit`: one event, from an argument, a file or standard input.
//!
//! The whole payload is held in memory, so its size is bounded. Its id is the command's result: it is printed only
//! when the event is confirmed.

use std::path::PathBuf;

use anyhow::{Context, bail};
use bytes::Bytes;
use events::{ContentType, EventId, Topic};
use tokio::{
    fs::File,
    io::{self, AsyncRead, AsyncReadExt},
};

use crate::source::{Input, MAX_PAYLOAD, Order, Outgoing, Source, compose};

/// What to emit.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) topic: Topic,
    pub(crate) payload: Payload,
    pub(crate) content_type: Option<ContentType>,
    /// The id of an earlier attempt which this one repeats.
    pub(crate) repeat_of: Option<EventId>,
}

/// Where the payload comes from.
#[derive(Debug)]
pub(crate) enum Payload {
    Argument(String),
    File(PathBuf),
    StandardInput,
}

/// The source of the one event.
pub(crate) struct Emit {
    topic: Topic,
    content_type: Option<ContentType>,
    repeat_of: Option<EventId>,
    /// `None` once the event was made.
    reader: Option<Box<dyn AsyncRead + Unpin>>,
    name: String,
    /// What was read so far; kept here so that a cancelled read loses nothing.
    payload: Vec<u8>,
    id: Option<EventId>,
}

impl Emit {
    /// Opens the input, so that a wrong path is known before the target is connected to.
    pub(crate) async fn open(options: Options) -> anyhow::Result<Self> {
        let (reader, name): (Box<dyn AsyncRead + Unpin>, _) = match options.payload {
            Payload::Argument(text) => (Box::new(std::io::Cursor::new(text)), "the argument".to_owned()),
            Payload::StandardInput => (Box::new(io::stdin()), "standard input".to_owned()),
            Payload::File(path) => {
                let name = path.display().to_string();
                let file = File::open(&path).await.with_context(|| format!("cannot open {name}"))?;
                (Box::new(file), name)
            }
        };
        let Options { topic, content_type, repeat_of, .. } = options;
        Ok(Self { topic, content_type, repeat_of, reader: Some(reader), name, payload: Vec::new(), id: None })
    }
}

impl Source for Emit {
    async fn next(&mut self) -> anyhow::Result<Option<Input>> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        while reader.read_buf(&mut self.payload).await.with_context(|| format!("cannot read {}", self.name))? > 0 {
            if self.payload.len() > MAX_PAYLOAD {
                bail!("{} holds more than {} MiB, which is too large for one event", self.name, MAX_PAYLOAD >> 20);
            }
        }
        self.reader = None;
        let payload = Bytes::from(std::mem::take(&mut self.payload));
        Ok(Some(match compose(self.topic.clone(), self.content_type.as_ref(), payload) {
            Ok(mut event) => {
                if let Some(id) = self.repeat_of.take() {
                    event.id = id;
                    event.resent = true;
                }
                self.id = Some(event.id.clone());
                Input::Event(Outgoing { event, line: None })
            }
            Err(reason) => Input::Unusable { line: None, reason },
        }))
    }

    fn order(&self) -> Order {
        Order::Single
    }

    fn total(&self) -> Option<u64> {
        Some(1)
    }

    fn unread(&self) -> Option<String> {
        self.reader.as_ref().map(|_| "the event was not published".to_owned())
    }

    fn result(&self) -> Option<String> {
        self.id.as_ref().map(ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn emit(payload: Payload, repeat_of: Option<EventId>) -> anyhow::Result<Emit> {
        Emit::open(Options { topic: "a.b".parse().unwrap(), payload, content_type: None, repeat_of }).await
    }

    #[tokio::test]
    async fn there_is_exactly_one_event_and_its_id_is_the_result() {
        let mut emit = emit(Payload::Argument("{}".to_owned()), None).await.unwrap();
        let Ok(Some(Input::Event(outgoing))) = emit.next().await else { panic!("no event") };
        assert_eq!((&outgoing.event.payload[..], outgoing.event.resent), (&b"{}"[..], false));
        assert_eq!(emit.result(), Some(outgoing.event.id.to_string()));
        assert!(matches!(emit.next().await, Ok(None)));
    }

    #[tokio::test]
    async fn a_repeat_has_the_same_id_and_says_that_it_is_one() {
        let id = EventId::new();
        let mut emit = emit(Payload::Argument(String::new()), Some(id.clone())).await.unwrap();
        let Ok(Some(Input::Event(outgoing))) = emit.next().await else { panic!("no event") };
        assert_eq!((outgoing.event.id, outgoing.event.resent), (id, true));
    }

    #[tokio::test]
    async fn a_wrong_path_is_named() {
        let error = emit(Payload::File("/no/such/file".into()), None).await.err().unwrap();
        assert_eq!(error.to_string(), "cannot open /no/such/file");
    }
}
