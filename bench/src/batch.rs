//! The answer to a poll of a mailbox.

use serde::Deserialize;

/// What a benchmark reads of it; `T` is the payload of its events.
#[derive(Debug, Deserialize)]
pub(crate) struct Batch<'a, T> {
    pub(crate) events: Vec<Element<T>>,
    pub(crate) last_seen: &'a str,
}

/// One event.
#[derive(Debug, Deserialize)]
pub(crate) struct Element<T> {
    pub(crate) data: T,
}
