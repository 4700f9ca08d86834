//! What is to be polled. A waker puts a task down, the event loop takes it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    task::{Wake, Waker},
};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// A connection, by its token.
    Carrier(usize),
    /// A client, by its index.
    Client(usize),
}

/// See the module; in the order in which they were put down. A task that is there twice is polled twice, which is
/// harmless.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<VecDeque<Task>>);

#[derive(Debug)]
struct Put {
    task: Task,
    tasks: Arc<Tasks>,
}

impl Tasks {
    /// Puts one down.
    pub(crate) fn put(&self, task: Task) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(task);
    }

    /// Takes the first.
    pub(crate) fn take(&self) -> Option<Task> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Tells whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Makes what puts a task down.
    pub(crate) fn waker(self: &Arc<Self>, task: Task) -> Waker {
        Arc::new(Put { task, tasks: Arc::clone(self) }).into()
    }
}

impl Wake for Put {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.tasks.put(self.task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waker_puts_its_task_down() {
        let tasks = Arc::new(Tasks::default());
        let (one, other) = (tasks.waker(Task::Client(7)), tasks.waker(Task::Carrier(3)));
        assert!(tasks.is_empty());
        other.wake();
        one.wake_by_ref();
        assert_eq!([(); 3].map(|()| tasks.take()), [Some(Task::Carrier(3)), Some(Task::Client(7)), None]);
    }
}
