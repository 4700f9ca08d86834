//! The records of the store: each by itself, and all of them as a start reads them.
//!
//! An input is records: kind, length of the key, length of the content (one byte each), key, content. A checksum is put
//! after the content of each but those whose kind has the highest bit: by chance it is never right.

#![no_main]

use std::time::Duration;

use broker_embedded::Retention;
use gateway::fuzzing::{Record, Records, read_again, recover};
use libfuzzer_sys::fuzz_target;

const RETENTION: Retention = Retention { age: Duration::from_hours(1), bytes: 1 << 20 };

fn seal(key: &[u8], content: &[u8]) -> Vec<u8> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(content);
    [content, &hasher.finalize().to_be_bytes()].concat()
}

fn split_off<'a>(input: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(length.min(input.len()));
    *input = rest;
    taken
}

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let mut records = Records::default();
    while let [kind, key, content, ..] = *rest {
        split_off(&mut rest, 3);
        let (key, content) = (split_off(&mut rest, key.into()), split_off(&mut rest, content.into()));
        let record = if kind & 0x80 == 0 { seal(key, content) } else { content.to_vec() };
        let kind = match kind & 7 {
            0 => Record::Meta,
            1 => Record::EventMeta,
            2 => Record::Mailbox,
            3 => Record::Confirmed,
            4 => Record::Event,
            _ => {
                records.synced_batches = u64::from(kind);
                continue;
            }
        };
        assert_ne!(read_again(kind, key, &record), Some(false), "{kind:?}: {content:x?}");
        match kind {
            Record::Meta => records.meta = seal(b"meta", content),
            Record::EventMeta => _ = records.heads.insert(key.to_vec(), record),
            Record::Mailbox => _ = records.mailboxes.insert(key.to_vec(), record),
            Record::Confirmed => _ = records.confirmed.insert(key.to_vec(), record),
            Record::Event => {}
        }
    }
    let _ = recover(&records, RETENTION);
});
