//! A power cut in the middle of a batch.

use std::{
    fs,
    path::{Path, PathBuf},
};

use events::Payload;

use super::{
    super::{
        batch::Batch,
        clock::Clock,
        repeats::Fingerprint,
        store::{OpenStoreError, Store, newest_journal},
    },
    world::{event, options},
};
use crate::testing::Folder;

fn batch(first: u64, payload: &[u8]) -> Batch {
    let mut batch = Batch::new(first, Clock::resume(None).read());
    for number in 0..10 {
        let mut event = event("a".parse().unwrap(), number);
        event.payload = Payload::of(None, payload.to_vec());
        batch.append(event.clone(), Fingerprint::of(&event));
    }
    batch
}

fn journal_file(folder: &Path) -> PathBuf {
    newest_journal(&folder.join("engine")).unwrap().unwrap()
}

fn journal(folder: &Path) -> Vec<u8> {
    let content = fs::read(journal_file(folder)).unwrap();
    let used = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    content[..used].to_vec()
}

#[test]
fn costs_only_that_batch() {
    const PAGE: usize = 4096;
    let folder = Folder::new();
    let (store, _) = Store::open(folder.path(), options(&folder, 1000).retention).unwrap();
    store.write(&batch(0, b"1")).unwrap();
    let (synced, sync_mark) = (journal(folder.path()).len(), fs::read(folder.path().join("synced")).unwrap());
    store.write(&batch(10, &[7; 2 * PAGE])).unwrap();
    drop(store);
    let mut journal = journal(folder.path());
    // A page in the middle of a payload never reached the disk, and those around it did.
    let is_payload = |from: &usize| journal[*from..*from + PAGE].iter().all(|byte| *byte == 7);
    let from = (synced..journal.len() - PAGE).find(is_payload).unwrap();
    journal[from..from + PAGE].fill(0);
    fs::write(journal_file(folder.path()), journal).unwrap();
    // No publisher had been told of it yet.
    fs::write(folder.path().join("synced"), sync_mark).unwrap();
    let (_, recovered) = Store::open(folder.path(), options(&folder, 1000).retention).unwrap();
    assert_eq!((recovered.log.next(), recovered.damage), (10, Vec::new()));
}

#[test]
fn is_not_taken_for_damage_further_back() {
    // Inside the payload of the last synced event, so that everything is there but wrong.
    let folder = Folder::new();
    let (store, _) = Store::open(folder.path(), options(&folder, 1000).retention).unwrap();
    store.write(&batch(0, &[7; 8192])).unwrap();
    let middle = journal(folder.path()).len() / 2;
    store.write(&batch(10, b"1")).unwrap();
    drop(store);
    let path = journal_file(folder.path());
    let mut content = fs::read(&path).unwrap();
    content[middle] ^= 1;
    fs::write(&path, &content).unwrap();
    let refused = Store::open(folder.path(), options(&folder, 1000).retention);
    assert!(matches!(refused, Err(OpenStoreError::Damaged(..))), "{refused:?}");
    assert_eq!(fs::read(&path).unwrap(), content, "nothing was changed");
}
