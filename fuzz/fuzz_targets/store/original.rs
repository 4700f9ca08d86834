//! The stores that are damaged.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use broker::Broker;
use events::Event;

use super::reading;

/// How many events each store has.
pub(super) const EVENTS: usize = 48;

/// What makes tables of most of the events: the engine writes one for each 8 MiB.
const LARGE: usize = 400_000;
const SMALL: usize = 300;

/// A file of a store.
#[derive(Debug, Clone)]
pub(super) struct File {
    /// Its path in the store's folder.
    pub(super) path: PathBuf,
    /// What is in it, but for zeros after that: a journal is laid out in advance, and mostly empty.
    pub(super) content: Vec<u8>,
    /// How long it is.
    pub(super) length: usize,
}

impl File {
    fn read(folder: &Path, path: PathBuf) -> Self {
        let mut content = fs::read(folder.join(&path)).expect("a file");
        let length = content.len();
        content.truncate(content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        Self { path, content, length }
    }

    fn write(&self, folder: &Path) {
        let path = folder.join(&self.path);
        fs::write(&path, &self.content).expect("there is room");
        let file = fs::File::options().write(true).open(path).expect("it was written");
        file.set_len(self.length as u64).expect("a hole");
    }
}

/// A store and its files.
pub(super) struct Original {
    folder: PathBuf,
    files: Vec<File>,
}

/// Returns a folder of this process for a store; what started it removes what it leaves.
pub(super) fn place(name: &str) -> PathBuf {
    env::temp_dir().join(format!("postern-fuzz-{}", std::process::id())).join(name)
}

/// Returns the payload of the event of a number.
pub(super) fn payload(number: usize, length: usize) -> Vec<u8> {
    // Different at every place, so that no part can stand for another.
    let parts = (0..length / 20).map(|part| (10_u64.pow(18) + number as u64 * 1_000_003 + part as u64).to_string());
    format!("{number}:{length}:{}", parts.collect::<String>()).into_bytes()
}

impl Original {
    /// Returns one of the stores; makes them when the first is asked for.
    pub(super) fn get(which: u8) -> &'static Self {
        static ORIGINALS: OnceLock<[Original; 3]> = OnceLock::new();
        let made = || {
            [Self::make("closed", SMALL, true), Self::make("crashed", SMALL, false), Self::make("tables", LARGE, true)]
        };
        &ORIGINALS.get_or_init(made)[usize::from(which) % 3]
    }

    fn make(name: &str, length: usize, in_order: bool) -> Self {
        let (folder, made) = (place(name), place(&format!("{name}-made")));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let broker = reading::open(&made).expect("an empty folder becomes a store");
        runtime.block_on(async {
            let (client, patterns) = (reading::client(), [reading::pattern()]);
            broker.bind(&client, &patterns).await.expect("there is room");
            for number in 0..EVENTS {
                let event = Event::new("a.b".parse().expect("a topic"), None, payload(number, length));
                broker.publish(&event).await.expect("there is room");
            }
            if in_order {
                broker.close().await;
            }
        });
        // Of a store that is in use, the files are what a crash leaves.
        let mut paths = Vec::new();
        list(&made, Path::new(""), &mut paths);
        paths.retain(|path| path != Path::new("reserve"));
        paths.sort();
        let files: Vec<File> = paths.into_iter().map(|path| File::read(&made, path)).collect();
        drop(broker);
        let _ = fs::remove_dir_all(made);
        let original = Self { folder: folder.clone(), files };
        original.write_to(&folder, &BTreeMap::new());
        original
    }

    /// Returns its files, but for the reserve, which holds nothing.
    pub(super) fn files(&self) -> &[File] {
        &self.files
    }

    /// Writes it into a folder, with other files in the place of some, by their numbers, or with none.
    pub(super) fn write_to(&self, folder: &Path, others: &BTreeMap<usize, Option<File>>) {
        for (number, file) in self.files.iter().enumerate() {
            let (from, to) = (self.folder.join(&file.path), folder.join(&file.path));
            fs::create_dir_all(to.parent().expect("a folder")).expect("there is room");
            let is_table = file.path.components().any(|part| part.as_os_str() == "tables");
            match others.get(&number) {
                Some(None) => {}
                Some(Some(other)) => other.write(folder),
                // Never written again.
                None if is_table && from != to => fs::hard_link(from, to).expect("the same file system"),
                None => file.write(folder),
            }
        }
        // As long as the reserve, and no larger than a hole.
        let reserve = fs::File::create(folder.join("reserve")).expect("there is room");
        reserve.set_len(16 << 20).expect("a hole");
    }
}

fn list(folder: &Path, below: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder.join(below)).expect("a folder") {
        let entry = entry.expect("a file");
        let path = below.join(entry.file_name());
        if entry.file_type().expect("a kind").is_dir() { list(folder, &path, files) } else { files.push(path) }
    }
}
