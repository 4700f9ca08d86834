//! How Postern's binaries read flags and environment variables.
//!
//! Both binaries take a size, a switch or an empty variable in the same way, and say in the same words what is wrong.
//! The names of flags and variables are left to each binary: this crate knows none but the prefix `POSTERN_`.
//!
//! * [`matches()`] reads a command line; a variable that is empty is one that is not set.
//! * [`Setting`] reads one value: it is trimmed, and an error names the variable that the value came from.
//! * [`unknown_variables`] finds the variables that no setting has.
//! * `tables` shows the settings of a program as Markdown (feature `tables`), for a test of the page that has them.
//! * [`without_secrets`] keeps the broker's password out of logs, [`read_urls`] out of the list of processes;
//!   [`open_to_others`] tells of a file with it that other users may read.

mod secrets;
#[cfg(feature = "tables")]
pub mod tables;
mod value;
mod variables;

pub use secrets::{ReadUrlError, open_to_others, read_urls, without_secrets};
pub use value::{Setting, boolean, byte_size, whole_number};
pub use variables::{matches, unknown_variables};
