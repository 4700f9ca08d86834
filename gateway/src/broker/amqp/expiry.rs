//! Mailboxes that were made with another expiry than this gateway gives: they keep it, since the arguments of a queue
//! cannot change. They are used as they are, and an operator is told once.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use events::amqp::names;
use tracing::warn;

/// What this gateway gives to new mailboxes, and what it found out about older ones.
#[derive(Debug)]
pub(super) struct Expiry {
    /// For new mailboxes; spread by ±10 % between clients.
    pub(super) time: Duration,
    compared: AtomicBool,
    others_exist: AtomicBool,
}

impl Expiry {
    pub(super) const fn new(time: Duration) -> Self {
        Self { time, compared: AtomicBool::new(false), others_exist: AtomicBool::new(false) }
    }

    /// Tells whether an older mailbox was found that has another expiry: declaring one as if it were new would fail.
    pub(super) fn others_exist(&self) -> bool {
        self.others_exist.load(Ordering::Relaxed)
    }

    /// Tells, once in a process, that an older mailbox should be compared.
    pub(super) fn should_compare(&self) -> bool {
        !self.others_exist() && !self.compared.swap(true, Ordering::Relaxed)
    }

    /// Takes note of an older mailbox with another expiry.
    pub(super) fn found_other(&self) {
        if !self.others_exist.swap(true, Ordering::Relaxed) {
            warn!(
                "mailboxes exist with another expiry than --mailbox-expiry, and keep it; to shorten theirs, set a policy \
                 on queues ^{} with the key \"expires\" (in ms)",
                names::MAILBOX_PREFIX.replace('.', "\\."),
            );
        }
    }
}
