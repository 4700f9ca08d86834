//! A store whose records are whole and wrong.

use super::{
    super::store::{OpenStoreError, Store},
    world::options,
};
use crate::testing::Folder;

/// Opens a new store, has its main record name another next offset, and opens it again.
fn reopened(next: u64) -> Result<(), OpenStoreError> {
    let folder = Folder::new();
    let retention = options(&folder, 1000).retention;
    let (store, _) = Store::open(folder.path(), retention).unwrap();
    store.go_back_to(next).unwrap();
    drop(store);
    Store::open(folder.path(), retention).map(drop)
}

#[test]
fn a_number_of_events_that_cannot_be_missing_is_not_counted_up_to() {
    reopened(1000).unwrap();
    for next in [1 << 24, 1 << 60, u64::MAX] {
        let refused = reopened(next).unwrap_err();
        assert!(matches!(refused, OpenStoreError::Damaged(..)), "{next}: {refused}");
    }
}
