//! redb 4: a copy-on-write B-tree in one file.
//!
//! A commit that only counts on the process is not offered by redb (`Durability::None` is gone after a kill), so the
//! file is wrapped: its sync is left out when the commit need not survive a power cut. What a power cut then finds may
//! be two torn commit slots, which is why this is here for comparison and not as advice.

use super::{Failure, Store, Survives};
use crate::event::Event;
use redb::{
    BackendError, Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition,
    backends::FileBackend,
};
use std::{
    fs::{File, create_dir_all},
    io,
    ops::{Bound, Range},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
const HEADS: TableDefinition<u64, &[u8]> = TableDefinition::new("heads");
const MAILBOXES: TableDefinition<u64, &[u8]> = TableDefinition::new("mailboxes");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// Pages kept in memory, those of an open write included.
const CACHE: usize = 24 << 20;

/// One open database.
pub struct Redb {
    database: Database,
    lazy: Arc<AtomicBool>,
}

impl Redb {
    fn write(&self, survives: Survives) -> Result<redb::WriteTransaction, Failure> {
        self.lazy.store(survives == Survives::Kill, Ordering::Relaxed);
        Ok(self.database.begin_write()?)
    }
}

impl Store for Redb {
    fn open(folder: &Path) -> Result<Self, Failure> {
        create_dir_all(folder)?;
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(folder.join("store.redb"))?;
        let lazy = Arc::new(AtomicBool::new(false));
        let backend = LazySync { file: FileBackend::new(file)?, lazy: Arc::clone(&lazy) };
        let database = Builder::new().set_cache_size(CACHE).create_with_backend(backend)?;
        let transaction = database.begin_write()?;
        transaction.open_table(EVENTS)?;
        transaction.open_table(HEADS)?;
        transaction.open_table(MAILBOXES)?;
        transaction.open_table(META)?;
        transaction.commit()?;
        Ok(Self { database, lazy })
    }

    fn publish(&self, events: &[Event], survives: Survives) -> Result<(), Failure> {
        let transaction = self.write(survives)?;
        {
            let mut bodies = transaction.open_table(EVENTS)?;
            let mut heads = transaction.open_table(HEADS)?;
            for event in events {
                bodies.insert(event.offset, event.body.as_slice())?;
                heads.insert(event.offset, event.head.as_slice())?;
            }
            if let Some(last) = events.last() {
                transaction.open_table(META)?.insert("last", last.offset)?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn confirm(&self, records: &[(u64, Vec<u8>)]) -> Result<(), Failure> {
        let transaction = self.write(Survives::Kill)?;
        {
            let mut mailboxes = transaction.open_table(MAILBOXES)?;
            for (client, record) in records {
                mailboxes.insert(client, record.as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn forget(&self, offsets: Range<u64>) -> Result<(), Failure> {
        let transaction = self.write(Survives::PowerCut)?;
        {
            transaction.open_table(EVENTS)?.retain_in(offsets.clone(), |_, _| false)?;
            transaction.open_table(HEADS)?.retain_in(offsets.clone(), |_, _| false)?;
            transaction.open_table(META)?.insert("floor", offsets.end)?;
        }
        Ok(transaction.commit()?)
    }

    fn heads(&self, each: &mut dyn FnMut(u64, &[u8])) -> Result<(), Failure> {
        let heads = self.database.begin_read()?.open_table(HEADS)?;
        for pair in heads.iter()? {
            let (key, value) = pair?;
            each(key.value(), value.value());
        }
        Ok(())
    }

    fn events(&self, offsets: Range<u64>, each: &mut dyn FnMut(u64, &[u8])) -> Result<(), Failure> {
        let events = self.database.begin_read()?.open_table(EVENTS)?;
        for pair in events.range(offsets)? {
            let (key, value) = pair?;
            each(key.value(), value.value());
        }
        Ok(())
    }

    fn event(&self, offset: u64) -> Result<Option<Vec<u8>>, Failure> {
        let events = self.database.begin_read()?.open_table(EVENTS)?;
        Ok(events.get(offset)?.map(|value| value.value().to_vec()))
    }

    fn mailbox(&self, client: u64) -> Result<Option<Vec<u8>>, Failure> {
        let mailboxes = self.database.begin_read()?.open_table(MAILBOXES)?;
        Ok(mailboxes.get(client)?.map(|value| value.value().to_vec()))
    }

    fn verify(&mut self) -> Result<bool, Failure> {
        Ok(self.database.check_integrity()?)
    }
}

/// The file, with a sync that can be left out.
#[derive(Debug)]
struct LazySync {
    file: FileBackend,
    lazy: Arc<AtomicBool>,
}

impl StorageBackend for LazySync {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.lazy.load(Ordering::Relaxed) { Ok(()) } else { self.file.sync_data() }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    // Without these the wrapped file would lose its lock against a second process.
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
