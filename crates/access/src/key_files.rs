//! Keys in files.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use crate::keys::{self, Key, KeyError};

/// The largest file of keys, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// The files that keys are in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyFiles {
    /// Public keys: PEM, or a JSON Web Key Set.
    pub public: Vec<PathBuf>,
    /// Secrets of HS256, one on each line.
    pub secret: Vec<PathBuf>,
}

/// Why the keys of a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("cannot read {path}: {1}", path = .0.display())]
    Io(PathBuf, std::io::Error),
    /// It is too large.
    #[error("{} has more than {MAX_FILE} bytes, so it is no file of keys", .0.display())]
    TooLarge(PathBuf),
    /// It is not UTF-8.
    #[error("{} is no text: keys are written as PEM, or as a JSON Web Key Set, secrets as lines", .0.display())]
    NoText(PathBuf),
    /// Every user of the machine can read it.
    #[error("{} can be read by every user of this machine, and holds a secret: chmod o-rwx {}", .0.display(), .0.display())]
    Open(PathBuf),
    /// It holds no keys, or wrong ones.
    #[error("{path}: {1}", path = .0.display())]
    Key(PathBuf, KeyError),
}

impl KeyFiles {
    /// Tells whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.public.is_empty() && self.secret.is_empty()
    }

    /// Reads all of them.
    pub(crate) fn read(&self) -> Result<Vec<Key>, KeyFileError> {
        let mut found = Vec::new();
        for path in &self.public {
            found.extend(keys::public(&text(path)?).map_err(|error| KeyFileError::Key(path.clone(), error))?);
        }
        for path in &self.secret {
            check_mode(path)?;
            found.extend(keys::secrets(&text(path)?).map_err(|error| KeyFileError::Key(path.clone(), error))?);
        }
        Ok(found)
    }
}

fn text(path: &Path) -> Result<String, KeyFileError> {
    let io = |error| KeyFileError::Io(path.to_owned(), error);
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(KeyFileError::TooLarge(path.to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| KeyFileError::NoText(path.to_owned()))
}

/// Refuses a secret that is none. The group may read it: a container that is no administrator gets its secrets that way.
#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), KeyFileError> {
    use std::os::unix::fs::PermissionsExt;

    const OTHERS: u32 = 0o007;
    let metadata = fs::metadata(path).map_err(|error| KeyFileError::Io(path.to_owned(), error))?;
    if metadata.permissions().mode() & OTHERS == 0 { Ok(()) } else { Err(KeyFileError::Open(path.to_owned())) }
}

#[cfg(not(unix))]
fn check_mode(path: &Path) -> Result<(), KeyFileError> {
    fs::metadata(path).map(drop).map_err(|error| KeyFileError::Io(path.to_owned(), error))
}
