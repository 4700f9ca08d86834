//! What fuzz targets see of the store: its records, read one by one and as a start reads all of them.

use std::collections::BTreeMap;

use super::{
    super::{super::log::Retention, engine::META, record},
    RECENT_BYTES, Reading, Recovered,
};
use crate::log::Log;

/// The kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// The main record of a store.
    Meta,
    /// An event.
    Event,
    /// What the log has to know of an event.
    EventMeta,
    /// A mailbox.
    Mailbox,
    /// The position up to which a mailbox is confirmed.
    Confirmed,
}

/// Reads a record, writes it again and reads that; tells whether both are the same. `None` if it is damaged.
#[must_use]
pub fn read_again(kind: Record, key: &[u8], bytes: &[u8]) -> Option<bool> {
    fn again<T: PartialEq>(
        bytes: &[u8],
        read: impl Fn(&[u8]) -> Option<T>,
        write: impl Fn(&T) -> Vec<u8>,
    ) -> Option<bool> {
        let first = read(bytes)?;
        Some(read(&write(&first)).is_some_and(|second| second == first))
    }
    match kind {
        Record::Meta => again(bytes, |bytes| record::read_meta(key, bytes).ok(), |meta| record::meta(key, meta)),
        Record::Event => again(bytes, |bytes| record::read_event(key, bytes).ok(), |event| record::event(key, event)),
        Record::EventMeta => again(bytes, |bytes| record::read_head(key, bytes).ok(), |head| record::head(key, head)),
        Record::Mailbox => {
            again(bytes, |bytes| record::read_mailbox(key, bytes).ok(), |mailbox| record::mailbox(key, mailbox))
        }
        Record::Confirmed => {
            again(bytes, |bytes| record::read_confirmed(key, bytes).ok(), |position| record::confirmed(key, *position))
        }
    }
}

/// The records of a store, by key.
#[derive(Debug, Default)]
pub struct Records {
    /// The main record.
    pub meta: Vec<u8>,
    /// What the log has to know of events.
    pub heads: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Mailboxes.
    pub mailboxes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Places up to which mailboxes are confirmed.
    pub confirmed: BTreeMap<Vec<u8>, Vec<u8>>,
    /// How many batches were synced, as the mark of syncs has it.
    pub synced_batches: u64,
}

impl Records {
    /// Reads them as a start does; `None` if it would refuse them.
    pub(crate) fn recover(&self, retention: Retention) -> Option<Recovered> {
        let meta = record::read_meta(META, &self.meta).ok()?;
        let mut reading = Reading::of(&meta);
        for (key, record) in &self.mailboxes {
            reading.mailbox(key, record, self.confirmed.get(key).map(Vec::as_slice));
        }
        let mut log = Log::new(retention, RECENT_BYTES, meta.oldest);
        let range = meta.oldest.to_be_bytes().to_vec()..meta.next.to_be_bytes().to_vec();
        for (key, record) in self.heads.range(range) {
            reading.head(&mut log, key, record);
        }
        let mut recovered = reading.finish(log, &meta, Some(self.synced_batches)).ok()?;
        recovered.log.date(recovered.clock.now());
        Some(recovered)
    }
}
