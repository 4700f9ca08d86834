//! Server-Sent Events as an `EventSource` reads them (WHATWG HTML, section 9.2.6).

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::time::timeout;

use crate::{HttpConnection, Left, PATIENCE, Request};

/// An open stream.
#[derive(Debug)]
pub struct EventStream {
    connection: HttpConnection,
    lines: VecDeque<String>,
    /// The beginning of the next line.
    begun: String,
    ended: bool,
    /// The id that an `EventSource` would come back with.
    pub last_id: String,
    /// When it would come back, if the stream said so.
    pub retry: Option<Duration>,
}

/// What an `EventSource` hands to its page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEvent {
    /// The `event:`, else `message`.
    pub kind: String,
    /// The last id at that moment.
    pub id: String,
    /// The JSON of its data.
    pub data: Value,
}

impl StreamEvent {
    /// Returns a number out of the payload.
    pub fn number(&self, name: &str) -> u64 {
        self.data["data"][name].as_u64().unwrap_or_else(|| panic!("no number {name} in {self:?}"))
    }

    /// Tells whether the event says that it may be a repeat.
    pub fn redelivered(&self) -> bool {
        self.data["redelivered"] == true
    }
}

impl EventStream {
    /// Asks for a stream; `last_id` is empty for the first time.
    pub async fn open(address: SocketAddr, path: &str, last_id: &str) -> Self {
        let stream = Self::open_unless_left(address, path, last_id).await;
        stream.unwrap_or_else(|left| panic!("there is no stream ({left:?})"))
    }

    /// Asks for a stream, unless no gateway listens or it leaves.
    pub async fn open_unless_left(address: SocketAddr, path: &str, last_id: &str) -> Result<Self, Left> {
        Self::open_with(address, Request::get(path), last_id).await
    }

    /// Asks for a stream by a request of its own.
    pub async fn open_with(address: SocketAddr, request: Request, last_id: &str) -> Result<Self, Left> {
        let mut request = request.header("accept", "text/event-stream");
        if !last_id.is_empty() {
            request = request.header("last-event-id", last_id);
        }
        let connection = HttpConnection::try_open(address).await.map_err(|_| Left::Reset)?;
        Self::on(connection, request, last_id).await
    }

    /// Asks for a stream on a connection.
    pub async fn over(connection: HttpConnection, path: &str) -> Self {
        let request = Request::get(path).header("accept", "text/event-stream");
        let stream = Self::on(connection, request, "").await;
        stream.unwrap_or_else(|left| panic!("there is no stream ({left:?})"))
    }

    async fn on(mut connection: HttpConnection, request: Request, last_id: &str) -> Result<Self, Left> {
        connection.send_unless_left(&request.bytes()).await?;
        let head = connection.head_unless_left().await?;
        let typed = (head.status, head.header("content-type"));
        assert_eq!(typed, (200, Some("text/event-stream")), "{head:?}");
        // No proxy is to keep, to gather or to compress events.
        assert_eq!(head.header("cache-control"), Some("no-store, no-transform"), "{head:?}");
        // nginx takes the header that is meant for it.
        let is_nginx = head.header("server").is_some_and(|server| server.starts_with("nginx"));
        assert_eq!(head.header("x-accel-buffering"), (!is_nginx).then_some("no"), "{head:?}");
        // One that ends at once may come whole.
        let whole = match head.header("content-length") {
            Some(_) => Some(connection.body(&head).await),
            None => None,
        };
        let (lines, begun, last_id) = (VecDeque::new(), String::new(), last_id.to_owned());
        let mut stream = Self { connection, lines, begun, ended: whole.is_some(), last_id, retry: None };
        stream.split(&whole.unwrap_or_default());
        Ok(stream)
    }

    /// Waits for the next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<StreamEvent> {
        let next = timeout(PATIENCE, self.next_unless_left()).await;
        let next = next.unwrap_or_else(|_| panic!("no event and no end came for {PATIENCE:?}"));
        next.unwrap_or_else(|left| panic!("the gateway left in the middle of a stream ({left:?})"))
    }

    /// Waits for the next event, unless the gateway leaves in the middle of the stream.
    pub async fn next_unless_left(&mut self) -> Result<Option<StreamEvent>, Left> {
        let (mut kind, mut data, mut id) = ("message".to_owned(), Vec::new(), self.last_id.clone());
        while let Some(line) = self.line().await? {
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "data" => data.push(value.to_owned()),
                "id" => value.clone_into(&mut id),
                "event" => value.clone_into(&mut kind),
                "retry" => self.retry = value.parse().map(Duration::from_millis).ok(),
                "" if line.is_empty() => {
                    self.last_id.clone_from(&id);
                    if !data.is_empty() {
                        let data = serde_json::from_str(&data.join("\n")).expect("data is JSON");
                        return Ok(Some(StreamEvent { kind, id, data }));
                    }
                }
                // A comment.
                _ => assert!(line.starts_with(':'), "{line:?}"),
            }
        }
        Ok(None)
    }

    /// Waits for this many events.
    pub async fn take(&mut self, count: usize) -> Vec<StreamEvent> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await.unwrap_or_else(|| panic!("the stream ended after {events:?}")));
        }
        events
    }

    /// Waits for what breaks a silence, a comment or an id alone; panics if an event comes first.
    pub async fn sign_of_life(&mut self) {
        loop {
            let line = self.line().await.unwrap_or_else(|left| panic!("the gateway left ({left:?})"));
            let line = line.expect("the stream is open");
            if line.starts_with(':') || line.starts_with("id:") {
                return;
            }
            assert!(line.is_empty(), "{line:?}");
        }
    }

    /// Waits for the end of the stream; panics if an event comes first.
    pub async fn end(&mut self) {
        let event = self.next().await;
        assert_eq!(event, None);
    }

    /// Hangs up, as `EventSource.close()` does.
    pub async fn close(self) {
        self.connection.close().await;
    }

    /// Leaves with a reset, as a browser does that dies.
    pub fn reset(self) {
        self.connection.reset();
    }

    async fn line(&mut self) -> Result<Option<String>, Left> {
        while self.lines.is_empty() && !self.ended {
            match self.connection.chunk_unless_left().await? {
                Some(chunk) => self.split(&chunk),
                None => self.ended = true,
            }
        }
        Ok(self.lines.pop_front())
    }

    fn split(&mut self, piece: &[u8]) {
        self.begun.push_str(str::from_utf8(piece).expect("no character is torn between pieces"));
        while let Some((line, rest)) = self.begun.split_once('\n') {
            self.lines.push_back(line.to_owned());
            self.begun = rest.to_owned();
        }
    }
}
