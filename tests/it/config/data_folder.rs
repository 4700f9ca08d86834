//! Other users of the machine look into no data folder.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use postern_tests::{Folder, Gateway, Request};

const CLOSED: &str =
    "other users could look into the data folder, where payloads and client ids are; it is closed to them now";
const OPEN: &str =
    "other users may look into the data folder, where payloads and client ids are; chmod 700 keeps them out";

/// Returns the permissions of a file or a folder.
fn mode(path: &Path) -> u32 {
    path.metadata().unwrap_or_else(|e| panic!("{}: {e}", path.display())).mode() & 0o777
}

fn full_mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

/// Returns all files and folders below a folder, at any depth.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let deeper: Vec<PathBuf> =
        paths.iter().filter(|path| path.is_dir() && !path.is_symlink()).flat_map(|folder| below(folder)).collect();
    paths.extend(deeper);
    paths
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Runs a gateway in a folder, and returns which of both it said, with the mode that it found.
async fn said(folder: &Path) -> Option<(&'static str, String)> {
    let mut gateway = Gateway::builder().flag("--data-dir", folder).start().await;
    Request::publish("a", "text/plain", "1").send(gateway.address()).await.expect_status(202);
    gateway.terminate();
    gateway.wait_exit(Duration::from_secs(15)).await;
    let lines = [CLOSED, OPEN].map(|message| gateway.log().fields(0, message).map(|line| (message, line)));
    let mut said = lines.into_iter().flatten().map(|(message, line)| {
        assert_eq!((line["level"].as_str(), line["folder"].as_str()), (Some("WARN"), folder.to_str()));
        (message, line["mode"].as_str().unwrap().to_owned())
    });
    let first = said.next();
    assert_eq!((said.next(), gateway.log().fields(0, "store is damaged")), (None, None));
    first
}

fn open_to_others(folder: &Path) -> Vec<PathBuf> {
    below(folder).into_iter().filter(|path| mode(path) & 0o077 != 0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_one_is_private_and_an_older_one_is_closed() {
    let parent = Folder::new("data");
    let folder = parent.path().join("store");
    assert_eq!(said(&folder).await, None);
    assert_eq!((mode(&folder), open_to_others(&folder)), (0o700, vec![]));
    assert!(below(&folder).len() > 5, "the engine's own files are among them");

    // As a gateway of a wider umask would have left it.
    let elsewhere = parent.path().join("elsewhere");
    fs::write(&elsewhere, "not the gateway's").unwrap();
    set_mode(&elsewhere, 0o644);
    symlink(&elsewhere, folder.join("engine/link")).unwrap();
    for (before, expected) in [(0o755, 0o700), (0o710, 0o700), (0o2770, 0o2700)] {
        for path in below(&folder).iter().filter(|path| !path.is_symlink()) {
            set_mode(path, if path.is_dir() { 0o755 } else { 0o644 });
        }
        set_mode(&folder, before);
        assert_eq!(said(&folder).await, Some((CLOSED, format!("{before:04o}"))));
        let open: Vec<_> = open_to_others(&folder).into_iter().filter(|path| !path.is_symlink()).collect();
        assert_eq!((full_mode(&folder), open), (expected, vec![]));
        assert_eq!(mode(&elsewhere), 0o644, "a link is not followed");
        assert_eq!(said(&folder).await, None, "it is said once");
    }
    // Behind a closed folder others cannot read it, but a backup copies its mode.
    set_mode(&folder.join("synced"), 0o644);
    assert_eq!(said(&folder).await, None);
    assert_eq!(mode(&folder.join("synced")), 0o600);

    let empty = Folder::new("empty");
    set_mode(empty.path(), 0o755);
    assert_eq!(said(empty.path()).await, Some((CLOSED, "0755".to_owned())));
    assert_eq!(mode(empty.path()), 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_the_gateways_alone_is_warned_of() {
    // Other things are in it, it is a place that users share, or it belongs to another user.
    let (with_others, shared, foreign) = (Folder::new("others"), Folder::new("shared"), Folder::new("foreign"));
    with_others.write("notes.txt", "of another program");
    set_mode(with_others.path(), 0o755);
    set_mode(shared.path(), 0o1777);
    set_mode(foreign.path(), 0o755);
    let mut folders = vec![(&with_others, 0o755), (&shared, 0o1777)];
    // Only root can give a folder away, and can then write to it.
    if chown(foreign.path(), Some(12345), None).is_ok() {
        folders.push((&foreign, 0o755));
    }
    for (folder, before) in folders {
        for _ in 0..2 {
            assert_eq!(said(folder.path()).await, Some((OPEN, format!("{before:04o}"))));
            assert_eq!(full_mode(folder.path()), before, "{:?} is the operator's to change", folder.path());
        }
        let own = below(folder.path()).into_iter().filter(|path| mode(path) & 0o077 != 0);
        assert!(own.into_iter().all(|path| path.ends_with("notes.txt")), "what the gateway makes is private");
    }
}
