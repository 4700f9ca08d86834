//! Room for making room.
//!
//! Dropping events writes a little before it frees much, and a full disk has not even that. So a file that holds
//! nothing is kept, and is given up when the disk is full; events are taken again when it is back and there is more
//! room besides.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// What dropping events takes at most, in bytes: the engine's records in memory, which become a table before a journal
/// goes.
const RESERVE: usize = 16 << 20;

/// What must fit besides before the engine is opened anew.
const ROOM: usize = 8 << 20;

/// The reserve itself.
pub(super) const FILE: &str = "reserve";

/// The file that tries whether there is more room.
pub(super) const PROBE: &str = "room";

/// See the module.
#[derive(Debug)]
pub(super) struct Reserve {
    file: PathBuf,
    probe: PathBuf,
    is_held: AtomicBool,
}

impl Reserve {
    /// Makes the reserve in a folder, if there is none and it fits.
    pub(super) fn open(folder: &Path) -> Self {
        let file = folder.join(FILE);
        let is_whole = file.metadata().is_ok_and(|file| file.len() == RESERVE as u64);
        // Not synced: the room is taken with the write.
        let is_held = is_whole || fill(&file, RESERVE).is_ok();
        Self { file, probe: folder.join(PROBE), is_held: AtomicBool::new(is_held) }
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }

    /// Gives the room back to the file system.
    pub(super) fn give_up(&self) {
        if self.is_held.swap(false, Ordering::Relaxed) {
            // If it is not there, its room is not taken.
            let _ = fs::remove_file(&self.file);
        }
    }

    /// Holds the reserve again, and finds out whether there is room besides, by taking it.
    pub(super) fn find_room(&self) -> io::Result<()> {
        if !self.is_held() {
            fill(&self.file, RESERVE).and_then(|()| File::open(&self.file)?.sync_all())?;
            self.is_held.store(true, Ordering::Relaxed);
        }
        self.probe()
    }

    /// Finds out whether there is room, or why there is none.
    pub(super) fn probe(&self) -> io::Result<()> {
        let found = fill(&self.probe, ROOM).and_then(|()| File::open(&self.probe)?.sync_all());
        let _ = fs::remove_file(&self.probe);
        found
    }
}

/// Writes a file of so many bytes, or none.
fn fill(path: &Path, bytes: usize) -> io::Result<()> {
    fs::write(path, vec![1; bytes]).inspect_err(|_| _ = fs::remove_file(path))
}
