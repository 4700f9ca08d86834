//! What a backend publishes.

use std::sync::Arc;

use bytes::Bytes;

use crate::{CloudEvent, ContentType, EventId, EventTime, Form, Payload, Topic};

/// One event. The payload is opaque: it reaches the client byte for byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// Its identity, the same on every repeat.
    pub id: EventId,
    /// What it is about.
    pub topic: Topic,
    /// When it was published.
    pub time: EventTime,
    /// The message says when; else `time` is that of its delivery, and another at each.
    pub time_is_known: bool,
    /// What the publisher says the payload is, if it says so.
    pub content_type: Option<ContentType>,
    /// The payload is encoded so, as the publisher says, and was not decoded.
    pub content_encoding: Option<Arc<str>>,
    /// The publisher says that this may be a repeat of an event which was stored already.
    pub resent: bool,
    /// What the publisher says besides, as a JSON object, if it wants that shown.
    pub headers: Option<Arc<str>>,
    /// It is a `CloudEvent`, and says this of itself.
    pub cloud_event: Option<CloudEvent>,
    /// The payload.
    pub payload: Payload,
}

impl Event {
    /// Makes a new event, published now, under a new id.
    #[must_use]
    pub fn new(topic: Topic, content_type: Option<ContentType>, payload: impl Into<Bytes>) -> Self {
        let payload = Payload::of(content_type.as_ref(), payload);
        Self::of(topic, content_type, payload)
    }

    /// Makes the same of a payload that was taken already, under this type or under none.
    #[must_use]
    pub fn of(topic: Topic, content_type: Option<ContentType>, payload: Payload) -> Self {
        Self {
            id: EventId::new(),
            topic,
            time: EventTime::now(),
            time_is_known: true,
            content_type,
            content_encoding: None,
            resent: false,
            headers: None,
            cloud_event: None,
            payload,
        }
    }

    /// Returns how the payload is shown to a client.
    #[must_use]
    pub fn form(&self) -> Form<'_> {
        self.payload.form()
    }

    /// Returns a short check of a run of events that ends with this one; `before` is that of the run without it, or 0.
    ///
    /// Ids can repeat in a queue: a constant id of a foreign publisher, an event stored twice because its publisher
    /// sent it again. So the check is over what tells messages apart besides their ids: topic, time, payload, the
    /// resent mark. A time that the message does not carry is left out: it would be another at each delivery.
    #[must_use]
    pub fn check(&self, before: u32) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(before);
        hasher.update(self.topic.as_str().as_bytes());
        hasher.update(&[0, u8::from(self.resent)]);
        if self.time_is_known {
            hasher.update(&self.time.unix_millis().to_be_bytes());
        }
        hasher.update(&self.payload);
        hasher.finalize()
    }
}

/// What an event takes in an answer at most besides its payload, its texts and its headers, in bytes: names, the id,
/// the time, and a token.
const MAX_ENCODED_AROUND: usize = 512;

/// What an [`Event`] takes in memory besides its payload, its texts and its headers, in bytes, about: itself, and what
/// the allocator adds.
const MEMORY_AROUND: usize = 256;

impl Event {
    /// Returns how many bytes the event takes at most in an answer, where text is escaped (RFC 8259, section 7) and
    /// other bytes are base64.
    #[must_use]
    pub fn max_encoded_len(&self) -> usize {
        let extra = |byte: &u8| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
            0..0x20 => 5,
            _ => 0,
        };
        let is_json = self.content_type.as_ref().is_some_and(ContentType::is_json);
        let escapes = if is_json { 0 } else { self.payload.iter().map(extra).sum() };
        let encoded = (self.payload.len() + escapes).max(self.payload.len().div_ceil(3) * 4);
        // Of what text is escaped to, six bytes for one is the most. The headers are JSON already.
        encoded + 6 * self.text_len() + self.headers_len() + MAX_ENCODED_AROUND
    }

    /// Returns how many bytes the event takes in memory, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.payload.len() + self.text_len() + self.headers_len() + MEMORY_AROUND
    }

    fn headers_len(&self) -> usize {
        let attributes = self.cloud_event.as_ref().map_or(0, |attributes| attributes.as_json().len());
        self.headers.as_ref().map_or(0, |headers| headers.len()) + attributes
    }

    fn text_len(&self) -> usize {
        let content_type = self.content_type.as_ref().map_or("", ContentType::as_str);
        let content_encoding = self.content_encoding.as_deref().unwrap_or_default();
        self.topic.as_str().len() + content_type.len() + content_encoding.len()
    }
}

impl std::fmt::Debug for Event {
    /// Shows everything but the payload, which belongs in no log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id)
            .field("topic", &self.topic)
            .field("time", &self.time)
            .field("content_type", &self.content_type)
            .field("content_encoding", &self.content_encoding)
            .field("resent", &self.resent)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}
