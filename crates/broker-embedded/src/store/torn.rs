//! A batch that a power cut tore.
//!
//! Of a batch that was being written, any of its pages may have reached the disk. The engine discards a last batch that has
//! no end, but refuses the whole store when the end is there and something before it is not. No publisher was promised such a
//! batch, because it was not synced. So its end is taken away, and the engine discards it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use tracing::warn;

use super::engine::Engine;

/// Opens the engine; if its newest journal is damaged, once more without the end of the last batch in it.
pub(super) fn open(folder: &Path) -> Result<Engine, fjall::Error> {
    let refused = match Engine::open(folder) {
        Err(error @ fjall::Error::JournalRecovery(_)) => error,
        opened => return opened,
    };
    let Some(end) = LastEnd::take_away(folder)? else { return Err(refused) };
    let Ok(engine) = Engine::open(folder) else {
        // The damage is elsewhere.
        end.put_back()?;
        return Err(refused);
    };
    warn!("a batch that was being written when the power went is incomplete and was dropped; it was not confirmed");
    Ok(engine)
}

/// The last byte of the newest journal that is not a filling zero; every batch ends with one.
struct LastEnd {
    journal: PathBuf,
    length: u64,
    at: u64,
    byte: u8,
}

impl LastEnd {
    fn take_away(folder: &Path) -> io::Result<Option<Self>> {
        let Some(journal) = newest_journal(folder)? else { return Ok(None) };
        let content = fs::read(&journal)?;
        let Some(at) = content.iter().rposition(|byte| *byte != 0) else { return Ok(None) };
        let end = Self { journal, length: content.len() as u64, at: at as u64, byte: content[at] };
        let file = File::options().write(true).open(&end.journal)?;
        file.set_len(end.at)?;
        file.sync_all()?;
        Ok(Some(end))
    }

    fn put_back(self) -> io::Result<()> {
        let file = File::options().write(true).open(&self.journal)?;
        file.write_all_at(&[self.byte], self.at)?;
        file.set_len(self.length)?;
        file.sync_all()
    }
}

/// Returns the journal with the highest number.
fn newest_journal(folder: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|extension| extension == "jnl")) {
            newest = newest.max(Some((number, path)));
        }
    }
    Ok(newest.map(|(_, path)| path))
}
