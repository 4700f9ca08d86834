//! Each assumption about fjall, on an engine of its own. One that fails names what of the file above it is to be
//! changed.

use std::{sync::mpsc, thread, time::Duration};

use fjall::{Database, KeyspaceCreateOptions, PersistMode};

use super::*;
use crate::testing::Folder;

/// As many as a store has besides the engine's own.
const NAMES: [&str; KEYSPACES - 1] = ["a", "b", "c", "d"];

/// An engine whose worker does nothing if there is none.
fn open(folder: &Path, workers: usize) -> Result<(Database, Vec<Keyspace>), fjall::Error> {
    let database = Database::builder(folder).worker_threads_unchecked(workers).manual_journal_persist(true).open()?;
    let keyspaces = NAMES.map(|name| database.keyspace(name, KeyspaceCreateOptions::default));
    let keyspaces = keyspaces.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok((database, keyspaces))
}

fn key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// Writes a batch of ten records from this number on.
fn write(database: &Database, keyspace: &Keyspace, first: u64, value: &[u8]) {
    let mut batch = database.batch().durability(Some(PersistMode::Buffer));
    (first..first + 10).for_each(|number| batch.insert(keyspace, key(number), value));
    batch.commit().unwrap();
}

/// Returns the numbers of the records that are there.
fn numbers(keyspace: &Keyspace) -> Vec<u64> {
    let keys = keyspace.iter().map(|pair| pair.into_inner().unwrap().0);
    keys.map(|key| u64::from_be_bytes(key.as_ref().try_into().unwrap())).collect()
}

/// Writes batches of ten records into an engine and closes it; returns how long the journal was after each.
fn written(folder: &Path, values: &[&[u8]]) -> Vec<usize> {
    let (database, keyspaces) = open(folder, 1).unwrap();
    let begun = |first: usize, value: &&[u8]| {
        write(&database, &keyspaces[0], 10 * first as u64, value);
        database.persist(PersistMode::Buffer).unwrap();
        used(folder)
    };
    values.iter().enumerate().map(|(first, value)| begun(first, value)).collect()
}

/// Writes a batch of ten records into an engine, as a table, and closes it.
fn written_to_table(folder: &Path) {
    let (database, keyspaces) = open(folder, 1).unwrap();
    write(&database, &keyspaces[0], 0, &[7; 4096]);
    keyspaces[0].tree.flush_active_memtable(0).unwrap();
}

/// Returns how much of the journal is in use.
fn used(folder: &Path) -> usize {
    let journal = fs::read(newest_journal(folder).unwrap().unwrap()).unwrap();
    journal.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

/// Changes some bytes of the journal.
fn damage(folder: &Path, range: Range<usize>) {
    let path = newest_journal(folder).unwrap().unwrap();
    let mut journal = fs::read(&path).unwrap();
    journal[range].iter_mut().for_each(|byte| *byte = !*byte);
    fs::write(&path, journal).unwrap();
}

/// Does something that might never end; tells whether it did, without a panic. If not, its thread is left behind.
fn ends(action: fn()) -> bool {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        action();
        done.send(()).unwrap();
    });
    is_done.recv_timeout(Duration::from_secs(20)).is_ok()
}

#[test]
fn a_commit_does_not_wait_while_little_waits_for_the_worker() {
    assert!(ends(commit_while_little_waits), "a commit waits for the worker, or it panicked");
}

fn commit_while_little_waits() {
    let folder = Folder::new();
    let (database, keyspaces) = open(folder.path(), 0).unwrap();
    let [sealed, runs] = [&keyspaces[0], &keyspaces[1]];
    for round in 0..=MAX_RUNS {
        assert!(!is_worker_late(runs), "in round {round}");
        write(&database, runs, 0, b"1");
        runs.tree.flush_active_memtable(0).unwrap();
    }
    assert!(is_worker_late(runs), "a table with the same keys is a run of its own");
    for round in 0..=MAX_SEALED {
        assert!(!is_worker_late(sealed), "in round {round}");
        write(&database, sealed, 0, b"1");
        assert!(sealed.rotate_memtable().unwrap());
    }
    assert!(is_worker_late(sealed), "memory that is not flushed waits");
    // One more than the store lets wait: while a batch is written, the engine may seal another table.
    write(&database, sealed, 0, b"2");
    write(&database, runs, 0, b"2");
}

#[test]
fn whole_tables_are_dropped_and_nothing_else() {
    let folder = Folder::new();
    let (database, keyspaces) = open(folder.path(), 0).unwrap();
    let keyspace = &keyspaces[0];
    for first in [0, 10, 20] {
        write(&database, keyspace, first, b"1");
        keyspace.tree.flush_active_memtable(0).unwrap();
    }
    write(&database, keyspace, 2, b"2");
    assert_eq!(keyspace.table_count(), 3);
    drop_tables(keyspace, key(0)..key(25)).unwrap();
    assert_eq!(keyspace.table_count(), 1, "two have no other keys");
    assert_eq!(numbers(keyspace), (2..12).chain(20..30).collect::<Vec<_>>(), "the others, and what is in memory");
    // Their files go when no version of the keyspace has them any more: here with the last.
    drop((database, keyspaces));
    assert_eq!(fs::read_dir(folder.path().join("keyspaces/1/tables")).unwrap().count(), 1);
}

