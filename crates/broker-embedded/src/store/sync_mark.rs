//! How much was synced, written where the engine does not write.
//!
//! The engine cannot tell a journal whose end is torn, which is what a crash leaves, from one that lost what it had
//! synced. This file can: it holds the number of the last synced batch, written after the sync. It is not synced
//! itself, so it may be late after a power cut, but never ahead.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
    time::SystemTime,
};

/// Its name in the data folder.
pub(super) const FILE: &str = "synced";

/// See the module.
#[derive(Debug)]
pub(super) struct SyncMark(File);

impl SyncMark {
    /// Returns the number in the file; `None` if there is none, or it cannot be read.
    pub(super) fn read(folder: &Path) -> io::Result<Option<u64>> {
        match fs::read(folder.join(FILE)) {
            Ok(bytes) => Ok(bytes.first_chunk().copied().and_then(read)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the file of a store that is begun, and syncs it: a store without it is taken for damaged.
    pub(super) fn begin(folder: &Path) -> io::Result<()> {
        let mark = Self::open(folder)?;
        mark.note(0)?;
        mark.0.sync_all()?;
        File::open(folder)?.sync_all()
    }

    /// Opens the file, to write it; makes one if there is none.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        File::options().write(true).create(true).truncate(false).open(folder.join(FILE)).map(Self)
    }

    /// Returns when the file was made, and so the store; `None` if the file system does not say.
    pub(super) fn made(folder: &Path) -> Option<SystemTime> {
        folder.join(FILE).metadata().and_then(|file| file.created()).ok()
    }

    /// Takes note of a synced batch.
    pub(super) fn note(&self, number: u64) -> io::Result<()> {
        let number = number.to_be_bytes();
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&number);
        bytes[8..].copy_from_slice(&crc32fast::hash(&number).to_be_bytes());
        self.0.write_all_at(&bytes, 0)
    }
}

fn read(bytes: [u8; 12]) -> Option<u64> {
    let (number, check) = bytes.split_first_chunk::<8>()?;
    (crc32fast::hash(number).to_be_bytes() == check).then(|| u64::from_be_bytes(*number))
}
