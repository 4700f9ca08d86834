//! What fuzz targets (`fuzz/`) see besides the public interface. It is there with the feature `fuzzing` alone.

pub use broker_embedded::fuzzing::{Record, Records, read_again, recover};
pub use mailboxes::fuzzing::{names_the_same, remade};

pub use crate::http::fuzzing::{Server, encode_event};
