//! The payload of an event: who should get it, its place in line, and when it was published.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// A payload. Its size, some 110 bytes, is that of a small status message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// The index of the client.
    pub(crate) client: u32,
    /// The number of the event among those of this client, over the whole run.
    pub(crate) number: u32,
    /// When it was published, in microseconds of the [`Clock`].
    pub(crate) published: u64,
}

impl Stamp {
    /// Returns the payload as JSON.
    pub(crate) fn json(&self) -> Vec<u8> {
        let Self { client, number, published } = self;
        format!(
            r#"{{"client":{client},"number":{number},"published":{published},"state":"passed","detail":"step 3 of 7 took 12.5 s"}}"#
        )
        .into_bytes()
    }
}

/// The one clock of publishers and readers, which live in one process for its sake.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Starts at 0.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the microseconds since the start.
    pub(crate) fn micros(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
