//! One look at the file: what is there, and how to tell whether it is the same as before.

use std::{
    fmt,
    fs::{self, File, Metadata},
    io::{self, ErrorKind, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::source::MAX_PAYLOAD;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    Content(Content),
    Absent,
    /// Something that no event can be made of, and why.
    Unusable(String),
}

/// What was in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    stamp: Stamp,
    hash: [u8; 32],
    pub(super) bytes: Bytes,
}

/// Where a file lies and when it was changed; times in (seconds, nanoseconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    place: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Look {
    /// Reads what is at a path, following links. Blocks.
    pub(super) fn at(path: &Path) -> Self {
        match read(path) {
            Ok(look) => look,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Self::Absent,
            Err(error) => Self::Unusable(format!("cannot read it: {error}")),
        }
    }

    /// Tells whether readers would see no difference.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Content(one), Self::Content(other)) => one.hash == other.hash,
            _ => self == other,
        }
    }

    /// Tells whether it was not touched.
    pub(super) fn is_still(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Content(one), Self::Content(other)) => (one.stamp, one.hash) == (other.stamp, other.hash),
            _ => self == other,
        }
    }

    /// Forgets the bytes; the hash is enough to compare.
    pub(super) fn without_bytes(mut self) -> Self {
        if let Self::Content(content) = &mut self {
            content.bytes = Bytes::new();
        }
        self
    }
}

fn read(path: &Path) -> io::Result<Look> {
    // Before it is opened: to open a pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Ok(Look::Unusable("it is no file".to_owned()));
    }
    let file = File::open(path)?;
    let stamp = Stamp::of(&file.metadata()?);
    let mut bytes = Vec::new();
    file.take(MAX_PAYLOAD as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_PAYLOAD {
        let most = MAX_PAYLOAD >> 20;
        return Ok(Look::Unusable(format!("it holds more than {most} MiB, which is too large for one event")));
    }
    Ok(Look::Content(Content { stamp, hash: Sha256::digest(&bytes).into(), bytes: bytes.into() }))
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            place: (metadata.dev(), metadata.ino()),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, sha256 ", self.stamp.len)?;
        // Enough to tell one from another.
        self.hash.iter().take(6).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
