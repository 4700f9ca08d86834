//! What a child process writes, line by line.

use std::{
    fmt,
    io::{BufRead, BufReader, Read},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;

/// The lines of one stream so far. A thread reads them all the time, so that the child never waits for its reader.
#[derive(Clone, Default)]
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    /// Streams that have not ended.
    open: Arc<AtomicUsize>,
}

impl Log {
    /// Starts to read a stream to its end.
    pub(crate) fn of(stream: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        log.follow(stream);
        log
    }

    /// Starts to read one more stream into the same log, such as that of a restarted process.
    pub(crate) fn follow(&self, stream: impl Read + Send + 'static) {
        let Self { lines, open } = self.clone();
        open.fetch_add(1, Ordering::SeqCst);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
            open.fetch_sub(1, Ordering::SeqCst);
        });
    }

    /// Tells whether nothing more can come.
    pub fn is_complete(&self) -> bool {
        self.open.load(Ordering::SeqCst) == 0
    }

    /// Returns the lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the number of lines so far: a place to search from.
    pub fn len(&self) -> usize {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Tells whether there are no lines yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the first JSON line, at or after line `from`, whose message is `message`.
    pub fn fields(&self, from: usize, message: &str) -> Option<Value> {
        self.all_fields(from, message).into_iter().next()
    }

    /// Returns all such lines.
    pub fn all_fields(&self, from: usize, message: &str) -> Vec<Value> {
        let lines = self.lines().into_iter().skip(from).filter_map(|line| serde_json::from_str(&line).ok());
        lines.filter(|line: &Value| line["message"] == message).collect()
    }

    /// Returns the last lines as one text.
    pub fn tail(&self, count: usize) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({} lines)", self.len())
    }
}
