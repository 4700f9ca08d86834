//! The task in which hyper answers one request of a connection of HTTP/2.
//!
//! While a client makes no room for an answer, hyper and h2 hold a part of it, and neither asks its body for anything.
//! Only the end of the task makes them drop that part and reset the stream.

use std::sync::{Arc, OnceLock};

use hyper::rt::Executor;
use tokio::task::AbortHandle;

tokio::task_local! {
    static CURRENT: StreamTask;
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamTask(Arc<OnceLock<AbortHandle>>);

impl StreamTask {
    /// Returns the task that runs now, if it is one of a stream.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// Resets the stream (`CANCEL`), unless its answer is complete.
    pub(crate) fn end(&self) {
        if let Some(task) = self.0.get() {
            task.abort();
        }
    }
}

/// Runs each stream in a task of its own that can be ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamExecutor;

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, future: F) {
        let task = StreamTask::default();
        let running = tokio::spawn(CURRENT.scope(task.clone(), future));
        // Fails only where it is set already.
        let _ = task.0.set(running.abort_handle());
    }
}
