//! What is written to standard output.

use std::io::{Write, stdout};

/// Writes a line at once: another program may wait for it. Where standard output is closed, that is no reason to stop.
pub(crate) fn line(text: &str) {
    let mut out = stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Writes an error to standard error.
pub(crate) fn error(text: &str) {
    let _ = writeln!(std::io::stderr(), "load: {text}");
}
