//! The contract that Postern's binaries share.
//!
//! An [`Event`] is what a backend publishes under a [`Topic`]. A [`ClientId`] names a reader, a [`TopicPattern`] what
//! the reader wants. All four are checked once, where text enters the process; past that edge they cannot be wrong.
//!
//! How they look in AMQP is the matter of the crate `amqp`; of HTTP, [`http_names`] has the names of headers.

mod client_id;
mod cloud_event;
mod content;
mod content_coding;
mod cover;
mod event;
mod event_id;
mod event_time;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod http_names;
mod json;
mod matcher;
mod pattern_map;
mod selection;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod topic;
mod words;

pub use client_id::{ClientId, ClientIdError};
pub use cloud_event::{CloudEvent, CloudEventError};
pub use content::{ContentType, ContentTypeError, Form, Payload};
pub use content_coding::{ContentCoding, InflateError};
pub use cover::covers;
pub use event::Event;
pub use event_id::{EventId, EventIdError};
pub use event_time::EventTime;
pub use json::JsonError;
pub use matcher::Matcher;
pub use pattern_map::PatternMap;
pub use selection::{Selection, SelectionError};
pub use topic::{Topic, TopicError, TopicPattern};

/// Tells whether a byte may stand in a token: a client id, an event id or a last-seen token.
///
/// These are the "unreserved" characters of RFC 3986, section 2.3: they pass through URLs and headers unescaped.
#[must_use]
pub const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-')
}
