//! Keeps other users out of a data folder that was there before: payloads are in it, and client ids, which are all that
//! is needed to read a mailbox.
//!
//! Only a folder that is the gateway's own is changed: it belongs to this user, holds nothing but a store, or nothing,
//! and is no place that users share. `--data-dir /tmp` must close that to no other program.

use std::{
    fs::{self, Metadata, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use rustix::process::geteuid;
use tracing::warn;

use super::disk::NAMES;

/// What is left to users who are not the owner.
const OTHERS: u32 = 0o077;

/// The bit of a folder in which each user may change nothing but what belongs to them, such as `/tmp`.
const SHARED: u32 = 0o1000;

/// Keeps others out of a folder, or says why not.
pub(super) fn keep_private(folder: &Path) {
    let mode = folder.metadata().as_ref().map_or(0, Metadata::mode) & 0o7777;
    let shown = (folder.display(), format!("{mode:04o}"));
    let closed = close(folder);
    match closed {
        Ok(true) if mode & OTHERS == 0 => {}
        Ok(true) => warn!(
            folder = %shown.0,
            mode = shown.1,
            "other users could look into the data folder, where payloads and client ids are; it is closed to them now"
        ),
        _ if mode & OTHERS == 0 => {}
        not_closed => warn!(
            folder = %shown.0,
            mode = shown.1,
            reason = not_closed.map_or_else(|error| error.to_string(), |_| "not this gateway's alone".to_owned()),
            "other users may look into the data folder, where payloads and client ids are; chmod 700 keeps them out"
        ),
    }
}

/// Closes a folder, and then all that is in it, which others cannot replace meanwhile; tells whether it is our own.
fn close(folder: &Path) -> io::Result<bool> {
    if !is_our_own(folder)? {
        return Ok(false);
    }
    let mode = folder.metadata()?.mode();
    if mode & OTHERS != 0 {
        fs::set_permissions(folder, Permissions::from_mode(mode & 0o7777 & !OTHERS))?;
    }
    close_below(folder)?;
    Ok(true)
}

fn is_our_own(folder: &Path) -> io::Result<bool> {
    let metadata = folder.metadata()?;
    if metadata.uid() != geteuid().as_raw() || metadata.mode() & SHARED != 0 {
        return Ok(false);
    }
    for entry in fs::read_dir(folder)? {
        if !NAMES.iter().any(|name| entry.as_ref().is_ok_and(|entry| entry.file_name() == *name)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn close_below(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Not of what a link leads to.
        let metadata = entry.metadata()?;
        if metadata.is_symlink() {
            continue;
        }
        if metadata.mode() & OTHERS != 0 {
            fs::set_permissions(entry.path(), Permissions::from_mode(metadata.mode() & 0o7777 & !OTHERS))?;
        }
        if metadata.is_dir() {
            close_below(&entry.path())?;
        }
    }
    Ok(())
}
