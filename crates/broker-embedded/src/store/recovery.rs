//! Opening a store: what was there, what is missing, and what that means for the mailboxes.
//!
//! Nothing that is missing is passed over: it is reported in words, and every mailbox that may have lost something gets
//! a marker, so that its client is told, too.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;

use std::{fs::DirBuilder, io, os::unix::fs::DirBuilderExt, path::Path};

use events::ClientId;

use super::{
    super::{
        clock::Clock,
        log::{Log, Retention},
        mailbox::Mailbox,
        position::Position,
        repeats::{self, Repeats},
    },
    disk::{Disk, ENGINE},
    engine::META,
    fjall_internals::{JOURNAL_BYTES, missing_file},
    privacy::keep_private,
    record::{self, FIRST_FORMAT, FORMAT, Meta},
    sync_mark::SyncMark,
    torn,
};

/// How many payload bytes of the newest events are kept in memory.
const RECENT_BYTES: u64 = 64 * 1024 * 1024;

/// How many events can be missing from a store that is opened all the same. Damage that the engine passes over takes
/// what was in its journals, of 64 MiB, in which an event takes at least 64 bytes; this is four times as many. Each
/// takes four bytes of memory and a moment of the start, so a number that is just wrong must not be believed.
const MAX_MISSING: u64 = 4 * (JOURNAL_BYTES / 64);

/// What was found in a store.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) log: Log,
    pub(crate) clock: Clock,
    pub(crate) mailboxes: Vec<(ClientId, Mailbox)>,
    pub(crate) repeats: Repeats,
    /// What was wrong, in words.
    pub(crate) damage: Vec<String>,
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// Another process has it.
    #[error("{0}: another gateway uses this folder; one gateway at a time can, so give each its own --data-dir")]
    InUse(String),
    /// The file system says no.
    #[error("{0}: {1}; check that the folder may be written, or choose another --data-dir")]
    Io(String, io::Error),
    /// A newer gateway wrote it.
    #[error("{0}: this store has format {1}, and this gateway knows up to {FORMAT}; use the newer gateway")]
    Newer(String, u32),
    /// Something in it is not as it was written.
    #[error(
        "{0}: this store is damaged and cannot be opened: {1}; nothing was changed. Restore the folder from a backup, or move \
         it away to start with an empty one"
    )]
    Damaged(String, String),
}

/// Opens the store in a folder, or makes a new one.
pub(super) fn open(folder: &Path, retention: Retention) -> Result<(Disk, Recovered), OpenStoreError> {
    let shown = || folder.display().to_string();
    let io = |error| OpenStoreError::Io(shown(), error);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    keep_private(folder);
    let failed = |error: fjall::Error| match error {
        fjall::Error::Locked => OpenStoreError::InUse(shown()),
        fjall::Error::Io(error) => io(error),
        error => OpenStoreError::Damaged(shown(), error.to_string()),
    };
    let damaged = |what: &str| OpenStoreError::Damaged(shown(), what.to_owned());
    let mut synced_batches = SyncMark::read(folder).map_err(io)?;
    if synced_batches.is_none() && !folder.join(ENGINE).try_exists().map_err(io)? {
        // Before the engine: of a first start that was cut short there may be anything.
        SyncMark::begin(folder).map_err(io)?;
        synced_batches = Some(0);
    }
    let is_in_use = synced_batches != Some(0);
    if is_in_use && let Some(file) = missing_file(&folder.join(ENGINE)).map_err(io)? {
        return Err(damaged(&format!("{ENGINE}/{file} is missing")));
    }
    let engine = torn::open(&folder.join(ENGINE)).map_err(failed)?;
    let meta = match engine.meta().map_err(failed)? {
        Some(record) => record::read_meta(META, &record).map_err(|_| damaged("its main record is unreadable"))?,
        None => Meta { format: FIRST_FORMAT, signed_off: true, ..Meta::default() },
    };
    if meta.format > FORMAT {
        return Err(OpenStoreError::Newer(shown(), meta.format));
    }
    let mut reading = Reading::of(&meta);
    engine.mailboxes(|key, record, confirmed| reading.mailbox(key, record, confirmed)).map_err(failed)?;
    let mut log = Log::new(retention, RECENT_BYTES, meta.oldest);
    // Beyond the next offset there can be what was refused on a full disk, and written when there was room again.
    engine.heads(meta.oldest..meta.next, |key, record| reading.head(&mut log, key, record)).map_err(failed)?;
    let mut recovered = reading.finish(log, &meta, synced_batches).map_err(|error| damaged(&error.to_string()))?;
    // Tables can hold what stood there before the record of it was lost. The next start would find it where this one
    // tells readers that it is gone.
    engine.forget(meta.next..recovered.log.next()).map_err(failed)?;
    recovered.log.date(recovered.clock.now());
    let sync_mark = SyncMark::open(folder).map_err(io)?;
    if synced_batches.is_none() {
        sync_mark.note(meta.synced).map_err(io)?;
    }
    Ok((Disk::new(folder, engine, meta, sync_mark), recovered))
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    mailboxes: Vec<(ClientId, Mailbox)>,
    repeats: Repeats,
    /// From this offset on.
    repeats_from: u64,
    unreadable_mailboxes: usize,
    unreadable_confirms: usize,
    missing_events: u64,
    unreadable_heads: usize,
}

