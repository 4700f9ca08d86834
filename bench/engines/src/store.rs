//! What Postern asks of an engine, and nothing more.

mod fjall;
mod redb;

pub use self::{fjall::Fjall, redb::Redb};

use crate::event::Event;
use std::{error::Error, ops::Range, path::Path};

/// Whatever an engine answers with when it fails; only its text is used.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The names under which children know the engines.
pub const ENGINES: [&str; 2] = ["fjall", "redb"];

/// How much a commit must survive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    /// A power cut: the data is synced before the call returns.
    PowerCut,
    /// A kill of the process: the data is with the operating system.
    Kill,
}

/// One engine, opened on one folder. One thread writes; any thread reads.
pub trait Store: Send + Sync + Sized + 'static {
    /// Opens the folder, making it if it is new.
    fn open(folder: &Path) -> Result<Self, Failure>;
    /// Writes all events as one atomic batch.
    fn publish(&self, events: &[Event], survives: Survives) -> Result<(), Failure>;
    /// Overwrites the mailbox records of some clients; they survive a kill.
    fn confirm(&self, records: &[(u64, Vec<u8>)]) -> Result<(), Failure>;
    /// Forgets all events in the range, so that their disk space comes back sooner or later.
    fn forget(&self, offsets: Range<u64>) -> Result<(), Failure>;
    /// Reads all heads in order.
    fn heads(&self, each: &mut dyn FnMut(u64, &[u8])) -> Result<(), Failure>;
    /// Reads a range of events in order.
    fn events(&self, offsets: Range<u64>, each: &mut dyn FnMut(u64, &[u8])) -> Result<(), Failure>;
    /// Reads one event.
    fn event(&self, offset: u64) -> Result<Option<Vec<u8>>, Failure>;
    /// Reads one mailbox record.
    fn mailbox(&self, client: u64) -> Result<Option<Vec<u8>>, Failure>;
    /// Asks the engine to check all that it stored, if it can: `false` says that it found damage.
    fn verify(&mut self) -> Result<bool, Failure>;
}
