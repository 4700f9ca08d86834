//! The payload of an event.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// A payload: which event it is, and when it was published.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// The number of the event among those of its client.
    pub(crate) number: u32,
    /// When it was published, in microseconds of the round.
    pub(crate) published: u64,
}

/// Returns the microseconds since then.
pub(crate) fn micros_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}
