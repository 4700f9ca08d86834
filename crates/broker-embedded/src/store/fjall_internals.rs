//! What the store relies on in fjall that fjall does not promise: hidden functions, the files in its folder, and its
//! limits.
//!
//! All of it is here, as fjall 3.1.13 has it, and `Cargo.toml` pins that version. Each assumption has a test that fails
//! when another version breaks it, so those tests are what to run, and to read, before the version is changed.

use std::{
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use fjall::{AbstractTree, Keyspace};

/// The size that a journal gets when it is made, in bytes, before anything is in it; and the least to which all
/// journals together can be limited.
pub(super) const JOURNAL_BYTES: u64 = 64 << 20;

/// Memory that waits to be flushed, in tables of a keyspace: below the 4 at which a commit waits for the engine's
/// worker, for ever if that has given up.
const MAX_SEALED: usize = 1;

/// Tables that wait to be merged, in runs: below the 20 at which a commit is slowed down, and the 30 at which it waits
/// as well.
const MAX_RUNS: usize = 18;

/// The engine's own keyspace, which names the others, and those of the store.
const KEYSPACES: usize = 1 + 4;

/// Tells whether so much of a keyspace waits for the engine's worker that a commit might soon wait, too.
pub(super) fn is_worker_late(keyspace: &Keyspace) -> bool {
    keyspace.tree.sealed_memtable_count() > MAX_SEALED || keyspace.tree.l0_run_count() > MAX_RUNS
}

/// Drops the tables that have no keys but these. Records in memory stay, and so do tables with other keys.
pub(super) fn drop_tables(keyspace: &Keyspace, keys: Range<[u8; 8]>) -> Result<(), fjall::Error> {
    Ok(keyspace.tree.drop_range(keys)?)
}

/// Tells whether an error is about the machine's means and not about what was read.
pub(super) fn is_passing(error: &fjall::Error) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            // An error without a number is the engine's own, over what it read; with EIO the disk itself gives up.
            return error.raw_os_error().is_some_and(|number| number != rustix::io::Errno::IO.raw_os_error());
        }
        source = error.source();
    }
    false
}

/// Returns what is missing from the engine's folder of a store that was in use, by its path in there; `None` if it is
/// whole.
///
/// Without these files the engine would begin an empty store in the place of the one that was there. It takes a
/// keyspace that lacks its first file for one that was never finished, and removes what is left of it. So a store that
/// was in use is looked at before the engine sees it.
pub(super) fn missing_file(engine: &Path) -> io::Result<Option<String>> {
    for name in ["version", "lock", "keyspaces"] {
        if !engine.join(name).try_exists()? {
            return Ok(Some(name.to_owned()));
        }
    }
    let mut count = 0;
    for keyspace in fs::read_dir(engine.join("keyspaces"))? {
        let name = keyspace?.file_name();
        let current = Path::new("keyspaces").join(name).join("current");
        if engine.join(&current).parent().is_some_and(Path::is_dir) {
            if !engine.join(&current).try_exists()? {
                return Ok(Some(current.display().to_string()));
            }
            count += 1;
        }
    }
    Ok((count < KEYSPACES).then(|| format!("one of {KEYSPACES} folders of keyspaces")))
}

/// Tells whether the engine refuses a store because of what is in its journals.
pub(super) const fn is_in_journal(error: &fjall::Error) -> bool {
    matches!(error, fjall::Error::JournalRecovery(_))
}

/// The last byte of the newest journal that is not a filling zero; every batch ends with one. Without it the last batch
/// has no end, and the engine discards that batch.
#[derive(Debug)]
pub(super) struct LastEnd {
    journal: PathBuf,
    length: u64,
    at: u64,
    byte: u8,
}

impl LastEnd {
    /// Removes it; `None` if there is nothing in the journal.
    pub(super) fn take_away(engine: &Path) -> io::Result<Option<Self>> {
        let Some(journal) = newest_journal(engine)? else { return Ok(None) };
        let content = fs::read(&journal)?;
        let Some(at) = content.iter().rposition(|byte| *byte != 0) else { return Ok(None) };
        let end = Self { journal, length: content.len() as u64, at: at as u64, byte: content[at] };
        let file = File::options().write(true).open(&end.journal)?;
        file.set_len(end.at)?;
        file.sync_all()?;
        Ok(Some(end))
    }

    /// Leaves the journal as it was.
    pub(super) fn put_back(self) -> io::Result<()> {
        let file = File::options().write(true).open(&self.journal)?;
        file.write_all_at(&[self.byte], self.at)?;
        file.set_len(self.length)?;
        file.sync_all()
    }
}

/// Returns the journal with the highest number: the one that the engine writes.
pub(crate) fn newest_journal(engine: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in fs::read_dir(engine)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|extension| extension == "jnl")) {
            newest = newest.max(Some((number, path)));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

#[cfg(test)]
mod tests;