#[test]
fn a_keyspace_without_its_first_file_would_begin_empty() {
    let folder = Folder::new();
    written_to_table(folder.path());
    assert_eq!(missing_file(folder.path()).unwrap(), None);
    {
        let (_database, keyspaces) = open(folder.path(), 1).unwrap();
        assert_eq!(numbers(&keyspaces[0]), (0..10).collect::<Vec<_>>());
    }
    for path in ["version", "lock", "keyspaces/0/current", "keyspaces/4/current"] {
        let (path, moved) = (folder.path().join(path), folder.path().join("moved"));
        fs::rename(&path, &moved).unwrap();
        let missing = missing_file(folder.path()).unwrap().expect("it is missed");
        assert_eq!(folder.path().join(missing), path);
        fs::rename(&moved, &path).unwrap();
    }
    // What it is for.
    fs::remove_file(folder.path().join("keyspaces/1/current")).unwrap();
    assert_eq!(missing_file(folder.path()).unwrap().as_deref(), Some("keyspaces/1/current"));
    let (_database, keyspaces) = open(folder.path(), 1).unwrap();
    assert_eq!(numbers(&keyspaces[0]), [0; 0], "the engine passes over it");
}

#[test]
fn a_store_without_a_folder_of_a_keyspace_is_not_whole() {
    let folder = Folder::new();
    written(folder.path(), &[b"1"]);
    fs::remove_dir_all(folder.path().join("keyspaces/2")).unwrap();
    assert!(missing_file(folder.path()).unwrap().is_some_and(|missing| missing.contains("one of 5")));
}

#[test]
fn a_journal_is_a_file_with_a_number_whose_rest_is_zeros() {
    let folder = Folder::new();
    let ends = written(folder.path(), &[b"1", b"2"]);
    let journal = newest_journal(folder.path()).unwrap().unwrap();
    assert_eq!(journal.file_name().unwrap(), "0.jnl");
    assert_eq!(journal.metadata().unwrap().len(), JOURNAL_BYTES);
    assert!(ends[0] < ends[1], "{ends:?}");
    // By number and not by name.
    for name in ["9.jnl", "10.jnl", "11.txt"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    assert_eq!(newest_journal(folder.path()).unwrap().unwrap().file_name().unwrap(), "10.jnl");
}

#[test]
fn journals_can_be_limited_to_the_size_of_one_and_not_to_less() {
    let builds = |bytes| std::panic::catch_unwind(|| Database::builder("unused").max_journaling_size(bytes)).is_ok();
    assert!(builds(JOURNAL_BYTES) && !builds(JOURNAL_BYTES - 1));
}

#[test]
fn without_its_end_the_last_batch_is_discarded_and_no_other() {
    let folder = Folder::new();
    written(folder.path(), &[b"1", b"2"]);
    let before = fs::read(folder.path().join("0.jnl")).unwrap();
    let end = LastEnd::take_away(folder.path()).unwrap().expect("there is a batch");
    assert_ne!(fs::read(folder.path().join("0.jnl")).unwrap(), before);
    end.put_back().unwrap();
    assert!(fs::read(folder.path().join("0.jnl")).unwrap() == before, "it is as it was");
    LastEnd::take_away(folder.path()).unwrap().expect("there is a batch");
    let (_database, keyspaces) = open(folder.path(), 1).unwrap();
    assert_eq!(numbers(&keyspaces[0]), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_torn_batch_with_an_end_has_the_store_refused_until_that_is_gone() {
    const PAGE: usize = 4096;
    let folder = Folder::new();
    let ends = written(folder.path(), &[b"1", &[7; 2 * PAGE]]);
    // In the middle of a value, so that all that the engine goes by is there.
    damage(folder.path(), ends[1] - PAGE..ends[1] - PAGE / 2);
    let refused = open(folder.path(), 1).err().expect("it is refused");
    assert!(is_in_journal(&refused), "{refused}");
    LastEnd::take_away(folder.path()).unwrap().expect("there is a batch");
    let (_database, keyspaces) = open(folder.path(), 1).unwrap();
    assert_eq!(numbers(&keyspaces[0]), (0..10).collect::<Vec<_>>());
}

/// Which is why a mark of what was synced is kept elsewhere.
#[test]
fn what_stands_after_a_damaged_start_of_a_batch_is_dropped_without_a_word() {
    let folder = Folder::new();
    let ends = written(folder.path(), &[b"1", b"2", b"3"]);
    damage(folder.path(), ends[0]..ends[0] + 4);
    let (_database, keyspaces) = open(folder.path(), 1).unwrap();
    assert_eq!(numbers(&keyspaces[0]), (0..10).collect::<Vec<_>>());
}

#[test]
fn what_the_machine_lacks_passes_and_what_was_read_does_not() {
    let of_system = |errno: rustix::io::Errno| fjall::Error::Io(errno.into());
    assert!(is_passing(&of_system(rustix::io::Errno::MFILE)) && is_passing(&of_system(rustix::io::Errno::NOMEM)));
    assert!(!is_passing(&of_system(rustix::io::Errno::IO)), "the disk itself gives up");
    assert!(!is_passing(&fjall::Error::Io(io::ErrorKind::UnexpectedEof.into())), "a table is too short");
    assert!(!is_passing(&fjall::Error::InvalidTrailer));
}

#[test]
fn a_table_that_is_cut_short_does_not_pass() {
    let folder = Folder::new();
    written_to_table(folder.path());
    let (_database, keyspaces) = open(folder.path(), 1).unwrap();
    let table = fs::read_dir(folder.path().join("keyspaces/1/tables")).unwrap().next().unwrap().unwrap().path();
    // After it was opened, so that only the read meets it.
    File::options().write(true).open(&table).unwrap().set_len(100).unwrap();
    let error = keyspaces[0].get(key(5)).expect_err("it cannot be read");
    assert!(!is_passing(&error), "{error}");
}
