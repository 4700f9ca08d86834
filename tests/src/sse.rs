//! The same polls as Server-Sent Events, read as an `EventSource` reads them (HTML standard, section 9.2).

use std::collections::VecDeque;

use crate::{EventView, Gateway, Head, HttpConnection, Poll};

/// One block of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The `id:` field, if the block has one.
    pub id: Option<String>,
    /// The `event:` field, if the block has one.
    pub event: Option<String>,
    /// The `data:` lines, joined by line feeds; `None` if the block has none.
    pub data: Option<String>,
    /// The `retry:` field in milliseconds, if the block has one.
    pub retry: Option<u64>,
    /// The block is a comment, such as the one that keeps a connection alive.
    pub comment: bool,
}

impl SseEvent {
    /// Returns the event in `data`.
    #[track_caller]
    pub fn view(&self) -> EventView {
        let data = self.data.as_ref().unwrap_or_else(|| panic!("no data: {self:?}"));
        serde_json::from_str(data).unwrap_or_else(|e| panic!("no event ({e}): {self:?}"))
    }
}

/// An open stream.
#[derive(Debug)]
pub struct SseStream {
    connection: HttpConnection,
    head: Head,
    /// Bytes that came and are no whole block yet.
    bytes: Vec<u8>,
    blocks: VecDeque<SseEvent>,
    ended: bool,
}

impl SseStream {
    /// Opens the stream of a poll; panics unless the answer is an event stream.
    pub async fn open(poll: Poll, gateway: &Gateway) -> Self {
        let mut connection = poll.header("accept", "text/event-stream").hold(gateway).await;
        let head = connection.head().await;
        let kind = head.header("content-type").unwrap_or_default();
        assert!(head.status == 200 && kind.starts_with("text/event-stream"), "no event stream: {head:?}");
        Self { connection, head, bytes: Vec::new(), blocks: VecDeque::new(), ended: false }
    }

    /// Returns status and headers.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Reads the next block of any kind; `None` at the end of the stream.
    pub async fn next_block(&mut self) -> Option<SseEvent> {
        loop {
            if let Some(block) = self.blocks.pop_front() {
                return Some(block);
            }
            if self.ended {
                return None;
            }
            match self.connection.chunk().await {
                Some(chunk) => self.read(&chunk),
                None => self.ended = true,
            }
        }
    }

    /// Reads the next block with data; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<SseEvent> {
        loop {
            let block = self.next_block().await?;
            if block.data.is_some() {
                return Some(block);
            }
        }
    }

    /// Returns the connection, to leave in the way that the test chooses.
    pub fn into_connection(self) -> HttpConnection {
        self.connection
    }

    fn read(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
        while let Some(end) = self.bytes.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = self.bytes.drain(..end + 2).collect();
            let block = String::from_utf8(block).expect("an event stream is UTF-8");
            self.blocks.push_back(parse(block.trim_end()));
        }
    }
}

fn parse(block: &str) -> SseEvent {
    let mut event = SseEvent::default();
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "" => event.comment = true,
            "id" => event.id = Some(value),
            "event" => event.event = Some(value),
            "retry" => event.retry = value.parse().ok(),
            "data" => match &mut event.data {
                Some(data) => *data = format!("{data}\n{value}"),
                None => event.data = Some(value),
            },
            _ => panic!("no field of an event stream: {line:?}"),
        }
    }
    event
}
