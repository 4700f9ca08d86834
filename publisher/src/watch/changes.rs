//! When to look: what the operating system tells of the file and of every link on the way to it.
//!
//! Folders are watched, not files: a file that is replaced (renamed over, deleted and made again, or reached by a link
//! that was turned) is another one, of which a watched file would never tell. Where nothing is told (network file
//! systems, no watches left) the caller's own clock is enough. [`Changes::next`] is cancel-safe.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::sync::Notify;

/// The most links on the way to a file, as in the kernel (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// Only there the end of writing is told.
const TELLS_OF_CLOSING: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Every place on the way to a file where a change leads to other content: the links, and the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    places: BTreeSet<PathBuf>,
    /// The folders of the places. A folder that was made anew is another one.
    folders: BTreeMap<PathBuf, (u64, u64)>,
}

impl Chain {
    /// Follows an absolute path. Blocks.
    pub(super) fn of(path: &Path) -> Self {
        let (mut chain, mut next) = (Self::default(), Some(path.to_owned()));
        for _ in 0..=MAX_LINKS {
            let Some(path) = next.take() else { break };
            // The first link on the way; what comes after it is reached through its target.
            let mut prefixes: Vec<_> = path.ancestors().collect();
            prefixes.reverse();
            let link = prefixes.into_iter().find_map(|prefix| Some((prefix, fs::read_link(prefix).ok()?)));
            let Some((place, target)) = link else {
                chain.add(&path);
                break;
            };
            chain.add(place);
            let folder = place.parent().unwrap_or(place);
            let rest = path.strip_prefix(place).unwrap_or_else(|_| Path::new(""));
            let target = folder.join(target);
            next = Some(if rest.as_os_str().is_empty() { target } else { target.join(rest) });
        }
        chain
    }

    /// Adds a place if its folder is there. Nothing on the way to the folder is a link.
    fn add(&mut self, place: &Path) {
        let (Some(folder), Some(name)) = (place.parent(), place.file_name()) else { return };
        // A link's target may still hold "..".
        if let Ok(folder) = fs::canonicalize(folder)
            && let Ok(metadata) = fs::metadata(&folder)
        {
            self.places.insert(folder.join(name));
            self.folders.insert(folder, (metadata.dev(), metadata.ino()));
        }
    }
}

/// What the watcher's thread and its reader share.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    places: BTreeSet<PathBuf>,
    /// A process has written and not closed the file yet.
    is_open: bool,
}

/// See the module.
pub(super) struct Changes {
    shared: Arc<Shared>,
    watcher: Option<RecommendedWatcher>,
    folders: BTreeMap<PathBuf, (u64, u64)>,
    blocked_reason: Option<String>,
}

impl Changes {
    /// Makes one that watches nothing yet.
    pub(super) fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let told = Arc::clone(&shared);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error says that something may have been missed.
            if event.map_or(true, |event| told.state().hears(&event)) {
                told.changed.notify_one();
            }
        });
        let blocked_reason = watcher.as_ref().err().map(ToString::to_string);
        Self { shared, watcher: watcher.ok(), folders: BTreeMap::new(), blocked_reason }
    }

    /// Watches these places from here on, and no others.
    pub(super) fn follow(&mut self, Chain { places, folders }: Chain) {
        self.shared.state().places = places;
        let Some(watcher) = &mut self.watcher else { return };
        let gone = self.folders.extract_if(.., |folder, id| folders.get(folder) != Some(id));
        for (folder, _) in gone {
            // Of a folder that was deleted the watch is gone already.
            let _ = watcher.unwatch(&folder);
        }
        for (folder, id) in folders {
            if let Entry::Vacant(entry) = self.folders.entry(folder) {
                match watcher.watch(entry.key(), RecursiveMode::NonRecursive) {
                    Ok(()) => {
                        entry.insert(id);
                    }
                    Err(error) => self.blocked_reason = Some(error.to_string()),
                }
            }
        }
    }

    /// Waits for a change since the last call.
    pub(super) async fn next(&self) {
        self.shared.changed.notified().await;
    }

    /// Tells whether a process is still writing, as far as that can be known.
    pub(super) fn is_open(&self) -> bool {
        self.shared.state().is_open
    }

    /// Says why changes may not be told.
    pub(super) fn blocked_reason(&self) -> Option<&str> {
        self.blocked_reason.as_deref()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes note of what happened in a folder; tells whether it is worth a look.
    fn hears(&mut self, event: &Event) -> bool {
        if event.need_rescan() {
            self.is_open = false;
            return true;
        }
        let Some(place) = event.paths.iter().find(|path| self.places.contains(*path)) else { return false };
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Remove(_)
            | EventKind::Modify(ModifyKind::Name(_)) => self.is_open = false,
            // Our own looks are among these.
            EventKind::Access(_) => return false,
            // Who makes a file is about to write; who makes a link is not.
            EventKind::Create(_) => self.is_open = TELLS_OF_CLOSING && !place.is_symlink(),
            EventKind::Modify(ModifyKind::Data(_)) => self.is_open = TELLS_OF_CLOSING,
            EventKind::Modify(_) | EventKind::Any | EventKind::Other => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_chain_holds_every_link_and_the_file() {
        let folder = std::env::temp_dir().join(format!("postern-chain-{}", events::EventId::new().as_str()));
        fs::create_dir_all(folder.join("..2026")).unwrap();
        let folder = fs::canonicalize(folder).unwrap();
        symlink("..2026", folder.join("..data")).unwrap();
        symlink("..data/app.json", folder.join("app.json")).unwrap();
        symlink("round", folder.join("round")).unwrap();
        let of = |name: &str| Chain::of(&folder.join(name));
        // The way of a Kubernetes config map; whether the file itself is there makes no difference.
        let chain = of("app.json");
        let expected = ["..2026/app.json", "..data", "app.json"].map(|name| folder.join(name));
        assert_eq!(chain.places.into_iter().collect::<Vec<_>>(), expected);
        let folders: Vec<_> = chain.folders.into_keys().collect();
        assert_eq!(folders, [folder.clone(), folder.join("..2026")]);
        assert_eq!(of("plain").places.into_iter().collect::<Vec<_>>(), [folder.join("plain")]);
        assert_eq!(of("round").places.len(), 1);
        assert_eq!(of("no/such").places.len(), 0);
        fs::remove_dir_all(folder).unwrap();
    }
}
