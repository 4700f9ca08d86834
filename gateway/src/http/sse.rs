//! Server-Sent Events (WHATWG HTML, section 9.2): what polls would get one after the other, on one answer.
//!
//! An `EventSource` gives up for good on any status but 200. So what passes by itself is told by a stream that ends at
//! once and says when to come back, and only what does not is an error.
//!
//! It confirms by coming back: it sends the last id that it got. So a stream of a mailbox ends by itself as soon as it
//! has something to confirm and waits for more than a moment.

use std::{
    fmt::{Display, Write},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyper::{
    HeaderMap,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue},
};

use super::{
    body::{self, HttpResponse},
    media,
};

/// How often something is written at least: proxies take a silent connection for a dead one.
pub(super) const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// When to come back after a loss of the connection that was not announced, in milliseconds; spread.
const AFTER_LOSS_MS: std::ops::Range<u32> = 500..1500;

/// When to come back once the trouble is over that ended a stream, in milliseconds; spread.
const AFTER_TROUBLE_MS: std::ops::Range<u32> = 1000..5000;

/// When to come back to confirm, in milliseconds.
const TO_CONFIRM_MS: u32 = 100;

/// When a stream whose token has ended may come back with another one, in milliseconds.
const AFTER_EXPIRY_MS: u32 = 1000;

/// When a stream whose place another one took may come back, in milliseconds: in a day.
const AFTER_REPLACEMENT_MS: u32 = 86_400_000;

/// Has nginx pass on every piece at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Tells whether a client asks for Server-Sent Events.
pub(super) fn is_accepted(headers: &HeaderMap) -> bool {
    media::is_preferred(headers, "text/event-stream", "application/json")
}

/// Answers a client that this gateway cannot serve now.
pub(super) fn come_back_later() -> HttpResponse {
    headed(body::whole(Text::default().come_back_later().into_bytes()))
}

/// Answers a client that has to wait so long.
pub(super) fn come_back_after(wait: Duration) -> HttpResponse {
    let millis = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(AFTER_TROUBLE_MS.start);
    headed(body::whole(Text::default().retry(millis.saturating_add(rand::random_range(AFTER_LOSS_MS))).into_bytes()))
}

/// A part of a stream's text. No event is ever torn between two.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// Begins a stream.
    fn beginning() -> Self {
        Self::default().comment().retry(rand::random_range(AFTER_LOSS_MS))
    }

    /// Adds one event: what the client is to echo, and JSON.
    pub(super) fn push(&mut self, id: &dyn Display, json: &str) {
        // Writing to a string cannot fail; a token has no line break.
        let _ = writeln!(self.0, "id: {id}");
        self.push_data(json);
    }

    /// Adds the news that events are gone.
    pub(super) fn push_reset(&mut self, id: Option<&dyn Display>) {
        if let Some(id) = id {
            let _ = writeln!(self.0, "id: {id}");
        }
        self.0.push_str("event: reset\n");
        self.push_data(r#"{"reset":true}"#);
    }

    /// A payload is passed on as it came, so it may have line breaks of any kind. JSON has them between its tokens only
    /// (RFC 8259, section 2), where a space does as well; a field for each line would make many times as much of a text
    /// of lines.
    fn push_data(&mut self, json: &str) {
        self.0.push_str("data: ");
        for (n, line) in json.split(['\n', '\r']).enumerate() {
            if n > 0 {
                self.0.push(' ');
            }
            self.0.push_str(line);
        }
        self.0.push_str("\n\n");
    }

    /// Moves the client's place without an event.
    pub(super) fn place(mut self, id: &dyn Display) -> Self {
        let _ = write!(self.0, "id: {id}\n\n");
        self
    }

    pub(super) fn comment(mut self) -> Self {
        self.0.push_str(":\n\n");
        self
    }

    pub(super) fn replaced(mut self) -> Self {
        self.0.push_str("event: replaced\ndata: {\"replaced\":true}\n");
        self.retry(AFTER_REPLACEMENT_MS)
    }

    pub(super) fn expired(mut self) -> Self {
        self.0.push_str("event: expired\ndata: {\"expired\":true}\n");
        self.retry(AFTER_EXPIRY_MS)
    }

    pub(super) fn come_back_to_confirm(self) -> Self {
        self.retry(TO_CONFIRM_MS)
    }

    pub(super) fn come_back_later(self) -> Self {
        self.retry(rand::random_range(AFTER_TROUBLE_MS))
    }

    fn retry(mut self, millis: u32) -> Self {
        let _ = write!(self.0, "retry: {millis}\n\n");
        self
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.0.into()
    }
}

/// What a stream does next.
pub(super) enum Next {
    Chunk(Bytes),
    Last(Bytes),
}

impl From<Text> for Next {
    fn from(text: Text) -> Self {
        Self::Chunk(text.into_bytes())
    }
}

/// What is streamed, piece by piece.
pub(super) trait Source: Send + Sized + 'static {
    /// Waits for the next piece, at most [`COMMENT_EVERY`].
    fn next(&mut self) -> impl Future<Output = Next> + Send;
}

/// Answers with a stream of a source.
pub(super) fn streamed(source: impl Source) -> HttpResponse {
    let beginning = stream::once(std::future::ready(Text::beginning().into_bytes()));
    let pieces = stream::unfold(Some(source), async |source| {
        let mut source = source?;
        Some(match source.next().await {
            Next::Chunk(piece) => (piece, Some(source)),
            Next::Last(piece) => (piece, None),
        })
    });
    headed(body::streamed(beginning.chain(pieces).boxed()))
}

fn headed(mut response: HttpResponse) -> HttpResponse {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // A proxy that compresses would keep events in its compressor.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_its_id_and_one_line() {
        let mut text = Text::default();
        text.push(&"T~1", "{\r\n\"n\":1}");
        assert_eq!(text.0, "id: T~1\ndata: {  \"n\":1}\n\n");
    }

    #[test]
    fn news_of_a_loss_or_a_place_are_no_events() {
        let mut text = Text::default();
        text.push_reset(Some(&"T"));
        assert_eq!(text.0, "id: T\nevent: reset\ndata: {\"reset\":true}\n\n");
        assert_eq!(Text::default().place(&"T").0, "id: T\n\n");
        assert_eq!(Text::default().replaced().0, "event: replaced\ndata: {\"replaced\":true}\nretry: 86400000\n\n");
    }
}
