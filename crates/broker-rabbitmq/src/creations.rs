//! One creation of a mailbox at a time, so that two requests for a new one do not make two markers.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use events::ClientId;
use tokio::sync::{Mutex, MutexGuard};

/// How many mailboxes can be made at once, at most.
const GROUPS: usize = 64;

/// The creations of mailboxes in this process, apart for each of some groups of clients. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct Creations(Arc<[Group]>);

#[derive(Debug, Default)]
struct Group {
    turn: Mutex<()>,
    ended: AtomicU64,
}

/// The right to make a mailbox. When it is dropped, the creation has ended.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    ended: &'a AtomicU64,
    _turn: MutexGuard<'a, ()>,
}

impl Default for Creations {
    fn default() -> Self {
        Self((0..GROUPS).map(|_| Group::default()).collect())
    }
}

impl Creations {
    /// Returns how many creations of a client's group have ended. A mailbox that was looked for after that, and was not
    /// there, may be made as long as this is still so.
    pub(super) fn ended(&self, client: &ClientId) -> u64 {
        self.group(client).ended.load(Ordering::Acquire)
    }

    /// Waits for the other creations of a client's group. Cancel-safe.
    pub(super) async fn turn(&self, client: &ClientId) -> Turn<'_> {
        let Group { turn, ended } = self.group(client);
        Turn { _turn: turn.lock().await, ended }
    }

    fn group(&self, client: &ClientId) -> &Group {
        &self.0[crc32fast::hash(client.as_str().as_bytes()) as usize % GROUPS]
    }
}

impl Turn<'_> {
    pub(super) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Acquire)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.ended.fetch_add(1, Ordering::Release);
    }
}
