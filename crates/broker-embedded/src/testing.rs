//! What tests of other crates do to this broker, and where.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::EmbeddedBroker;

/// A place for a new folder, removed with all it holds when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// Names a place where nothing is.
    #[expect(clippy::new_without_default, reason = "each is another")]
    #[must_use]
    pub fn new() -> Self {
        Self(std::env::temp_dir().join(format!("postern-store-{}", Uuid::new_v4().simple())))
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It may never have been made; and the engine's last thread may still write.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl EmbeddedBroker {
    /// Ends without a word, as a kill does: nothing more is written.
    pub fn crash(self) {
        self.handle.store.close();
    }

    /// Ends without a word, and forgets that events from this offset on were stored.
    ///
    /// # Panics
    ///
    /// If the store is not open.
    pub fn crash_and_go_back_to(self, next: u64) {
        assert!(self.handle.store.go_back_to(next).is_ok(), "the store is open");
        self.crash();
    }

    /// Loses an event on disk, as damage does, and its head, too, if that is asked for.
    ///
    /// # Panics
    ///
    /// If the store is not open.
    pub fn lose(&self, offset: u64, with_head: bool) {
        assert!(self.handle.store.lose(offset, with_head).is_ok(), "the store is open");
    }
}
