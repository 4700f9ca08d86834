//! A promise that was not kept.

use std::{collections::VecDeque, fmt};

/// How many steps of a reader are shown with its fault.
const SHOWN: usize = 40;

/// Which promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// An event came that no publisher sent to this reader, or whose publish was surely refused.
    NeverPublished,
    /// A message came under another id than it was published with.
    OtherId,
    /// An answer went past an event that is stored and not confirmed: it is lost, or comes too late.
    Skipped,
    /// An event came after one that was stored after it.
    OutOfOrder,
    /// What was surely confirmed came again.
    ConfirmedAgain,
    /// The token stood for exactly what was at the head of the mailbox, and yet that came again.
    TokenIgnored,
    /// A repeat did not say `redelivered`.
    UnflaggedRepeat,
    /// A message that its publisher marked as resent did not say `redelivered`.
    UnflaggedResend,
    /// A feed said `redelivered` of a message that its publisher did not mark.
    FalseFlag,
    /// A feed showed the same message twice.
    Duplicate,
    /// `reset` was told, and nothing is gone.
    ResetWithoutLoss,
    /// A poll that does not wait said that there is nothing more, and something was stored long before.
    Withheld,
    /// At the end, something stored is neither confirmed nor waiting.
    Missing,
    /// At the end, more is waiting than was published and not confirmed.
    Surplus,
    /// A batch with neither events nor `reset`.
    Empty,
    /// The mailbox was said to be gone, and it was not dropped.
    Absent,
}

/// A promise that was not kept: to which reader, what, and its last steps.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The reader.
    pub reader: String,
    /// Which promise.
    pub kind: FaultKind,
    /// What was seen, and what should have been.
    pub detail: String,
    /// The last steps of the reader, oldest first; the last one is the fault.
    pub steps: Vec<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {:?}: {}", self.reader, self.kind, self.detail)?;
        for step in &self.steps {
            writeln!(f, "    {step}")?;
        }
        Ok(())
    }
}

/// What a judgement says of a step: the fault without its reader.
pub(super) type Judgement<T = ()> = Result<T, (FaultKind, String)>;

/// The last steps of a reader.
#[derive(Debug, Default)]
pub(super) struct Steps(VecDeque<String>);

impl Steps {
    pub(super) fn push(&mut self, step: String) {
        if self.0.len() == SHOWN {
            self.0.pop_front();
        }
        self.0.push_back(step);
    }

    pub(super) fn shown(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}
