//! What goes to standard output.

use std::fmt;

/// Writes a text and the end of a line.
#[expect(clippy::print_stdout, reason = "the output of this program")]
pub(crate) fn print(text: &dyn fmt::Display) {
    println!("{text}");
}
