//! What a person who waits is told, on standard error.

/// Says what was done or is being done.
#[expect(clippy::print_stderr, reason = "progress of a program for people")]
pub fn note(text: &str) {
    eprintln!("bench: {text}");
}
