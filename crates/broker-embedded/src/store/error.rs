//! Why something was not stored.

use super::super::mailbox::{MAX_BINDINGS, TooManyBindings};

/// Why something was not stored, or could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// The engine would not, or the file system under it.
    #[error("{0}")]
    Failed(String),
    /// The writer has ended.
    #[error("the store is closed")]
    Closed,
    /// A mailbox would have more bindings than it may have; none of the new ones was stored.
    #[error("a mailbox has at most {MAX_BINDINGS} bindings")]
    TooManyBindings,
    /// As many mailboxes are kept as may be.
    #[error("as many mailboxes are kept as may be")]
    TooManyMailboxes,
}

impl From<TooManyBindings> for StoreError {
    fn from(_: TooManyBindings) -> Self {
        Self::TooManyBindings
    }
}

impl StoreError {
    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}
