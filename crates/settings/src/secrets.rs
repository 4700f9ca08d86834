//! What must not be seen: the broker's password in logs, and in the list of processes.

#[cfg(unix)]
use std::os::unix::fs::MetadataExt;
use std::{io, path::Path};

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterFn, filter_fn};

/// Libraries that write what goes over a connection to the broker, its login included, at the level `trace`.
const SPEAK_AMQP: [&str; 2] = ["lapin", "amq_protocol"];

/// What is left to users who are neither the owner of a file nor of its group: a service often gets its file by a group.
const OTHERS: u32 = 0o007;

/// Returns a layer that keeps lines out of the log that could hold the broker's password, with any filter.
#[must_use]
pub fn without_secrets() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    filter_fn(may_be_logged as fn(&Metadata<'_>) -> bool)
}

fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::DEBUG || !SPEAK_AMQP.iter().any(|library| metadata.target().starts_with(library))
}

/// Why there is no URL in a file.
#[derive(Debug, thiserror::Error)]
pub enum ReadUrlError {
    /// The file cannot be read.
    #[error("{0} cannot be read: {1}")]
    Unreadable(String, io::Error),
    /// There is nothing in the file.
    #[error("{0} is empty; there has to be a URL in it")]
    Empty(String),
}

/// Reads the URL that is all there is in a file, or several that are separated by white space.
pub fn read_urls(path: &Path) -> Result<String, ReadUrlError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| ReadUrlError::Unreadable(shown.clone(), error))?;
    let url = text.trim();
    if url.is_empty() { Err(ReadUrlError::Empty(shown)) } else { Ok(url.to_owned()) }
}

/// Returns what to say of a file with a password that other users may read or change; `None` if they may not.
#[must_use]
pub fn open_to_others(path: &Path) -> Option<String> {
    let mode = mode(path)?;
    let (path, is_open) = (path.display(), mode & OTHERS != 0);
    is_open.then(|| {
        format!("other users may look into {path} (mode {mode:04o}), which holds a password; chmod o= keeps them out")
    })
}

#[cfg(unix)]
fn mode(path: &Path) -> Option<u32> {
    Some(path.metadata().ok()?.mode() & 0o7777)
}

#[cfg(not(unix))]
const fn mode(_path: &Path) -> Option<u32> {
    None
}
