//! One creation of a mailbox at a time, so that two requests for a new one do not make two markers.

use std::sync::Arc;

use events::ClientId;
use tokio::sync::{Mutex, MutexGuard};

/// How many mailboxes can be made at once, at most.
const STRIPES: usize = 64;

/// Counts the mailboxes that were made here, apart for each of some groups of clients. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct Creations(Arc<[Mutex<u64>]>);

impl Default for Creations {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| Mutex::default()).collect())
    }
}

impl Creations {
    /// Returns the count of a client's group. What was looked for after that, and was not there, may be made as long as the
    /// count is still this.
    pub(super) async fn count(&self, client: &ClientId) -> u64 {
        *self.lock(client).await
    }

    /// Waits for the creations of a client's group; to be counted up by who makes one.
    pub(super) async fn lock(&self, client: &ClientId) -> MutexGuard<'_, u64> {
        let group = crc32fast::hash(client.as_str().as_bytes()) as usize % STRIPES;
        self.0[group].lock().await
    }
}
