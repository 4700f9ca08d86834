//! Mailboxes that were made with another expiry than this gateway gives: they keep it, since the arguments of a queue
//! cannot change. They are used as they are, and an operator is told once.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use amqp::names;
use tracing::warn;

use super::task::Expires;

/// What this gateway gives to new mailboxes, and what it found out about older ones.
#[derive(Debug)]
pub(super) struct Expiry {
    /// For new mailboxes; spread by ±10 % between clients.
    pub(super) time: Duration,
    others_exist: AtomicBool,
    strange_exist: AtomicBool,
}

impl Expiry {
    pub(super) const fn new(time: Duration) -> Self {
        Self { time, others_exist: AtomicBool::new(false), strange_exist: AtomicBool::new(false) }
    }

    /// Tells whether an older mailbox was found that has another expiry: declaring one as if it were new would fail.
    pub(super) fn others_exist(&self) -> bool {
        self.others_exist.load(Ordering::Relaxed)
    }

    /// Takes note of an older mailbox that was made otherwise.
    pub(super) fn found(&self, other: Expires) {
        let (known, text) = match other {
            Expires::After(_) => (
                &self.others_exist,
                "mailboxes exist with another expiry than --mailbox-expiry, and keep it; to shorten theirs, set a policy \
                 with the key \"expires\" (in ms) on these queues",
            ),
            Expires::Unknown => (
                &self.strange_exist,
                "mailboxes exist with arguments that no gateway gives, and keep them; set a policy on these queues instead, \
                 and delete those that have such arguments",
            ),
        };
        if !known.swap(true, Ordering::Relaxed) {
            warn!(queues = format!("^{}", names::MAILBOX_PREFIX.replace('.', "\\.")), "{text}");
        }
    }
}
