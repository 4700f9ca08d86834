//! The files without which the engine would begin an empty store in the place of the one that was there.
//!
//! It takes a keyspace that lacks its first file for one that was never finished, and removes what is left of it. So a store
//! that was in use is looked at before the engine sees it.

use std::{fs, io, path::Path};

/// The engine's own keyspace, which names the others, and those of the store.
const KEYSPACES: usize = 1 + 4;

/// Returns what is missing from the engine's folder of a store that was in use, by its path in there; `None` if it is whole.
pub(super) fn missing(engine: &Path) -> io::Result<Option<String>> {
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
