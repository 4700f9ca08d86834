//! A folder of one test.

use std::path::{Path, PathBuf};

use uuid::Uuid;

/// A place for a new folder, removed with all it holds when it is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(std::env::temp_dir().join(format!("postern-store-{}", Uuid::new_v4().simple())))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It may never have been made; and the engine's last thread may still write.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