impl Reading {
    fn of(meta: &Meta) -> Self {
        Self { repeats_from: meta.next.saturating_sub(repeats::MAX_EVENTS as u64), ..Self::default() }
    }

    fn mailbox(&mut self, key: &[u8], record: &[u8], confirmed: Option<&[u8]>) {
        let client = str::from_utf8(key).ok().and_then(|client| client.parse().ok());
        let (Some(client), Ok(mut mailbox)) = (client, record::read_mailbox(key, record)) else {
            self.unreadable_mailboxes += 1;
            return;
        };
        match confirmed.map(|confirmed| record::read_confirmed(key, confirmed)) {
            None => {}
            Some(Ok(position)) => {
                mailbox.start_at(position);
                mailbox.is_new = false;
            }
            Some(Err(_)) => self.unreadable_confirms += 1,
        }
        self.mailboxes.push((client, mailbox));
    }

    fn head(&mut self, log: &mut Log, key: &[u8], record: &[u8]) {
        let offset = key.try_into().map(u64::from_be_bytes);
        let (Ok(offset), Ok(head)) = (offset, record::read_head(key, record)) else {
            self.unreadable_heads += 1;
            return;
        };
        self.skip_to(log, offset);
        log.restore(Some(&head));
        if let Some(fingerprint) = head.fingerprint.filter(|_| offset >= self.repeats_from) {
            self.repeats.note(fingerprint, head.stored);
        }
    }

    /// Takes note that there is nothing up to an offset.
    fn skip_to(&mut self, log: &mut Log, offset: u64) {
        let missing = offset.saturating_sub(log.next());
        self.missing_events = self.missing_events.saturating_add(missing);
        if self.missing_events <= MAX_MISSING {
            (0..missing).for_each(|_| log.restore(None));
        }
    }

    fn finish(mut self, mut log: Log, meta: &Meta, synced_batches: Option<u64>) -> Result<Recovered, TooManyMissing> {
        // Whatever speaks of an offset says that it was given away, and no offset is given twice.
        let named = |mailbox: &Mailbox| {
            let bindings = mailbox.bindings.iter().map(|binding| binding.until.unwrap_or(0).max(binding.from));
            bindings.max().unwrap_or(0).max(mailbox.unconfirmed.offset())
        };
        let next = self.mailboxes.iter().map(|(_, mailbox)| named(mailbox)).max().unwrap_or(0).max(meta.next);
        self.skip_to(&mut log, next);
        if self.missing_events > MAX_MISSING {
            return Err(TooManyMissing(self.missing_events));
        }

        let lost_batches = synced_batches.map_or(0, |synced| synced.saturating_sub(meta.synced));
        let may_have_lost = lost_batches > 0 || synced_batches.is_none();
        let mut damage = Vec::new();
        let mut report = |is_so: bool, what: String| damage.extend(is_so.then_some(what));
        report(
            lost_batches > 0,
            format!("the last {lost_batches} writes that were synced are missing, and whatever events were in them"),
        );
        report(
            synced_batches.is_none(),
            "the mark of what was synced is missing, so the last writes may be, too".to_owned(),
        );
        report(self.missing_events > 0, format!("{} events are missing", self.missing_events));
        report(
            self.unreadable_mailboxes > 0,
            format!("{} mailboxes are unreadable and were dropped", self.unreadable_mailboxes),
        );
        report(
            self.unreadable_confirms > 0,
            format!(
                "the last confirms of {} mailboxes are unreadable; their events come again",
                self.unreadable_confirms
            ),
        );
        let lost_at = log.next();
        if may_have_lost {
            // It stands for the events that may be lost, so that whatever reads across it is told.
            log.restore(None);
        }
        for (_, mailbox) in &mut self.mailboxes {
            // After a crash it is not known what was handed over last: all of it may have been, a marker at the very
            // end, too.
            if !meta.signed_off || !damage.is_empty() {
                mailbox.handed_over = Position::before(log.next()).next();
            }
            if may_have_lost && !mailbox.is_bound_at(lost_at) {
                mailbox.note_loss(log.next());
            }
        }
        let clock = Clock::resume(meta.clock);
        Ok(Recovered { log, clock, mailboxes: self.mailboxes, repeats: self.repeats, damage })
    }
}

/// A store lacks more events than damage takes.
#[derive(Debug, thiserror::Error)]
#[error("it has records of {0} more events than are in it")]
struct TooManyMissing(u64);
