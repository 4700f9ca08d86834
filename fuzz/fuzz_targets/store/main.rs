//! The files of a store, damaged: it is refused, or opens and tells its readers what is missing.
//!
//! An input is which of three stores (one byte: closed in order, after a crash, with tables), and what happens to its
//! files, in pieces of five bytes: which file, what, where (two), with what.

#![no_main]

mod damage;
mod original;
mod reading;

use std::{fs, path::Path};

use libfuzzer_sys::fuzz_target;

use self::{original::Original, reading::Read};

/// As in the gateway: the engine may ask for more than there is before it looks what a damaged file says.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Opens a store and reads all of it; `None` if it is refused.
fn read(folder: &Path) -> Option<Read> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let broker = reading::open(folder)?;
    Some(runtime.block_on(reading::read(&broker)))
}

fuzz_target!(|input: &[u8]| {
    let Some((which, pieces)) = input.split_first() else { return };
    let folder = original::place("damaged");
    let _ = fs::remove_dir_all(&folder);
    let original = Original::get(*which);
    let others = damage::damage(original.files(), pieces);
    original.write_to(&folder, &others);
    let damaged: Vec<&Path> = others.keys().map(|number| &*original.files()[*number].path).collect();
    if let Some(read) = read(&folder) {
        let missing = original::EVENTS - read.in_mailbox.len();
        // Damage in several places can hide itself: the witness is one file.
        if damaged.len() == 1 {
            assert!(missing == 0 || read.mailbox_told, "{damaged:?}: the mailbox does not tell of {missing} events");
            let missing = original::EVENTS - read.in_feed.len();
            assert!(missing == 0 || read.feed_told, "{damaged:?}: the feed does not tell of {missing} events");
        }
        let again = self::read(&folder).expect("what was opened opens again");
        assert_eq!(again.in_feed, read.in_feed, "{damaged:?}: the next start finds others");
        assert_eq!(again.in_mailbox, read.in_mailbox, "{damaged:?}: the next start finds others in the mailbox");
    }
});
