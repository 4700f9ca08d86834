//! The file of a socket: made so that it is never seen half made, and removed with its listener.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

/// Its user and group may connect, which takes the right to write (unix(7)): a proxy in front runs as another user.
const MODE: u32 = 0o660;

/// The file of a socket that listens. It goes when this is dropped, unless another file has taken its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

/// Listens at a path. The file of a process that has died is replaced, that of one that listens is not.
///
/// The socket is bound beside its place and renamed: the file at the path is one socket or the other at any time, and
/// always of the right mode.
pub(super) async fn bind(path: &Path) -> io::Result<(SocketFile, UnixListener)> {
    check_place(path).await?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    // One that an earlier process of this id has left.
    let _ = fs::remove_file(&beside);
    let listener = UnixListener::bind(&beside)?;
    let made = fs::set_permissions(&beside, Permissions::from_mode(MODE))
        .and_then(|()| fs::symlink_metadata(&beside))
        .and_then(|file| fs::rename(&beside, path).map(|()| (file.dev(), file.ino())));
    match made {
        Ok(identity) => Ok((SocketFile { path: path.to_owned(), identity }, listener)),
        Err(error) => {
            let _ = fs::remove_file(&beside);
            Err(error)
        }
    }
}

/// Says why a path cannot be taken.
async fn check_place(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file there is no socket; name another path"));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        // No process listens any more.
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        // A full queue is that of a process that listens, too.
        Ok(_) | Err(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens there; stop it, or name another path",
        )),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        match fs::symlink_metadata(&self.path) {
            Ok(file) if (file.dev(), file.ino()) == self.identity => {
                if let Err(error) = fs::remove_file(&self.path) {
                    warn!(path = %self.path.display(), %error, "cannot remove the file of a socket");
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("postern-{name}-{}.sock", std::process::id()))
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let path = place("replaced");
        let (file, listener) = bind(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        let in_use = bind(&path).await.unwrap_err();
        assert!(in_use.to_string().contains("another process listens there"), "{in_use}");
        drop(listener);
        let (next, _listener) = bind(&path).await.unwrap();
        // The first one leaves the file of the second one alone.
        drop(file);
        assert!(path.exists());
        drop(next);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let path = place("file");
        fs::write(&path, "of value").unwrap();
        let error = bind(&path).await.unwrap_err();
        assert!(error.to_string().contains("no socket"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"of value");
        fs::remove_file(&path).unwrap();
    }
}
